"""Stone candidates: the peaks of a stone map, each with the box around it."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

MIN_PROBABILITY = 0.05
MAX_CANDIDATES = 20
# Of a peak's height: the rim of the box drawn around it.
_RIM = 0.5


Rectangle = tuple[float, float, float, float]
Located = tuple[Rectangle, float]


@dataclass(frozen=True)
class Candidate:
    """One located stone candidate.

    `box` is x0, y0, x1, y1 in pixels of the slice; `extent_mm` the longer side of the box where
    the pixel spacing is known. The box comes from the map: it marks a place and measures
    no stone.
    """

    plane: str
    slice_index: int
    box: Rectangle
    probability: float
    extent_mm: float | None = None


def locate(stone_map: NDArray[np.float32], *, width: int, height: int) -> list[Located]:
    """Find the candidates of one slice.

    Parameters
    ----------
    stone_map : np.ndarray
        float32 `(rows, columns)`, probabilities, covering exactly the slice.
    width, height : int
        Size of the slice in pixels.

    Returns
    -------
    list of (box, probability)
        Sorted by probability, at most `MAX_CANDIDATES`, none below `MIN_PROBABILITY`; the
        boxes, in pixels of the slice, do not overlap: overlapping ones are merged.
    """
    rows, columns = stone_map.shape
    peaks = _peaks(stone_map)
    boxes: list[Located] = []
    claimed = np.zeros((rows, columns), bool)
    for row, column in peaks:
        if claimed[row, column]:
            continue
        probability = float(stone_map[row, column])
        above = (stone_map >= max(MIN_PROBABILITY * _RIM, probability * _RIM)).astype(np.uint8)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(above, connectivity=8)
        label = labels[row, column]
        claimed |= labels == label
        left, top = stats[label, cv2.CC_STAT_LEFT], stats[label, cv2.CC_STAT_TOP]
        right = left + stats[label, cv2.CC_STAT_WIDTH]
        bottom = top + stats[label, cv2.CC_STAT_HEIGHT]
        scale_x, scale_y = width / columns, height / rows
        left, top, right, bottom = (int(side) for side in (left, top, right, bottom))
        box = (left * scale_x, top * scale_y, right * scale_x, bottom * scale_y)
        boxes.append((box, probability))
    return _merge(boxes)[:MAX_CANDIDATES]


def _peaks(stone_map: NDArray[np.float32]) -> list[tuple[int, int]]:
    # A peak is the highest cell of its neighbourhood of about one stone.
    highest = cv2.dilate(stone_map, np.ones((5, 5), np.uint8))
    found = np.argwhere((stone_map >= highest) & (stone_map >= MIN_PROBABILITY))
    order = np.argsort([-stone_map[row, column] for row, column in found], kind="stable")
    return [(int(found[i][0]), int(found[i][1])) for i in order]


def _merge(boxes: list[Located]) -> list[Located]:
    """Join overlapping boxes; the joint box keeps the higher probability."""
    merged = list(boxes)
    changed = True
    while changed:
        changed = False
        for i in range(len(merged)):
            for j in range(i + 1, len(merged)):
                (a, p), (b, q) = merged[i], merged[j]
                if a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]:
                    union = (min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))
                    merged[i] = (union, max(p, q))
                    del merged[j]
                    changed = True
                    break
            if changed:
                break
    return sorted(merged, key=lambda item: -item[1])


def extent_mm(box: Rectangle, spacing_mm: tuple[float, float, float] | None) -> float | None:
    """Return the longer side of a box in mm, by spacing (slice, row, column); None without one."""
    if spacing_mm is None:
        return None
    _, row_mm, column_mm = spacing_mm
    return round(max((box[2] - box[0]) * column_mm, (box[3] - box[1]) * row_mm), 1)
