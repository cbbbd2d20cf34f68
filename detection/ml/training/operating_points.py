"""Fits Platt scaling to held-out logits and chooses thresholds with their measures."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.ml.calibration import Floats, sigmoid, wilson_interval

# Sensitivity of the rule-out point, specificity of the rule-in point.
_PROMISE = 0.98


def fit_platt(logits: Floats, labels: NDArray[np.bool_]) -> dict[str, float]:
    """Fit slope and intercept on held-out logits, `(n,)`, with Platt's smoothed targets.

    The targets are (n1 + 1) / (n1 + 2) and 1 / (n0 + 2) (Platt 1999, "Probabilistic outputs for
    support vector machines"). With them a small, perfectly separated set does not end in
    probabilities of exactly 0 and 1. The fit is Newton's method with a small ridge.
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
    # A probability that falls as the logit rises would be nonsense, whatever the data say.
    return {"slope": float(max(weights[0], 1e-3)), "intercept": float(weights[1])}


def operating_point(
    probabilities: Floats, labels: NDArray[np.bool_], *, name: str, threshold: float, unit: str
) -> dict[str, Any]:
    """Measure a threshold; a probability at or above it is positive."""
    called = np.asarray(probabilities) >= threshold
    true_positives, positives = int((called & labels).sum()), int(labels.sum())
    true_negatives, negatives = int((~called & ~labels).sum()), int((~labels).sum())
    return {
        "name": name,
        "threshold": float(threshold),
        "unit": unit,
        "sensitivity": true_positives / positives if positives else None,
        "sensitivity_interval": wilson_interval(true_positives, positives) if positives else None,
        "n_positive": positives,
        "specificity": true_negatives / negatives if negatives else None,
        "specificity_interval": wilson_interval(true_negatives, negatives) if negatives else None,
        "n_negative": negatives,
    }


def choose_operating_points(
    probabilities: Floats,
    labels: NDArray[np.bool_],
    *,
    unit: str,
    groups: NDArray[np.str_] | None = None,
) -> dict[str, dict[str, Any]]:
    """Choose three thresholds on calibration data.

    "rule_out" is the highest threshold with a sensitivity of at least 0.98, "rule_in" the lowest
    with a specificity of at least 0.98. The lower bound of the interval must reach 0.98 (one-sided
    95 %, the lower of Wilson's and of a bootstrap over `groups`). Where no threshold achieves that,
    the point estimate must; `chosen_by` says which decided.

    "balanced" lies halfway between the two on the logit scale. Where the classes are nearly
    separate, the highest sum of sensitivity and specificity would hang on a single item at the
    edge of the gap, to the cost of other patients. Every threshold lies in the middle between two
    neighbouring scores, within 0.02 and 0.98.

    Parameters
    ----------
    probabilities, labels, groups : np.ndarray
        `(n,)`; without groups each item counts as a group of its own.
    """
    probabilities = np.asarray(probabilities, np.float64)
    scores = np.unique(probabilities)
    candidates = np.concatenate([[0.02], (scores[:-1] + scores[1:]) / 2, [0.98]])
    candidates = np.unique(np.clip(candidates, 0.02, 0.98))
    called = probabilities[None, :] >= candidates[:, None]
    sensitivity, specificity = called[:, labels].mean(1), (~called)[:, ~labels].mean(1)
    named = groups if groups is not None else np.arange(len(labels)).astype(str)
    # Sensitivity falls with the threshold and specificity rises, so that rule-out takes the last
    # threshold that keeps the promise and rule-in the first.
    low = _lower_bounds(called[:, labels], named[labels])
    index, out_by = _promised(sensitivity, low, last=True)
    rule_out = float(candidates[index])
    low = _lower_bounds((~called)[:, ~labels], named[~labels])
    index, in_by = _promised(specificity, low, last=False)
    rule_in = float(candidates[index])
    halfway = (math.log(rule_out / (1 - rule_out)) + math.log(rule_in / (1 - rule_in))) / 2
    chosen = {
        "balanced": (float(sigmoid(np.array(halfway))), "halfway"),
        "rule_out": (rule_out, out_by),
        "rule_in": (rule_in, in_by),
    }
    return {
        name: {
            **operating_point(probabilities, labels, name=name, threshold=threshold, unit=unit),
            "chosen_by": chosen_by,
        }
        for name, (threshold, chosen_by) in chosen.items()
    }


def _promised(share: Floats, low: Floats, *, last: bool) -> tuple[int, str]:
    """Return the index of the threshold that keeps the promise, and the figure that decided."""
    for figures, chosen_by in ((low, "lower interval bound"), (share, "point estimate")):
        kept = np.flatnonzero(figures >= _PROMISE)
        if len(kept):
            return int(kept[-1 if last else 0]), chosen_by
    return (0 if last else len(share) - 1), "nothing better"


def _lower_bounds(hits: NDArray[np.bool_], groups: NDArray[np.str_]) -> Floats:
    """Return one-sided 95 % lower bounds of the shares of hits.

    `hits` is `(thresholds, items)`. Each bound, `(thresholds,)`, is the lower of Wilson's bound and
    of the 5th percentile of 500 bootstrap samples of the groups.
    """
    total = hits.shape[1]
    wilson = [wilson_interval(int(count), total, z=1.644854)[0] for count in hits.sum(1)]
    names, member = np.unique(groups, return_inverse=True)
    by_group = np.zeros((len(names), hits.shape[0]))
    np.add.at(by_group, member, hits.T.astype(np.float64))
    sizes = np.bincount(member, minlength=len(names)).astype(np.float64)
    draws = np.random.default_rng(0).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=500
    )
    shares = (draws @ by_group) / (draws @ sizes)[:, None]
    return np.minimum(np.array(wilson), np.quantile(shares, 0.05, axis=0))


def expected_calibration_error(
    probabilities: Floats, labels: NDArray[np.bool_], bins: int = 15
) -> float:
    """Return the mean gap between probability and share of positives over bins of equal mass."""
    order = np.argsort(probabilities)
    gaps = 0.0
    for chunk in np.array_split(order, min(bins, len(order))):
        gap = abs(float(np.mean(probabilities[chunk])) - float(np.mean(labels[chunk])))
        gaps += gap * len(chunk)
    return gaps / len(order)
