"""The record of a stone candidate, and the search for candidates in the map of a picture."""

from dataclasses import dataclass, fields
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.imaging.measure import UNKNOWN

MIN_PROBABILITY = 0.05
MAX_CANDIDATES = 20
# The box around a peak ends where the map falls below this share of its height.
RIM = 0.5
# Fields that have another name in the JSON object than in the record.
_JSON_NAMES = {"slice_index": "slice"}

Rectangle = tuple[float, float, float, float]
# Column, row and slice where something begins, then where it ends; pixel i lies from i to i + 1.
Edges = tuple[float, float, float, float, float, float]
Located = tuple[Rectangle, float]


@dataclass(frozen=True)
class Finding:
    """One located stone candidate, of a picture or of a volume.

    An unknown value is None or "unknown". The JSON object and the database row are made of these
    fields: a new field needs a column and a place that shows it.

    Attributes
    ----------
    plane : str
        Plane of the slices.
    slice_index : int
        The slice that shows the candidate best.
    box : tuple of float
        x0, y0, x1, y1 in pixels of that slice.
    probability : float
        Calibrated probability, 0 to 1.
    extent_mm : float or None
        The longer side of the box on a picture of known pixel spacing. It comes from the map: it
        marks a place and measures no stone.
    slice_first, slice_last : int or None
        First and last slice of a volume that show the candidate.
    diameter_mm, volume_mm3, mean_hu, peak_hu : float or None
        As in `detection.imaging.measure.Measurement`, if the stone was measured.
    size_class, side : str
        As `size_class` and `side_of` in `detection.imaging.measure` name them.
    centre_lps_mm : tuple of float or None
        The centre in the patient's coordinates: x to the left, y to the back, z to the head.
    members_seeing, members : int or None
        How many members of an ensemble see the candidate (`agreement.seen_by`), and of how many;
        None for a single network. In a volume a member sees a stone if it sees it on any slice.
    """

    plane: str
    slice_index: int
    box: Rectangle
    probability: float
    extent_mm: float | None = None
    slice_first: int | None = None
    slice_last: int | None = None
    diameter_mm: float | None = None
    volume_mm3: float | None = None
    mean_hu: float | None = None
    peak_hu: float | None = None
    size_class: str = UNKNOWN
    side: str = UNKNOWN
    centre_lps_mm: tuple[float, float, float] | None = None
    members_seeing: int | None = None
    members: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return every field as `classify` writes it: in tenths, the probability to six digits."""
        told = {
            _JSON_NAMES.get(f.name, f.name): _rounded(getattr(self, f.name)) for f in fields(self)
        }
        return {**told, "probability": round(self.probability, 6)}


def locate(
    stone_map: NDArray[np.float32],
    *,
    width: int,
    height: int,
    plane: str = UNKNOWN,
    slice_index: int = 0,
    spacing_mm: tuple[float, float] | None = None,
    lowest: float = MIN_PROBABILITY,
) -> list[Finding]:
    """Find the candidates of one slice.

    Parameters
    ----------
    stone_map : np.ndarray
        float32 `(rows, columns)`: probabilities over exactly the area of the slice.
    width, height : int
        Size of the slice in pixels.
    plane, slice_index : str, int
        Plane and index of the slice.
    spacing_mm : tuple of float, optional
        Distance between its rows and between its columns.
    lowest : float
        The probability below which nothing is a candidate.

    Returns
    -------
    list of Finding
        The most probable first, at most `MAX_CANDIDATES`, none below `lowest`. Boxes are in
        pixels of the slice; overlapping boxes are merged.
    """
    rows, columns = stone_map.shape
    peaks = _peaks(stone_map, lowest)
    boxes: list[Located] = []
    claimed = np.zeros((rows, columns), bool)
    for row, column in peaks:
        if claimed[row, column]:
            continue
        probability = float(stone_map[row, column])
        above = (stone_map >= probability * RIM).astype(np.uint8)
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
    return [
        Finding(
            plane=plane,
            slice_index=slice_index,
            box=box,
            probability=probability,
            extent_mm=_extent_mm(box, spacing_mm),
        )
        for box, probability in _merge(boxes)[:MAX_CANDIDATES]
    ]


def _peaks(stone_map: NDArray[np.float32], lowest: float) -> list[tuple[int, int]]:
    # A peak is the highest cell of a neighbourhood of about the size of a stone.
    highest = cv2.dilate(stone_map, np.ones((5, 5), np.uint8))
    found = np.argwhere((stone_map >= highest) & (stone_map >= lowest))
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


def _extent_mm(box: Rectangle, spacing_mm: tuple[float, float] | None) -> float | None:
    """Return the longer side of a box in mm, by spacing (row, column); None without one."""
    if spacing_mm is None:
        return None
    row_mm, column_mm = spacing_mm
    return round(max((box[2] - box[0]) * column_mm, (box[3] - box[1]) * row_mm), 1)


def _rounded(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_rounded(one) for one in value]
    return round(float(value), 1) if isinstance(value, (float, np.floating)) else value
