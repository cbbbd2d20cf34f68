"""Turns logits into probabilities, and computes the interval of a proportion."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


def sigmoid(x: Floats) -> Floats:
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(x, np.float64)))


def logit(probabilities: Floats) -> NDArray[np.float64]:
    """Return the logits of probabilities, same shape; those within 1e-6 of 0 and 1 are clipped."""
    clipped = np.clip(np.asarray(probabilities, np.float64), 1e-6, 1 - 1e-6)
    return np.log(clipped) - np.log1p(-clipped)


def apply_platt(logits: Floats, calibration: dict[str, float]) -> Floats:
    """Turn logits into calibrated probabilities, same shape: sigmoid(slope * z + intercept)."""
    return sigmoid(calibration["slope"] * np.asarray(logits, np.float64) + calibration["intercept"])


def wilson_interval(hits: float, total: int, z: float = 1.959964) -> tuple[float, float]:
    """Return the interval of a proportion (Wilson 1927), by default 95 %; (0, 1) of no items."""
    if total == 0:
        return 0.0, 1.0
    share = hits / total
    centre = share + z * z / (2 * total)
    margin = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, (centre - margin) / scale), min(1.0, (centre + margin) / scale)
