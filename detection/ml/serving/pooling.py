"""Pools the cells of a map to one logit in NumPy, as `training.losses.pooled_logit` in Keras."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# At 2, two thousand background cells of logit -8 pool to about -4, far below any threshold. One
# clear stone decides the logit of the image.
SHARPNESS = 2.0


def pool(logits: NDArray[np.floating[Any]]) -> float:
    """Pool a map `(rows, columns)` to the logit of the image: a sharp log-sum-exp."""
    sharp = np.asarray(logits, np.float64).ravel() * SHARPNESS
    highest = sharp.max()
    return float((highest + np.log(np.exp(sharp - highest).sum())) / SHARPNESS)
