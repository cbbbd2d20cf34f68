"""Fits the input gate of a model on the model's own images, and on no picture that is no CT.

The distances come from training images, the limits from validation images. The orientation
classifier learns from training images that were turned or inverted on purpose; these also set how
far out a slice that lies so may be.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from detection.ml.calibration import wilson_interval
from detection.ml.data import Sample, thin
from detection.ml.preprocess import Preprocessing, letterbox
from detection.ml.serving import (
    GATE_NAME,
    ORIENTATIONS,
    Array,
    Depth,
    Features,
    Gate,
    NetworkOutputs,
    in_batches,
    joined,
    slice_refusal,
    unit_length,
    write_gate,
)

Grey = NDArray[np.uint8]
COMPONENTS = 64
# With fewer images a distance says more about those few than about CT.
MIN_TRAIN_IMAGES, MIN_VALIDATION_IMAGES = 200, 40
# Percentiles over validation images, changed mildly or not, that set the two limits.
SCORE_PERCENTILE, UPRIGHT_PERCENTILE = 99.5, 0.5
# A picture whose right way up has this probability passes, however sure the validation images are.
_SURE = 0.5
_FAR_PERCENTILE = 99.0
_TRAIN_PER_GROUP, _VALIDATION_PER_GROUP = 4, 8

WRONG_WAYS: dict[str, Callable[[Grey], Grey]] = {
    "rotated_90": lambda grey: np.rot90(grey),
    "rotated_270": lambda grey: np.rot90(grey, 3),
    "rotated_180": lambda grey: np.rot90(grey, 2),
    "inverted": lambda grey: 255 - grey,
}


def fit_gate(
    *,
    outputs: NetworkOutputs,
    parts: Mapping[str, Sequence[Sample]],
    preprocessing: Preprocessing,
    folder: Path,
    seed: int = 0,
) -> dict[str, Any]:
    """Fit a gate and write it to `folder`.

    Parameters
    ----------
    outputs : callable
        The served network, from canvases to logits and features.
    parts : mapping
        The parts of one split: "train"; "validation", which sets the limits and nothing else; and
        "test", on which false refusals are counted.
    folder : Path
        The folder of the bundle.

    Returns
    -------
    dict
        The entry of the gate in `model.json`. Without enough images or features it has no file:
        the gate is open, and "open" says why.
    """
    kept = thin(parts["train"], per_group=_TRAIN_PER_GROUP, seed=seed)
    judged = thin(parts["validation"], per_group=_VALIDATION_PER_GROUP, seed=seed)
    if len(kept) < MIN_TRAIN_IMAGES or len(judged) < MIN_VALIDATION_IMAGES:
        return {
            "open": (
                f"The gate is open but for the cheap checks: {len(kept)} training and "
                f"{len(judged)} validation images of different patients are too few to say what "
                f"a slice looks like ({MIN_TRAIN_IMAGES} and {MIN_VALIDATION_IMAGES} are needed)."
            )
        }
    generator = np.random.default_rng(seed)

    def features_of(greys: list[Grey]) -> Features:
        return read_features(greys, outputs=outputs, preprocessing=preprocessing)

    pictures = [sample.read() for sample in kept]
    upright = features_of(pictures)
    if not upright:
        return {"open": "The gate is open but for the cheap checks: the network has no features."}
    mild = features_of([change_mildly(grey, generator) for grey in pictures[::2]])
    wrong, classes = [], []
    for index, grey in enumerate(pictures):
        turned = change_mildly(grey, generator) if index % 2 else grey
        for way in _ways(index):
            wrong.append(WRONG_WAYS[way](turned))
            classes.append(orientation_of(way))
    clean_judged = [sample.read() for sample in judged]
    mild_judged = [change_mildly(grey, generator) for grey in clean_judged]
    gate = build_gate(
        train=stack_features(upright, mild),
        wrong=features_of(wrong),
        classes=classes,
        validation=stack_features(features_of(clean_judged), features_of(mild_judged)),
    )
    limits = write_gate(gate, folder / GATE_NAME)
    return {
        "file": GATE_NAME,
        **limits,
        "score_percentile": SCORE_PERCENTILE,
        "upright_percentile": UPRIGHT_PERCENTILE,
        "train_images": len(kept),
        "validation_images": len(judged),
        "test": _false_refusals(gate, features_of, thin(parts["test"], per_group=8, seed=seed)),
    }


def build_gate(
    *, train: Features, wrong: Features, classes: Sequence[str], validation: Features
) -> Gate:
    """Fit a gate to features, `(n, d)` for each depth.

    Parameters
    ----------
    train, validation : mapping
        Features of training and of validation images that lie the right way up.
    wrong, classes : mapping, sequence of str
        Features of training images that lie the wrong way, and the name of each way in
        `ORIENTATIONS`.
    """
    depths = {name: _fit_depth(values) for name, values in sorted(train.items())}
    names = list(depths)
    right = len(train[names[0]])
    weights, bias = _fit_orientation(
        np.concatenate([joined(train, names), joined(wrong, names)]),
        np.array([0] * right + [ORIENTATIONS.index(name) for name in classes]),
    )
    measured = np.concatenate(
        [depth.distances(validation[name]) for name, depth in depths.items()], axis=1
    )
    gate = Gate(
        depths=depths,
        center=measured.mean(axis=0),
        scale=measured.std(axis=0),
        weights=weights,
        bias=bias,
        far=np.zeros(len(ORIENTATIONS), np.float32),
        max_score=0.0,
        min_upright=0.0,
    )
    odds = gate.orientations(validation)[:, 0]
    far, lying = gate.scores(wrong), np.array(classes)
    return replace(
        gate,
        far=np.array(
            [0] + [np.percentile(far[lying == name], _FAR_PERCENTILE) for name in ORIENTATIONS[1:]],
            np.float32,
        ),
        max_score=float(np.percentile(gate.scores(validation), SCORE_PERCENTILE)),
        min_upright=min(_SURE, float(np.percentile(odds, UPRIGHT_PERCENTILE))),
    )


def _ways(index: int) -> list[str]:
    """Choose the wrong ways to show of an image; upside down is always one, as the hardest."""
    others = [way for way in WRONG_WAYS if way != "rotated_180"]
    return ["rotated_180"] + ([others[index // 2 % 3]] if index % 2 else [])


def read_features(
    greys: Sequence[Grey], *, outputs: NetworkOutputs, preprocessing: Preprocessing
) -> Features:
    """Run pictures through the network; return `(n, d)` for each of its feature outputs."""
    held: dict[str, list[Array]] = {}

    def canvas_of(grey: Grey) -> Grey:
        return letterbox(np.ascontiguousarray(grey), preprocessing)[0]

    for _, (_, features) in in_batches(outputs, greys, canvas_of=canvas_of):
        for name, values in features.items():
            held.setdefault(name, []).append(values)
    return {name: np.concatenate(values) for name, values in held.items()}


def stack_features(one: Features, other: Features) -> Features:
    return {name: np.concatenate([one[name], other[name]]) for name in one}


def orientation_of(way: str) -> str:
    """Return the class of a wrong way; a slice on its left is one on its right, mirrored."""
    return "rotated_90" if way == "rotated_270" else way


def change_mildly(grey: Grey, generator: np.random.Generator) -> Grey:
    """Change a slice once or twice as scanners, windows and exports do without fault.

    The changes are rotation to 12 degrees, noise to 0.05, JPEG from quality 25, a gain by a
    quarter, an offset, gamma, 200 to 300 px, and another cut or margin.
    """
    for change in generator.choice(len(_MILD), generator.integers(1, 3), replace=False):
        grey = _MILD[change](grey, generator)
    return grey


def _false_refusals(
    gate: Gate, features_of: Callable[[list[Grey]], Features], samples: Sequence[Sample]
) -> dict[str, Any] | None:
    """Count the CT slices that are refused; None without samples."""
    if not samples:
        return None
    pictures = [sample.read() for sample in samples]
    hits = sum(
        bool(slice_refusal(grey, colour_spread=0.0, seen=seen))
        for grey, seen in zip(pictures, gate.refusals(features_of(pictures)), strict=True)
    )
    low, high = wilson_interval(hits, len(samples))
    return {"refused": hits, "n": len(samples), "interval": [low, high]}


def _fit_orientation(vectors: Array, classes: NDArray[np.int_]) -> tuple[Array, Array]:
    """Fit a linear classifier to standardised vectors; return weights for the original ones."""
    mean, deviation = vectors.mean(axis=0), np.maximum(vectors.std(axis=0), 1e-4)
    fitted = LogisticRegression(C=1.0, max_iter=500).fit((vectors - mean) / deviation, classes)
    weights = fitted.coef_.T / deviation[:, None]
    return weights.astype(np.float32), (fitted.intercept_ - mean @ weights).astype(np.float32)


def _fit_depth(features: Array) -> Depth:
    vectors = unit_length(features)
    # The remainder is a distance too, so at most half of the dimensions become components.
    components = min(COMPONENTS, vectors.shape[1] // 2)
    pca = PCA(components, svd_solver="randomized", random_state=0).fit(vectors)
    principal = np.asarray(pca.transform(vectors), np.float32)
    precision = LedoitWolf(assume_centered=True).fit(principal).precision_
    return Depth(
        mean=pca.mean_.astype(np.float32),
        components=pca.components_.astype(np.float32),
        whitening=np.linalg.cholesky(precision).astype(np.float32),
        memory=vectors.astype(np.float32),
    )


def _levels(grey: Grey, change: Callable[[Array], Array]) -> Grey:
    levels = change(np.divide(grey, 255, dtype=np.float32))
    return (np.clip(levels, 0, 1) * 255).astype(np.uint8)


def _rotate(grey: Grey, generator: np.random.Generator) -> Grey:
    rows, columns = grey.shape
    angle = generator.uniform(-12, 12)
    matrix = cv2.getRotationMatrix2D((columns / 2, rows / 2), angle, 1)
    return np.asarray(cv2.warpAffine(grey, matrix, (columns, rows)), np.uint8)


def _add_noise(grey: Grey, generator: np.random.Generator) -> Grey:
    noise = generator.normal(0, generator.uniform(0, 0.05), grey.shape).astype(np.float32)
    return _levels(grey, lambda levels: levels + noise)


def _compress(grey: Grey, generator: np.random.Generator) -> Grey:
    quality = int(generator.integers(25, 70))
    _, encoded = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE), np.uint8)


def _scale_brightness(grey: Grey, generator: np.random.Generator) -> Grey:
    gain = generator.uniform(0.75, 1.25)
    return _levels(grey, lambda levels: levels * gain)


def _shift_brightness(grey: Grey, generator: np.random.Generator) -> Grey:
    offset = generator.uniform(-0.12, 0.22)
    return _levels(grey, lambda levels: levels + offset)


def _bend(grey: Grey, generator: np.random.Generator) -> Grey:
    exponent = np.exp(generator.uniform(-0.3, 0.3))
    return _levels(grey, lambda levels: levels**exponent)


def _shrink(grey: Grey, generator: np.random.Generator) -> Grey:
    factor = generator.uniform(200, 300) / max(grey.shape)
    small = cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def _cut(grey: Grey, generator: np.random.Generator) -> Grey:
    rows, columns = grey.shape
    height, width = (int(side * generator.uniform(0.85, 1)) for side in (rows, columns))
    top, left = generator.integers(0, rows - height + 1), generator.integers(0, columns - width + 1)
    part = grey[top : top + height, left : left + width]
    border = int(generator.uniform(0, 0.25) * rows) if generator.random() < 0.5 else 0
    return np.pad(part, border)


def _trim(grey: Grey, generator: np.random.Generator) -> Grey:
    """Cut to the body with a narrow margin, as a reformat or a tight field of view does."""
    rows, columns = (np.flatnonzero((grey > 40).mean(axis=axis) > 0.02) for axis in (1, 0))
    if not len(rows) or not len(columns):
        return grey
    margin = int(generator.uniform(0, 0.08) * max(grey.shape))
    top, left = max(0, rows[0] - margin), max(0, columns[0] - margin)
    return grey[top : rows[-1] + 1 + margin, left : columns[-1] + 1 + margin]


_MILD = (
    _rotate,
    _add_noise,
    _compress,
    _scale_brightness,
    _shift_brightness,
    _bend,
    _shrink,
    _cut,
    _trim,
)
