"""Where a slice lies in the body, from the elements of its DICOM header."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from detection.imaging.volume import Plane

_MAX_TILT_DEGREES = 30.0
_PLANES: tuple[Plane, Plane, Plane] = ("sagittal", "coronal", "axial")


def spacing_mm_of(dataset: Dataset) -> tuple[float, float, float] | None:
    """Read the distance between slices, rows and columns.

    Returns
    -------
    tuple of float or None
        Pixel Spacing (0028,0030) in mm, after Spacing Between Slices (0018,0088) or else Slice
        Thickness (0018,0050), 0 where neither is told. None without a credible Pixel Spacing.
    """
    spacing = dataset.get("PixelSpacing")
    if spacing is None or isinstance(spacing, str | float) or len(spacing) != 2:
        return None
    row_mm, column_mm = first_number(spacing[:1]), first_number(spacing[1:])
    if row_mm is None or column_mm is None:
        return None
    if not (0.01 <= row_mm <= 20 and 0.01 <= column_mm <= 20):
        return None
    slice_mm = first_number(dataset.get("SpacingBetweenSlices"))
    slice_mm = slice_mm or first_number(dataset.get("SliceThickness"))
    return abs(slice_mm or 0.0), row_mm, column_mm


def plane_of(orientation: Any) -> Plane:
    """Name the plane of a slice by the axis of the body that is nearest to its normal.

    Parameters
    ----------
    orientation : sequence of six numbers, or None
        Image Orientation (Patient) (0020,0037): the directions of the rows and of the columns,
        x to the left, y to the back, z to the head.

    Returns
    -------
    str
        "unknown" if the slice is tilted by more than 30 degrees, or the numbers are no directions.
    """
    if orientation is None or isinstance(orientation, str | float) or len(orientation) != 6:
        return "unknown"
    values = [float(value) for value in orientation]
    normal = np.cross(values[:3], values[3:])
    length = float(np.linalg.norm(normal))
    if not math.isfinite(length) or not 0.9 < length < 1.1:
        return "unknown"
    along = np.abs(normal) / length
    axis = int(along.argmax())
    tilt_degrees = math.degrees(math.acos(min(1.0, float(along[axis]))))
    return _PLANES[axis] if tilt_degrees <= _MAX_TILT_DEGREES else "unknown"


def first_number(value: Any) -> float | None:
    """Return the first number of an element of value representation DS, or None without one."""
    values: Sequence[Any] = [value] if isinstance(value, str | int | float) else list(value or ())
    try:
        number = float(values[0])
    except (IndexError, TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
