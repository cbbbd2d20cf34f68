"""Reads spacing, plane and place of a DICOM slice from the elements of its header."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from detection.imaging.geometry import Arrangement, _plane_across, arrange
from detection.imaging.volume import Plane


def spacing_mm_of(dataset: Dataset) -> tuple[float, float, float] | None:
    """Read the distance between slices, rows and columns.

    Returns
    -------
    tuple of float or None
        (slice, row, column) in mm, from Pixel Spacing (0028,0030) and Spacing Between Slices
        (0018,0088), or else Slice Thickness (0018,0050); 0 between slices where neither is told.
        None without a credible Pixel Spacing.
    """
    spacing = dataset.get("PixelSpacing")
    if spacing is None or isinstance(spacing, str | int | float) or len(spacing) != 2:
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
        Image Orientation (Patient) (0020,0037): the directions along a row and along a column,
        in LPS.

    Returns
    -------
    str
        "unknown" if the slice is tilted by more than 30 degrees, or the numbers span no plane.
    """
    values = numbers(orientation, 6)
    if values is None:
        return "unknown"
    normal = np.cross(values[:3], values[3:])
    length = float(np.linalg.norm(normal))
    if not 0.9 < length < 1.1:
        return "unknown"
    return _plane_across(normal / length)


def numbers(value: Any, count: int) -> NDArray[np.float64] | None:
    """Return an element of `count` numbers, float64; None for another count or without them."""
    if value is None or isinstance(value, str | int | float):
        return None
    try:
        values = np.array([float(item) for item in value], np.float64)
    except (TypeError, ValueError):
        return None
    return values if values.shape == (count,) and np.isfinite(values).all() else None


def first_number(value: Any) -> float | None:
    """Return the first number of an element of value representation DS, or None without one."""
    values: Sequence[Any] = [value] if isinstance(value, str | int | float) else list(value or ())
    try:
        number = float(values[0])
    except (IndexError, TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def slice_arrangement(dataset: Dataset, *, rows: int, columns: int) -> Arrangement | None:
    """Find the canonical order of one slice from its orientation, position and spacing.

    Returns
    -------
    Arrangement or None
        Arrangement of the array `(1, rows, columns)`, None without a credible Image Orientation
        (0020,0037). Its affine counts from 0 without Image Position (0020,0032), and by 1 mm where
        the file tells no distance.
    """
    position = numbers(dataset.get("ImagePositionPatient"), 3)
    orientation = orientation_of(dataset.get("ImageOrientationPatient"))
    if orientation is None:
        return None
    along_rows, along_columns = orientation
    slice_mm, row_mm, column_mm = spacing_mm_of(dataset) or (1.0, 1.0, 1.0)
    # DICOM PS3.3, equation C.7.6.2.1-1: the first direction runs along a row, so it belongs to
    # the column index.
    steps = np.stack(
        [
            np.cross(along_rows, along_columns) * (slice_mm or 1.0),
            along_columns * row_mm,
            along_rows * column_mm,
        ]
    )
    origin = np.zeros(3) if position is None else position
    return arrange(origin_mm=origin, steps_mm=steps, shape=(1, rows, columns))


def orientation_of(value: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Read Image Orientation (Patient) (0020,0037).

    Returns
    -------
    tuple of np.ndarray or None
        Unit vectors along a row and along a column, in LPS; None if they are not credible or not
        at right angles.
    """
    values = numbers(value, 6)
    if values is None:
        return None
    along_rows, along_columns = values[:3], values[3:]
    lengths = np.linalg.norm(along_rows), np.linalg.norm(along_columns)
    if not all(0.9 < length < 1.1 for length in lengths):
        return None
    along_rows, along_columns = along_rows / lengths[0], along_columns / lengths[1]
    if abs(float(along_rows @ along_columns)) > 0.02:
        return None
    return along_rows, along_columns
