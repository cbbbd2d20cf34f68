"""The place of slices in the body, and the canonical order of the axes of a volume."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.imaging.volume import Affine, Plane

_MAX_TILT_DEGREES = 30.0
_PLANES: tuple[Plane, Plane, Plane] = ("sagittal", "coronal", "axial")
# For slices across each axis of the body (x left, y back, z head): axis and sign along which
# slices, rows and columns are counted. Radiological convention: the patient's right and front
# are on the left of the picture, head or front on top.
_CANONICAL = (
    ((0, 1), (2, -1), (1, 1)),
    ((1, 1), (2, -1), (0, 1)),
    ((2, 1), (1, 1), (0, 1)),
)


@dataclass(frozen=True)
class Arrangement:
    """The exchange and reversal of an array's axes that give the canonical order of `Volume`.

    Attributes
    ----------
    order : tuple of int
        The axes of the array that become slices, rows and columns.
    flips : tuple of bool
        Whether each of those axes is then reversed.
    affine_lps : tuple of tuple of float
        Affine of the arranged array, as in `Volume`.
    plane : str
        Plane of the slices; "unknown" if they are tilted by more than 30 degrees.
    spacing_mm : tuple of float
        (slice, row, column). The slice spacing is measured across the slices, sheared or not.
    """

    order: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    affine_lps: Affine
    plane: Plane
    spacing_mm: tuple[float, float, float]

    def apply_to_slice(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Return an arranged view of a slice, `(rows, columns)`, of an array with slices first."""
        turned = pixels.T if self.order[1] == 2 else pixels
        rows, columns = (slice(None, None, -1 if flip else None) for flip in self.flips[1:])
        return turned[rows, columns]


def arrange(
    *,
    origin_mm: NDArray[np.float64],
    steps_mm: NDArray[np.float64],
    shape: tuple[int, int, int],
    slice_axis: int = 0,
) -> Arrangement:
    """Find the canonical order of an array's axes, without resampling.

    Parameters
    ----------
    origin_mm : np.ndarray
        LPS position of the centre of the element `[0, 0, 0]`.
    steps_mm : np.ndarray
        `(3, 3)`, in mm: row `n` leads in LPS from an element to the next one along axis `n`.
    shape : tuple of int
        Shape of the array.
    slice_axis : int
        The axis that counts the slices.

    Raises
    ------
    ValueError
        If a number is not finite, a step is 0, or the steps lie in one plane.
    """
    lengths = np.linalg.norm(steps_mm, axis=1)
    if not np.isfinite(origin_mm).all() or not np.isfinite(lengths).all() or not lengths.all():
        raise ValueError("The position of the slices is no number.")
    directions = steps_mm / lengths[:, np.newaxis]
    if abs(float(np.linalg.det(directions))) < 0.1:
        raise ValueError("The axes of the volume lie in one plane.")
    first, second = (axis for axis in range(3) if axis != slice_axis)
    normal = np.cross(directions[first], directions[second])
    normal /= np.linalg.norm(normal)
    across = int(np.abs(normal).argmax())
    (slice_to, slice_sign), (row_to, row_sign), (column_to, column_sign) = _CANONICAL[across]
    as_rows_and_columns = abs(directions[first][row_to]) + abs(directions[second][column_to])
    exchanged = abs(directions[second][row_to]) + abs(directions[first][column_to])
    rows, columns = (first, second) if as_rows_and_columns >= exchanged else (second, first)
    order = (slice_axis, rows, columns)
    wanted = ((slice_to, slice_sign), (row_to, row_sign), (column_to, column_sign))
    flips = [
        bool(directions[axis][to] * sign < 0)
        for axis, (to, sign) in zip(order, wanted, strict=True)
    ]
    origin = np.array(origin_mm, np.float64)
    steps = []
    for axis, flip in zip(order, flips, strict=True):
        origin += steps_mm[axis] * (shape[axis] - 1) * flip
        steps.append(-steps_mm[axis] if flip else steps_mm[axis])
    affine = np.eye(4)
    # Adding 0 turns -0.0 into 0.0.
    affine[:3] = np.column_stack([*reversed(steps), origin]) + 0.0
    return Arrangement(
        order=order,
        flips=(flips[0], flips[1], flips[2]),
        affine_lps=tuple((float(x), float(y), float(z), float(w)) for x, y, z, w in affine),
        plane=_plane_across(normal),
        spacing_mm=(
            abs(float(steps_mm[slice_axis] @ normal)),
            float(lengths[rows]),
            float(lengths[columns]),
        ),
    )


def _plane_across(normal: NDArray[np.float64]) -> Plane:
    along = np.abs(normal)
    axis = int(along.argmax())
    tilt_degrees = math.degrees(math.acos(min(1.0, float(along[axis]))))
    return _PLANES[axis] if tilt_degrees <= _MAX_TILT_DEGREES else "unknown"
