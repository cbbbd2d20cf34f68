"""The loss of the stone map, over cells, bags and the whole image, and its targets.

One target array carries all three, so that plain `model.fit` trains the map on any Keras backend.
It is `(rows, columns, 3)`. Channel 0 judges cells: 1 stone, 0 background, -1 not judged. Channel 1
holds the number of the loose box (bag) in which a cell lies, from 1; 0 for none. Channel 2 holds
the label of the image. With a teacher there is a channel 3: the probability that the teacher's map
gives the cell.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from detection.ml.preprocess import Preprocessing
from detection.ml.serving import SHARPNESS

IGNORED = -1.0
MAX_BAGS = 4


def cell_targets(
    *, boxes: np.ndarray, is_stone: bool, is_loose: bool, height: int, width: int
) -> np.ndarray:
    """Make the target of one canvas.

    Parameters
    ----------
    boxes : np.ndarray
        float32 `(n, 4)` in canvas pixels; empty for a stone image whose stone has no box.
    is_loose : bool
        Whether the boxes are loose: they then become bags, at most `MAX_BAGS`.
    height, width : int
        Size of the canvas in pixels.

    Returns
    -------
    np.ndarray
        float32 `(height / 8, width / 8, 3)`.
    """
    stride = Preprocessing.stride
    rows, columns = height // stride, width // stride
    cell = np.zeros((rows, columns), np.float32)
    bag = np.zeros((rows, columns), np.float32)
    centre_y = (np.arange(rows) + 0.5) * stride
    centre_x = (np.arange(columns) + 0.5) * stride
    if is_stone and not len(boxes):
        cell[:] = IGNORED
    for x0, y0, x1, y1 in boxes:
        # A cell that a box only touches may hold its edge, so it is not judged.
        touches_y = (centre_y > y0 - stride / 2) & (centre_y < y1 + stride / 2)
        touches_x = (centre_x > x0 - stride / 2) & (centre_x < x1 + stride / 2)
        touched = np.outer(touches_y, touches_x)
        cell[touched & (cell == 0)] = IGNORED
    number = 0
    for x0, y0, x1, y1 in boxes:
        inside = np.outer((centre_y >= y0) & (centre_y <= y1), (centre_x >= x0) & (centre_x <= x1))
        row = int(np.clip((y0 + y1) / 2 / stride, 0, rows - 1))
        column = int(np.clip((x0 + x1) / 2 / stride, 0, columns - 1))
        inside[row, column] = True
        if is_loose:
            if number < MAX_BAGS:
                number += 1
                bag[inside & (bag == 0)] = number
        else:
            cell[inside] = 1.0
    image = np.full((rows, columns), float(is_stone), np.float32)
    return np.stack([cell, bag, image], axis=-1)


def pooled_logit(logits: Any, *, sharpness: float = SHARPNESS) -> Any:
    """Pool a map to the image's logit by a sharp log-sum-exp over the cells.

    It takes `(batch, rows, columns, 1)` or `(batch, rows, columns)` and returns `(batch,)`.
    """
    flat = ops.reshape(logits, (ops.shape(logits)[0], -1))
    return ops.logsumexp(flat * sharpness, axis=1) / sharpness


def stone_map_loss(
    target: Any, logits: Any, *, sharpness: float = SHARPNESS, positive_weight: float = 1.0
) -> Any:
    """Add a focal loss over judged cells and the cross-entropies of bags and of the whole image.

    The focal term (Lin et al. 2017, arXiv:1708.02002, gamma 2) is summed over the cells and divided
    by the image's number of stone cells, at least 1. A teacher adds the same term with its
    probabilities as soft labels (Hinton et al. 2015, arXiv:1503.02531), weighted by the distance to
    them instead of the distance to the label. The result is the mean over the batch.

    Parameters
    ----------
    sharpness : float
        That of the pooling in this loss alone; what is served pools by `serving.SHARPNESS`.
    positive_weight : float
        How much a stone cell counts in the focal term.
    """
    logits = ops.cast(logits[..., 0], "float32")
    cell, bag, image = target[..., 0], target[..., 1], target[..., 2]
    entropy = _cross_entropy(cell, logits)
    probability = ops.sigmoid(logits)
    missed = ops.where(cell > 0.5, 1.0 - probability, probability)
    judged = ops.cast(cell > IGNORED / 2, "float32") * ops.where(cell > 0.5, positive_weight, 1.0)
    stones = ops.sum(ops.cast(cell > 0.5, "float32"), axis=(1, 2))
    focal = ops.sum(judged * missed**2 * entropy, axis=(1, 2)) / ops.maximum(stones, 1.0)

    bags = 0.0
    for number in range(1, MAX_BAGS + 1):
        member = ops.cast(bag == number, "float32")
        exists = ops.cast(ops.sum(member, axis=(1, 2)) > 0, "float32")
        held = pooled_logit(logits * member - 30.0 * (1.0 - member), sharpness=sharpness)
        bags += exists * _cross_entropy(1.0, held)

    whole = _cross_entropy(image[:, 0, 0], pooled_logit(logits, sharpness=sharpness))
    return ops.mean(focal + bags + whole + _taught(target, logits))


def _taught(target: Any, logits: Any) -> Any:
    """Return what the map loses by differing from the teacher's, `(batch,)`; 0 without one."""
    if target.shape[-1] < 4:
        return 0.0
    soft = target[..., 3]
    away = ops.abs(soft - ops.sigmoid(logits))
    lost = ops.sum(away**2 * _cross_entropy(soft, logits), axis=(1, 2))
    return lost / ops.maximum(ops.sum(soft, axis=(1, 2)), 1.0)


@keras.saving.register_keras_serializable(package="kidneyweb")
class StoneMapLoss(keras.losses.Loss):
    """`stone_map_loss` with its options, which a checkpoint keeps."""

    def __init__(
        self,
        *,
        sharpness: float = SHARPNESS,
        positive_weight: float = 1.0,
        name: str = "stone_map_loss",
        **others: Any,
    ) -> None:
        super().__init__(name=name, **others)
        self.sharpness = sharpness
        self.positive_weight = positive_weight

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return stone_map_loss(
            y_true, y_pred, sharpness=self.sharpness, positive_weight=self.positive_weight
        )

    def get_config(self) -> dict[str, Any]:
        own = {"sharpness": self.sharpness, "positive_weight": self.positive_weight}
        return {**super().get_config(), **own}


def _cross_entropy(label: Any, logit: Any) -> Any:
    return ops.relu(logit) - logit * label + ops.softplus(-ops.abs(logit))
