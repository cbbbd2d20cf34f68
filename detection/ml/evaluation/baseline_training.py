"""Trains the baselines: hand-made features, and whole-image networks on frozen features."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from detection.ml.backbones import DEFAULT_BACKBONE, Backbone, backbone_of
from detection.ml.data import (
    PARTS,
    UNIT,
    halved_sources,
    judged_items,
    load_dataset,
    split,
    thin,
)
from detection.ml.evaluation.baselines import FORMAT, body_brightness, bright_blobs, image_width
from detection.ml.preprocess import Preprocessing, letterbox, network_input
from detection.ml.serving import in_batches
from detection.ml.training import RANDOM, build_network, choose_operating_points, initialise

# Less than half the sides of the served canvas, so that all baselines together train in minutes.
REDUCED = Preprocessing(height=160, width=192)
_BATCH = 16
Report = Callable[[str], None]
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class BaselineOptions:
    """The options of the baselines' training; the defaults suit one processor core."""

    init: str
    architecture: str = DEFAULT_BACKBONE
    seed: int = 1
    epochs: int = 3
    train_per_group: int = 4
    learning_rate: float = 3e-4


def run_baselines(*, data: Path, out: Path, options: BaselineOptions, report: Report) -> None:
    """Train all baselines on the training part, choose thresholds on validation, score the test.

    Parameters
    ----------
    out : Path
        A JSON file, which the verb `report` reads. It holds for each baseline its threshold and
        one score for each item of the test part.
    report : callable
        Called with lines on the progress.

    Raises
    ------
    MLError
        If the data or the weights cannot be used.
    """
    backbone = backbone_of(options.architecture)
    dataset = load_dataset(data)
    halved = halved_sources(dataset.samples)
    parts = split(dataset.samples, parts=PARTS)
    per_group = options.train_per_group
    drawn = {
        "train": thin(parts["train"], per_group=per_group, seed=options.seed),
        "validation": thin(parts["validation"], per_group=per_group, seed=options.seed),
        "test": parts["test"],
    }
    items = {name: judged_items(held, halved=halved) for name, held in drawn.items()}
    pictures = {name: [i.crop(i.sample.read()) for i in held] for name, held in items.items()}
    labels = {name: np.array([i.is_stone for i in held], bool) for name, held in items.items()}
    counts = {name: len(held) for name, held in items.items()}
    report(f"items: {counts}")

    rows = [_majority(labels)]
    rows += [_hand_made(kind, pictures, labels) for kind in _HAND_MADE]
    whole_image = (
        ("random", "Random weights, whole image", RANDOM),
        ("whole_image", f"{backbone.title}, whole image, global pooling", options.init),
    )
    for name, title, init in whole_image:
        rows.append(_whole_image(name, title, backbone, init, pictures, labels, options, report))

    result = {
        "format": FORMAT,
        "fingerprint": dataset.fingerprint,
        "seed": options.seed,
        "items": counts,
        "keys": [item.key for item in items["test"]],
        "baselines": rows,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result) + "\n", encoding="utf-8")
    for row in rows:
        auc = roc_auc_score(labels["test"], row["scores"])
        report(f"{row['name']}: AUC of the test items {auc:.3f}")


_HAND_MADE: tuple[tuple[str, str, str, Callable[[NDArray[np.uint8]], float]], ...] = (
    (
        "brightness",
        "Body brightness alone",
        "share of body pixels with grey 140 to 225",
        body_brightness,
    ),
    (
        "blobs",
        "Bright-blob count",
        "number of small bright spots (white top-hat of 15 px)",
        bright_blobs,
    ),
    ("width", "Image width alone", "share of stone items at this width in training", image_width),
)


def _majority(labels: dict[str, NDArray[np.bool_]]) -> dict[str, Any]:
    share = float(labels["train"].mean())
    return {
        "name": "majority",
        "title": "Majority class",
        "how": "always the more frequent answer of the training part",
        "threshold": 0.5,
        "scores": [share] * len(labels["test"]),
    }


def _hand_made(
    kind: tuple[str, str, str, Callable[[NDArray[np.uint8]], float]],
    pictures: dict[str, list[NDArray[np.uint8]]],
    labels: dict[str, NDArray[np.bool_]],
) -> dict[str, Any]:
    name, title, how, feature = kind
    values = {part: np.array([feature(p) for p in held]) for part, held in pictures.items()}
    scores = (
        _by_frequency(values, labels["train"])
        if feature is image_width
        else _turned(values, labels["train"])
    )
    return _row(name, title, how, scores, labels)


