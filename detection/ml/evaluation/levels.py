"""Measures labelled readings at one level: area under the curve, operating points, calibration."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.ml.data import Item
from detection.ml.evaluation.readings import Reading
from detection.ml.evaluation.statistics import (
    auc,
    best_accuracy,
    calibration,
    predictive_values,
    proportion,
    roc_curve,
)

PREVALENCES = (0.05, 0.10, 0.30)
_TOP = 3


@dataclass(frozen=True)
class Judged:
    """Items of one level with their scores, labels and patient groups, all `(n,)`.

    `scores` are probabilities, float64. `refused` marks items whose image the gate refused: they
    get no verdict, and that counts as wrong.
    """

    unit: str
    scores: NDArray[np.float64]
    labels: NDArray[np.bool_]
    groups: NDArray[np.str_]
    refused: NDArray[np.bool_]

    def where(self, chosen: NDArray[np.bool_]) -> "Judged":
        """Return the items that `chosen` marks, bool `(n,)`."""
        return Judged(
            unit=self.unit,
            scores=self.scores[chosen],
            labels=self.labels[chosen],
            groups=self.groups[chosen],
            refused=self.refused[chosen],
        )

    def correct(self, threshold: float) -> NDArray[np.bool_]:
        """Mark the items that get the right verdict, bool `(n,)`."""
        return ((self.scores >= threshold) == self.labels) & ~self.refused


def judge(
    items: Sequence[Item],
    readings: dict[str, Reading],
    *,
    unit: str,
    score: Callable[[Reading, Item], float] = Reading.item_probability,
) -> Judged:
    """Score items by the readings of their images; `readings` is keyed by the image's name."""
    held = [readings[item.sample.image] for item in items]
    return Judged(
        unit=unit,
        scores=np.array([score(r, i) for r, i in zip(held, items, strict=True)], np.float64),
        labels=np.array([item.is_stone for item in items], bool),
        groups=np.array([item.sample.group for item in items], str),
        refused=np.array([bool(r.refusal) for r in held], bool),
    )


def judge_groups(judged: Judged) -> Judged:
    """Join the items of each patient group into one, by the mean of its three highest logits.

    The probability is compared with the thresholds of single images. By the highest logit alone,
    false alarms would rise with the number of images.
    """
    clipped = np.clip(judged.scores, 1e-9, 1 - 1e-9)
    logits = np.log(clipped / (1 - clipped))
    names = np.unique(judged.groups)
    means = [np.sort(logits[judged.groups == name])[-_TOP:].mean() for name in names]
    return Judged(
        unit="patient group",
        scores=1 / (1 + np.exp(-np.array(means))),
        labels=np.array([judged.labels[judged.groups == name].any() for name in names], bool),
        groups=names,
        refused=np.array([judged.refused[judged.groups == name].all() for name in names], bool),
    )


def level(judged: Judged, *, points: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Measure one level: area under the ROC curve, best accuracy, and every operating point."""
    best, threshold = best_accuracy(judged.scores, judged.labels)
    false, true, _ = roc_curve(judged.scores, judged.labels)
    measured = {}
    for name, point in points.items():
        measured[name] = at_threshold(judged, threshold=float(point["threshold"]))
    return {
        "unit": judged.unit,
        "n": len(judged.labels),
        "stone": int(judged.labels.sum()),
        "groups": len(set(judged.groups.tolist())),
        "refused": int(judged.refused.sum()),
        "auc": auc(judged.scores, judged.labels, judged.groups, unit=judged.unit).to_dict(),
        "best_accuracy": {"value": best, "threshold": threshold},
        "points": measured,
        "roc": {"false": false.tolist(), "true": true.tolist()},
    }


def at_threshold(judged: Judged, *, threshold: float) -> dict[str, Any]:
    """Return confusion matrix and shares at one threshold; a refused item counts as wrong."""
    called = (judged.scores >= threshold) & ~judged.refused
    cleared = (judged.scores < threshold) & ~judged.refused
    positive, negative = judged.labels, ~judged.labels
    sensitivity = proportion(called[positive], judged.groups[positive], unit=judged.unit)
    specificity = proportion(cleared[negative], judged.groups[negative], unit=judged.unit)
    result: dict[str, Any] = {
        "threshold": threshold,
        "confusion": {
            "true_positive": int((called & positive).sum()),
            "false_negative": int((cleared & positive).sum()),
            "false_positive": int((called & negative).sum()),
            "true_negative": int((cleared & negative).sum()),
            "refused_stone": int((judged.refused & positive).sum()),
            "refused_stone_free": int((judged.refused & negative).sum()),
        },
        "accuracy": proportion(
            judged.correct(threshold), judged.groups, unit=judged.unit
        ).to_dict(),
        "sensitivity": sensitivity.to_dict(),
        "specificity": specificity.to_dict(),
        "predictive_values": {},
    }
    for prevalence in PREVALENCES:
        values = predictive_values(sensitivity, specificity, prevalence=prevalence)
        result["predictive_values"][f"{prevalence:g}"] = {
            name: figure.to_dict() for name, figure in values.items()
        }
    return result


def calibration_of(judged: Judged) -> dict[str, Any]:
    """Measure calibration, and the reliability curve in 15 bins of equal mass."""
    figures = calibration(judged.scores, judged.labels, judged.groups, unit=judged.unit)
    curve = []
    for chunk in np.array_split(np.argsort(judged.scores), min(15, len(judged.scores))):
        share = proportion(judged.labels[chunk], judged.groups[chunk], unit=judged.unit)
        curve.append({"probability": float(judged.scores[chunk].mean()), "stone": share.to_dict()})
    return {
        "unit": judged.unit,
        "n": len(judged.labels),
        **{name: figure.to_dict() for name, figure in figures.items()},
        "reliability": curve,
    }
