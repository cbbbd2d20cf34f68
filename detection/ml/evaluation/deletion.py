"""The changes of the deletion test: boxed stones blanked, or equal patches elsewhere."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.ml.data import Box, Sample

Grey = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Fill = Callable[[Grey, Mask], Grey]
# Boxes are widened by this much on each side, so that no bright rim of the stone is left.
MARGIN_PX = 2
# An equal patch elsewhere keeps at least this distance from every widened box.
_DISTANCE_PX = 12
_RING_PX = 8
_BODY_GREY = 30


def inpainted(grey: Grey, mask: Mask) -> Grey:
    """Fill from the rim inwards (Telea 2004)."""
    filled = cv2.inpaint(grey, mask.astype(np.uint8), 3, cv2.INPAINT_TELEA)
    return np.asarray(filled, np.uint8)


def local_median(grey: Grey, mask: Mask) -> Grey:
    """Fill each patch with the median of a ring of 8 px around it."""
    changed = grey.copy()
    count, labels = cv2.connectedComponents(mask.astype(np.uint8))
    kernel = np.ones((2 * _RING_PX + 1, 2 * _RING_PX + 1), np.uint8)
    for label in range(1, count):
        patch = labels == label
        ring = (cv2.dilate(patch.astype(np.uint8), kernel) > 0) & ~mask
        changed[patch] = np.median(grey[ring]) if ring.any() else 0
    return changed


def blackened(grey: Grey, mask: Mask) -> Grey:
    """Fill with black."""
    return np.where(mask, 0, grey).astype(np.uint8)


FILLS: dict[str, Fill] = {
    "inpainting": inpainted,
    "local median": local_median,
    "black": blackened,
}


def box_mask(shape: tuple[int, int], boxes: tuple[Box, ...], *, margin: float) -> Mask:
    """Mark the boxes, widened by `margin` px on each side: bool `(rows, columns)`."""
    mask = np.zeros(shape, bool)
    rows, columns = shape
    for box in boxes:
        x0, y0 = max(0, int(np.floor(box.x0 - margin))), max(0, int(np.floor(box.y0 - margin)))
        x1 = min(columns, int(np.ceil(box.x1 + margin)))
        y1 = min(rows, int(np.ceil(box.y1 + margin)))
        mask[y0:y1, x0:x1] = True
    return mask


def elsewhere_mask(grey: Grey, boxes: tuple[Box, ...], generator: np.random.Generator) -> Mask:
    """Mark a patch of each box's size at a random place in the body, away from every box.

    A patch without a place is left out, so that the image is blanked in fewer places.
    """
    rows, columns = grey.shape
    taken = box_mask((rows, columns), boxes, margin=_DISTANCE_PX + MARGIN_PX)
    body = _body(grey)
    mask = np.zeros((rows, columns), bool)
    for box in boxes:
        width = int(np.ceil(box.x1 - box.x0)) + 2 * MARGIN_PX
        height = int(np.ceil(box.y1 - box.y0)) + 2 * MARGIN_PX
        if width >= columns or height >= rows:
            continue
        free = (body & ~taken & ~mask).astype(np.uint8)
        # A place is the top left corner of a patch that is free and within the body throughout.
        fits = cv2.erode(free, np.ones((height, width), np.uint8), anchor=(0, 0), borderValue=0)
        fits[rows - height :, :] = 0
        fits[:, columns - width :] = 0
        places = np.argwhere(fits)
        if len(places):
            y, x = places[int(generator.integers(len(places)))]
            mask[y : y + height, x : x + width] = True
    return mask


def without_stone(fill: Fill) -> Callable[[Grey, Sample, np.random.Generator], Grey]:
    """Return the change that blanks every boxed stone."""
    return lambda grey, sample, _: fill(
        grey, box_mask(_shape(grey), sample.boxes, margin=MARGIN_PX)
    )


def without_other_patch(fill: Fill) -> Callable[[Grey, Sample, np.random.Generator], Grey]:
    """Return the change that blanks equal patches elsewhere in the body."""
    return lambda grey, sample, generator: fill(grey, elsewhere_mask(grey, sample.boxes, generator))


def _shape(grey: Grey) -> tuple[int, int]:
    return int(grey.shape[0]), int(grey.shape[1])


def _body(grey: Grey) -> Mask:
    """Return the largest bright region, with small gaps closed."""
    bright = cv2.morphologyEx(
        (grey > _BODY_GREY).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8)
    )
    _, labels, stats, _ = cv2.connectedComponentsWithStats(bright, connectivity=8)
    if len(stats) < 2:
        return np.zeros(grey.shape, bool)
    return np.asarray(labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])), bool)