def _turned(values: dict[str, Scores], labels: NDArray[np.bool_]) -> dict[str, Scores]:
    """Scale a feature to 0 to 1, turned so that more means stone in the training part."""
    sign = 1.0 if roc_auc_score(labels, values["train"]) >= 0.5 else -1.0
    low, high = values["train"].min(), values["train"].max()
    return {
        part: np.clip(0.5 + sign * ((held - low) / max(high - low, 1e-9) - 0.5), 0, 1)
        for part, held in values.items()
    }


def _by_frequency(values: dict[str, Scores], labels: NDArray[np.bool_]) -> dict[str, Scores]:
    overall = float(labels.mean())
    seen = {value: float(labels[values["train"] == value].mean()) for value in set(values["train"])}
    return {part: np.array([seen.get(v, overall) for v in held]) for part, held in values.items()}


def _whole_image(
    name: str,
    title: str,
    backbone: Backbone,
    init: str,
    pictures: dict[str, list[NDArray[np.uint8]]],
    labels: dict[str, NDArray[np.bool_]],
    options: BaselineOptions,
    report: Report,
) -> dict[str, Any]:
    """Train the backbone's last stage and one unit on its global average; the rest is frozen."""
    started = time.monotonic()
    keras.utils.set_random_seed(options.seed)
    network = build_network(backbone, height=REDUCED.height, width=REDUCED.width)
    used = initialise(network, backbone, init=init)
    joint, deepest = backbone.stages[-2:]
    frozen = keras.Model(network.input, network.get_layer(joint.layer).output)
    features = frozen_features(frozen, pictures, report=report)
    pooled = keras.layers.GlobalAveragePooling2D()(network.get_layer(deepest.layer).output)
    logit = keras.layers.Dense(1, dtype="float32", name="whole_image")(
        keras.layers.Dropout(0.2)(pooled)
    )
    model = keras.Model(frozen.output, logit)
    steps = max(1, len(labels["train"]) // _BATCH) * options.epochs
    model.compile(
        optimizer=keras.optimizers.AdamW(
            keras.optimizers.schedules.CosineDecay(options.learning_rate, steps),
            weight_decay=0.02,
        ),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
    )
    for epoch in range(options.epochs):
        history = model.fit(
            features["train"],
            labels["train"].astype(np.float32),
            batch_size=_BATCH,
            initial_epoch=epoch,
            epochs=epoch + 1,
            verbose=0,
        )
        loss = history.history["loss"][-1]
        report(f"{name}: epoch {epoch + 1}/{options.epochs} loss {loss:.3f}")
    scores = {
        part: 1 / (1 + np.exp(-model.predict(held, batch_size=_BATCH, verbose=0)[:, 0]))
        for part, held in features.items()
        if part != "train"
    }
    how = (
        f"{deepest.name} and a global average trained on the frozen layers up to {joint.name} "
        f"({used}), {REDUCED.width} x {REDUCED.height} px, {len(labels['train'])} training items, "
        f"{options.epochs} epochs, {time.monotonic() - started:.0f} s"
    )
    return _row(name, title, how, {p: s.astype(np.float64) for p, s in scores.items()}, labels)


def frozen_features(
    frozen: keras.Model, pictures: dict[str, list[NDArray[np.uint8]]], *, report: Report
) -> dict[str, NDArray[np.float16]]:
    """Run the frozen layers once over all pictures: float16 `(n, h, w, channels)` for each part.

    Mean and deviation of the first batch scale each channel, so that the features of random
    weights, whose size is arbitrary, fit into half precision as well.
    """

    def run(canvases: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.asarray(frozen(network_input(canvases), training=False))

    def canvas_of(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return letterbox(picture, REDUCED)[0]

    features: dict[str, NDArray[np.float16]] = {}
    mean = deviation = None
    for part, held in pictures.items():
        chunks: list[NDArray[np.float16]] = []
        done = 0
        for batch, chunk in in_batches(run, held, canvas_of=canvas_of, size=_BATCH):
            if mean is None or deviation is None:
                mean = chunk.mean((0, 1, 2))
                deviation = chunk.std((0, 1, 2)) + 1e-6 * (1 + np.abs(chunk).max())
            chunks.append(np.clip((chunk - mean) / deviation, -60, 60).astype(np.float16))
            done += len(batch)
            if len(chunks) % 20 == 1:
                report(f"features of {part}: {done}/{len(held)}")
        features[part] = np.concatenate(chunks)
    return features


def _row(
    name: str, title: str, how: str, scores: dict[str, Scores], labels: dict[str, NDArray[np.bool_]]
) -> dict[str, Any]:
    points = choose_operating_points(scores["validation"], labels["validation"], unit=UNIT)
    return {
        "name": name,
        "title": title,
        "how": how,
        "threshold": points["balanced"]["threshold"],
        "scores": [round(float(score), 6) for score in scores["test"]],
    }
