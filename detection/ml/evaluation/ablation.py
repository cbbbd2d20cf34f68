"""Compares augmentations, each one alone, on a cheap proxy with grouped cross-validation."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from detection.ml.backbones import DEFAULT_BACKBONE, backbone_of
from detection.ml.data import (
    PARTS,
    Sample,
    halved_sources,
    judged_items,
    load_dataset,
    split,
    split_units,
    thin,
)
from detection.ml.evaluation.baseline_training import REDUCED
from detection.ml.evaluation.changed import spread
from detection.ml.evaluation.readings import seeded
from detection.ml.evaluation.robustness import MILD, corruption
from detection.ml.evaluation.statistics import bootstrap, weighted_auc
from detection.ml.preprocess import letterbox, network_input
from detection.ml.serving import in_batches
from detection.ml.training import OFF, Augmentation, augment, build_network, initialise

Report = Callable[[str], None]
Floats = NDArray[np.float64]
_FULL = Augmentation()
# Each augmentation alone, as strong as in training, and all together. A chance is raised to 1, so
# that one copy of each image suffices.
SWITCHES: dict[str, Augmentation] = {
    "mirror": replace(OFF, mirror=1.0),
    "flip": replace(OFF, flip=1.0),
    "rotation": replace(OFF, rotation_degrees=_FULL.rotation_degrees),
    "salt noise": replace(OFF, salt=1.0),
    "brightness": replace(OFF, brightness=_FULL.brightness),
    "gamma": replace(OFF, gamma=_FULL.gamma),
    "JPEG": replace(OFF, jpeg=1.0),
    "all, as in training": _FULL,
}
_FOLDS = 5
_BATCH = 16


@dataclass(frozen=True)
class AblationOptions:
    """The size of the proxy; the defaults take about ten minutes on one processor core."""

    init: str
    architecture: str = DEFAULT_BACKBONE
    seed: int = 1
    per_group: int = 2
    images: int = 180


def run_ablation(*, data: Path, out: Path, options: AblationOptions, report: Report) -> None:
    """Compare each augmentation with none, on the training part alone, and write the result.

    The proxy is a logistic regression on the average and the maximum of each channel of the
    backbone's last stage but one. Each fold trains on the clean items and one changed copy of each;
    for "none", on the clean items alone. It is tested on clean and on mildly corrupted items of
    other patients.

    Parameters
    ----------
    out : Path
        A JSON file, which the verb `report` reads.
    report : callable
        Called with lines on the progress.

    Raises
    ------
    MLError
        If the data or the weights cannot be used.
    """
    started = time.monotonic()
    backbone = backbone_of(options.architecture)
    dataset = load_dataset(data)
    samples = thin(
        split(dataset.samples, parts=PARTS)["train"],
        per_group=options.per_group,
        seed=options.seed,
    )
    samples = spread(samples, options.images)
    items = judged_items(samples, halved=halved_sources(dataset.samples))
    canvases = [letterbox(item.crop(item.sample.read()), REDUCED)[0] for item in items]
    labels = np.array([item.is_stone for item in items], bool)
    groups = _units([item.sample for item in items])
    report(f"{len(items)} items of {len(set(groups.tolist()))} patient units")

    keras.utils.set_random_seed(options.seed)
    network = build_network(backbone, height=REDUCED.height, width=REDUCED.width)
    used = initialise(network, backbone, init=options.init)
    joint = backbone.stages[-2]
    frozen = keras.Model(network.input, network.get_layer(joint.layer).output)

    clean = _features(frozen, canvases)
    hurt = [_corrupted(canvas, item.key) for canvas, item in zip(canvases, items, strict=True)]
    corrupted = _features(frozen, hurt)
    plain = _fold_scores(clean, None, corrupted, labels, groups, seed=options.seed)
    rows = [_row("none", plain, plain, labels, groups)]
    no_boxes = np.zeros((0, 4), np.float32)
    for name, spec in SWITCHES.items():
        changed = [
            augment(canvas, no_boxes, spec=spec, generator=seeded(item.key, name))[0]
            for canvas, item in zip(canvases, items, strict=True)
        ]
        scores = _fold_scores(
            clean, _features(frozen, changed), corrupted, labels, groups, seed=options.seed
        )
        rows.append(_row(name, scores, plain, labels, groups))
        report(f"{name}: {time.monotonic() - started:.0f} s")
    how = (
        f"A proxy, not the network itself: logistic regression on {joint.name} features ({used}) "
        f"at {REDUCED.width} x {REDUCED.height} px, {len(items)} items (images, or halves) of the "
        f"training part, {_FOLDS}-fold cross-validation by patient. Each row adds one changed copy "
        "of every training item. It tells which changes help, not how good the model is."
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"how": how, "items": len(items), "rows": rows}) + "\n", "utf-8")


def _units(samples: list[Sample]) -> NDArray[np.str_]:
    units = split_units(samples)
    return np.array([units[sample.group] for sample in samples], str)


def _corrupted(canvas: NDArray[np.uint8], key: str) -> NDArray[np.uint8]:
    """Apply one of the mild corruptions, drawn for each item."""
    generator = seeded(key, "mild")
    name, severity = MILD[int(generator.integers(len(MILD)))]
    kind = corruption(name)
    return kind.apply(canvas, kind.strengths[severity - 1], generator)


def _features(frozen: keras.Model, canvases: list[NDArray[np.uint8]]) -> Floats:
    """Return average and maximum of every channel: float64 `(n, 2 * channels)`."""

    def summary(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        maps = np.asarray(frozen(network_input(batch), training=False))
        return np.concatenate([maps.mean((1, 2)), maps.max((1, 2))], axis=1)

    chunks = in_batches(summary, canvases, canvas_of=lambda canvas: canvas, size=_BATCH)
    return np.concatenate([chunk for _, chunk in chunks]).astype(np.float64)


def _fold_scores(
    clean: Floats,
    changed: Floats | None,
    corrupted: Floats,
    labels: NDArray[np.bool_],
    groups: NDArray[np.str_],
    *,
    seed: int,
) -> tuple[Floats, Floats]:
    """Score every item, clean and corrupted, by the fold that did not train on its patient."""
    on_clean, on_corrupted = np.zeros(len(labels)), np.zeros(len(labels))
    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed)
    for train, test in folds.split(clean, labels, groups):
        x, y = clean[train], labels[train]
        if changed is not None:
            x, y = np.concatenate([x, changed[train]]), np.concatenate([y, y])
        mean, deviation = x.mean(0), x.std(0) + 1e-6
        model = LogisticRegression(C=3e-3, max_iter=400).fit((x - mean) / deviation, y)
        on_clean[test] = model.decision_function((clean[test] - mean) / deviation)
        on_corrupted[test] = model.decision_function((corrupted[test] - mean) / deviation)
    return on_clean, on_corrupted


def _row(
    name: str,
    scores: tuple[Floats, Floats],
    plain: tuple[Floats, Floats],
    labels: NDArray[np.bool_],
    groups: NDArray[np.str_],
) -> dict[str, Any]:
    unit = "image or half image"

    def area(values: Floats) -> dict[str, Any]:
        return bootstrap(
            lambda weights: weighted_auc(values, labels, weights), groups, unit=unit
        ).to_dict()

    def gain(values: Floats, before: Floats) -> dict[str, Any]:
        def change(weights: Floats) -> float | None:
            one = weighted_auc(before, labels, weights)
            other = weighted_auc(values, labels, weights)
            return None if one is None or other is None else other - one

        return bootstrap(change, groups, unit=unit).to_dict()

    return {
        "augmentation": name,
        "clean": area(scores[0]),
        "corrupted": area(scores[1]),
        "gain_clean": gain(scores[0], plain[0]),
        "gain_corrupted": gain(scores[1], plain[1]),
    }
