"""Cross-fitting: maps of patients whom the network that made them was not trained on."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from detection.ml.backbones import backbone_of
from detection.ml.bundle import sha256_of
from detection.ml.combining.predictions import Predictions
from detection.ml.combining.progress import Report
from detection.ml.data import PARTS, Dataset, Sample, deal, halved_sources, load_dataset, split
from detection.ml.training import Report as TrainingReport
from detection.ml.training import (
    TrainingOptions,
    fit,
    fit_platt,
    map_logits_of,
    score,
    trained_network,
)

_SALT = "folds-1"


def crossfit(
    *,
    data: Path,
    folds: int,
    out: Path,
    work: Path,
    options: TrainingOptions,
    training_report: TrainingReport,
    report: Report,
) -> list[Path]:
    """Train once for each fold without it, and write the maps that the fold then gets.

    The folds are parts of the training and the validation part, by patient unit; the test part is
    neither trained on nor read. A training that stands in `work` is not run again.

    Parameters
    ----------
    folds : int
        Number of folds, at least 2.
    out : Path
        Folder of the files, one for each fold, as `combine --folds` takes them.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    MLError
        If the data or the starting weights cannot be used.
    """
    dataset = load_dataset(data, with_tight_boxes=options.tight_boxes)
    held = folds_of(dataset, folds=folds)
    files = []
    for number, (name, left_out) in enumerate(held.items(), start=1):
        others = [sample for other, part in held.items() if other != name for sample in part]
        report(f"fold {number} of {folds}: {len(others)} images to draw from")
        keras.utils.set_random_seed(options.seed)
        fit(
            samples=others,
            options=options,
            # The state of a training names what it was trained on.
            fingerprint=f"{dataset.fingerprint} without {name}",
            work=work / name,
            report=training_report,
        )
        weights = work / name / "trained.npz"
        predictions = _predicted(left_out, weights=weights, options=options, dataset=dataset)
        about = {
            **predictions.about,
            "bundle": f"{options.architecture} without {name}",
            "digest": sha256_of(weights),
            "trained_on": f"{dataset.fingerprint} without {name}",
        }
        file = out / f"{options.architecture}-{name}.npz"
        replace(predictions, about=about).save(file)
        files.append(file)
    return files


def folds_of(dataset: Dataset, *, folds: int) -> dict[str, list[Sample]]:
    """Part all but the test part by patient unit, alike in sources and findings."""
    parts = split(dataset.samples, parts=PARTS)
    dealt = deal([*parts["train"], *parts["validation"]], folds=folds, salt=_SALT)
    return {f"fold-{number}-of-{folds}": held for number, held in enumerate(dealt, start=1)}


def _predicted(
    samples: list[Sample], *, weights: Path, options: TrainingOptions, dataset: Dataset
) -> Predictions:
    """Read a fold with the network that does not know it, and scale its logits on the fold.

    The scaling has two numbers, so that fitting it on the fold itself tells next to nothing.
    """
    spec = options.preprocessing
    backbone = backbone_of(options.architecture)
    read = map_logits_of(
        trained_network(weights, backbone=backbone, height=spec.height, width=spec.width)
    )
    # `score` reads the samples in their order, each once and by itself.
    maps: list[NDArray[np.float32]] = []

    def map_logits(canvases: NDArray[np.uint8]) -> NDArray[np.float32]:
        cells = read(canvases)
        maps.extend(cells)
        return cells

    scores = score(
        samples,
        map_logits=map_logits,
        preprocessing=spec,
        halved=halved_sources(dataset.samples),
    )
    return Predictions(
        images=tuple(sample.image for sample in samples),
        maps=np.stack(maps).astype(np.float16),
        about={
            "calibration": fit_platt(scores.logits, scores.labels),
            "fingerprint": dataset.fingerprint,
        },
    )
