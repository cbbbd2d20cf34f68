"""Tells where slices lie along a series: by position, Slice Location or Instance Number."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from detection.imaging.ingest.slices import SliceRef

# What puts the slices of a series in order; "none" if nothing does.
Order = Literal["position", "location", "number", "none"]
# Slices less than this apart lie at one place.
SAME_PLACE_MM = 0.05
# Positions are often printed with one decimal, so a line through them may miss them by this much.
ROUNDING_MM = 0.11
_UNEVEN_SHARE = 0.1


@dataclass(frozen=True)
class Gaps:
    """How slices lie along a line: the usual step, how many are missing, and whether it is even."""

    step: float
    missing: int
    is_even: bool


def gaps_of(along: NDArray[np.float64]) -> Gaps:
    """Judge the distances of slices, which are sorted and lie at two places or more."""
    gaps = np.diff(along)
    usual = float(np.median(gaps))
    missing = int(sum(max(0, round(gap / usual) - 1) for gap in gaps if gap > 1.5 * usual))
    line = along[0] + np.arange(len(along)) * (along[-1] - along[0]) / (len(along) - 1)
    is_uneven = np.abs(along - line).max() > max(ROUNDING_MM, _UNEVEN_SHARE * usual)
    is_even = not missing and not is_uneven
    step = float(along[-1] - along[0]) / (len(along) - 1) if is_even else usual
    return Gaps(step=step, missing=missing, is_even=is_even)


def along(part: Sequence[SliceRef], order: Order) -> NDArray[np.float64] | None:
    """Return the place of each slice along the series, or None if one of them does not tell it.

    Raises
    ------
    ValueError
        If a place is no number: positions may be so large that they overflow.
    """
    places: NDArray[np.float64] | None = None
    if order == "position":
        places = _positions(part)
    elif order == "location":
        places = _numbers([ref.facts.slice_location_mm for ref in part])
    elif order == "number":
        places = _numbers([ref.facts.instance_number for ref in part])
    if places is not None and not np.isfinite(places).all():
        raise ValueError("The place of a slice is no number.")
    return places


def distinct(places: NDArray[np.float64] | None) -> int:
    """Count the different places; 0 if they are not known."""
    if places is None or not len(places):
        return 0
    return 1 + int((np.diff(np.sort(places)) >= SAME_PLACE_MM).sum())


def is_placed(ref: SliceRef) -> bool:
    """Say whether a slice tells its position and how it is turned."""
    return ref.facts.position_mm is not None and ref.facts.orientation is not None


def normal_of(ref: SliceRef) -> NDArray[np.float64]:
    assert ref.facts.orientation is not None
    return np.cross(*np.array(ref.facts.orientation))


def _positions(part: Sequence[SliceRef]) -> NDArray[np.float64] | None:
    if any(ref.facts.position_mm is None for ref in part):
        return None
    positions = np.array([ref.facts.position_mm for ref in part], np.float64)
    if all(is_placed(ref) for ref in part):
        return positions @ normal_of(part[0])
    if any(is_placed(ref) for ref in part) or not np.isfinite(positions).all():
        return None
    # No slice tells how it is turned: the line on which the positions lie stands for the normal.
    middle = positions.mean(axis=0)
    if not np.isfinite(positions - middle).all():
        return None
    line = np.linalg.svd(positions - middle, full_matrices=False)[2][0]
    return positions @ (line * np.sign(line[np.abs(line).argmax()]))


def _numbers(told: Sequence[float | None]) -> NDArray[np.float64] | None:
    if any(number is None for number in told):
        return None
    return np.array(told, np.float64)
