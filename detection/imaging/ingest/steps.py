"""How a stack goes on from slice to slice: the distance, the way, and what is odd about it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detection.imaging.errors import Code, Notice
from detection.imaging.ingest.ordering import Order, along, gaps_of, is_placed, normal_of
from detection.imaging.ingest.slices import SliceRef

_SHIFT_MM = 1.0
_MIN_TILT_DEGREES = 0.5


@dataclass(frozen=True)
class Step:
    """The step from slice to slice.

    Attributes
    ----------
    slice_mm : float
        Distance across the slices, or the thickness of a single one; 0 where it is not known.
    way : np.ndarray, optional
        The step in LPS mm; None where the files do not tell it.
    missing : int
        Number of slices for which there is room between the others.
    is_even : bool
        Whether the slices are known to lie at even distances in a straight line.
    """

    slice_mm: float
    way: NDArray[np.float64] | None = None
    missing: int = 0
    is_even: bool = False
    notices: tuple[Notice, ...] = ()

    def vector(self, turned: SliceRef) -> NDArray[np.float64]:
        """Return the step, along the normal of a slice and 1 mm long where it is not known."""
        return normal_of(turned) * (self.slice_mm or 1.0) if self.way is None else self.way


def step_of(slices: Sequence[SliceRef], order: Order) -> Step:
    """Judge the distances in a stack that `order` has put in order."""
    if len(slices) == 1:
        spacing_mm = slices[0].facts.spacing_mm
        return Step(slice_mm=spacing_mm[0] if spacing_mm else 0.0, is_even=True)
    places = None if order in ("number", "none") else along(slices, order)
    if places is None:
        return Step(slice_mm=0.0)
    gaps = gaps_of(places)
    if order == "location" or not is_placed(slices[0]):
        # Slice Location is only nearly defined, and the line of positions may be tilted.
        return Step(slice_mm=gaps.step if gaps.is_even else 0.0, missing=gaps.missing)
    positions = np.array([ref.facts.position_mm for ref in slices], np.float64)
    way = (positions[-1] - positions[0]) / (places[-1] - places[0])
    expected = positions[0] + np.outer(places - places[0], way)
    is_shifted = bool(np.linalg.norm(positions - expected, axis=1).max() > _SHIFT_MM)
    is_even = gaps.is_even and not is_shifted
    notices: tuple[Notice, ...] = ()
    if not is_even and not gaps.missing:
        notices += (_UNEVEN,)
    tilt_degrees = math.degrees(math.acos(min(1.0, 1.0 / float(np.linalg.norm(way)))))
    if tilt_degrees > _MIN_TILT_DEGREES:
        notices += (_tilted(tilt_degrees),)
    return Step(
        slice_mm=gaps.step,
        way=way * gaps.step,
        missing=gaps.missing,
        is_even=is_even,
        notices=notices,
    )


def missing_slices(count: int) -> Notice:
    return Notice(
        Code.MISSING_SLICES,
        f"About {count} slice{'s are' if count > 1 else ' is'} missing within the series: each "
        "slice is read, but nothing is measured across slices. "
        "Please check that the export is complete and upload it again.",
    )


_UNEVEN = Notice(
    Code.UNEVEN_SPACING,
    "The slices do not lie at even distances in a straight line: each slice is read, but nothing "
    "is measured across slices. "
    "Please upload the series as the scanner reconstructed it.",
)


def _tilted(degrees: float) -> Notice:
    return Notice(
        Code.GANTRY_TILT,
        f"The slices are tilted by {degrees:.0f} degrees against the table (gantry tilt): places "
        "are right, but other planes are sheared.",
    )
