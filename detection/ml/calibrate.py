"""From logits to probabilities: Platt scaling, and thresholds with what they are worth."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


def sigmoid(x: Floats) -> Floats:
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(x, np.float64)))


def apply_platt(logits: Floats, calibration: dict[str, float]) -> Floats:
    """Turn logits into calibrated probabilities, same shape: sigmoid(slope * z + intercept)."""
    return sigmoid(calibration["slope"] * np.asarray(logits, np.float64) + calibration["intercept"])


def fit_platt(logits: Floats, labels: NDArray[np.bool_]) -> dict[str, float]:
    """Fit slope and intercept on held-out logits, `(n,)`, with Platt's smoothed targets.

    Platt 1999, "Probabilistic outputs for support vector machines": the targets are
    (n1 + 1) / (n1 + 2) and 1 / (n0 + 2), so that a perfectly separated small set does not end
    in probabilities of exactly 0 and 1. Newton's method with a small ridge on the slope.
    """
    positives, negatives = int(labels.sum()), int((~labels).sum())
    target = np.where(labels, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    design = np.stack([np.asarray(logits, np.float64), np.ones(len(logits))], axis=1)
    weights = np.array([1.0, 0.0])
    ridge = np.array([1e-2, 1e-6])
    for _ in range(100):
        probability = sigmoid(design @ weights)
        gradient = design.T @ (probability - target) + ridge * (weights - [1.0, 0.0])
        curvature = (design * (probability * (1 - probability))[:, None]).T @ design
        step = np.linalg.solve(curvature + np.diag(ridge), gradient)
        # Half steps where Newton would overshoot on nearly separated data.
        weights = weights - step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-9:
            break
    # A map whose probability falls as the logit rises would be nonsense, whatever the data say.
    return {"slope": float(max(weights[0], 1e-3)), "intercept": float(weights[1])}


def wilson_interval(hits: int, total: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson 1927). `(0, 1)` when nothing was counted."""
    if total == 0:
        return 0.0, 1.0
    share = hits / total
    centre = share + z * z / (2 * total)
    margin = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, (centre - margin) / scale), min(1.0, (centre + margin) / scale)


def operating_point(
    probabilities: Floats, labels: NDArray[np.bool_], *, name: str, threshold: float, unit: str
) -> dict[str, Any]:
    """Describe a threshold: a probability at or above it is positive."""
    called = np.asarray(probabilities) >= threshold
    true_positives, positives = int((called & labels).sum()), int(labels.sum())
    true_negatives, negatives = int((~called & ~labels).sum()), int((~labels).sum())
    return {
        "name": name,
        "threshold": float(threshold),
        "unit": unit,
        "sensitivity": true_positives / positives if positives else None,
        "sensitivity_interval": wilson_interval(true_positives, positives),
        "n_positive": positives,
        "specificity": true_negatives / negatives if negatives else None,
        "specificity_interval": wilson_interval(true_negatives, negatives),
        "n_negative": negatives,
    }


def choose_operating_points(
    probabilities: Floats, labels: NDArray[np.bool_], *, unit: str
) -> dict[str, dict[str, Any]]:
    """Choose three thresholds on calibration data.

    "balanced" has the highest sum of sensitivity and specificity; "rule_out" is the highest
    threshold with a sensitivity of at least 0.98; "rule_in" the lowest with a specificity of at
    least 0.98: point estimates, whose intervals stand beside them. Between two neighbouring
    scores the threshold lies in the middle, and it is kept within 0.02 and 0.98.
    """
    scores = np.unique(np.asarray(probabilities, np.float64))
    candidates = np.concatenate([[0.02], (scores[:-1] + scores[1:]) / 2, [0.98]])
    candidates = np.unique(np.clip(candidates, 0.02, 0.98))
    points = [
        operating_point(probabilities, labels, name="", threshold=float(t), unit=unit)
        for t in candidates
    ]
    # Of equally good thresholds the middle one is taken: it is the farthest from both classes.
    value = np.array([p["sensitivity"] + p["specificity"] for p in points])
    best = np.flatnonzero(value >= value.max() - 1e-12)
    chosen = {"balanced": points[int(best[len(best) // 2])]}
    sensitive = [p for p in points if p["sensitivity"] >= 0.98]
    specific = [p for p in points if p["specificity"] >= 0.98]
    chosen["rule_out"] = sensitive[-1] if sensitive else points[0]
    chosen["rule_in"] = specific[0] if specific else points[-1]
    return {name: {**point, "name": name} for name, point in chosen.items()}


def expected_calibration_error(
    probabilities: Floats, labels: NDArray[np.bool_], bins: int = 15
) -> float:
    """Mean gap between probability and share of positives over bins of equal mass."""
    order = np.argsort(probabilities)
    gaps = 0.0
    for chunk in np.array_split(order, min(bins, len(order))):
        gap = abs(float(np.mean(probabilities[chunk])) - float(np.mean(labels[chunk])))
        gaps += gap * len(chunk)
    return gaps / len(order)
