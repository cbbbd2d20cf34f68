"""Axial, coronal and sagittal cuts through a volume as they are shown, without resampling."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.imaging.volume import Plane, Volume

# The sides of the patient towards which the slices, rows and columns of a plane run. A volume whose
# affine is known is stored in this order (DICOM PS3.3, C.7.6.2.1.1: x to the left, y to the back, z
# to the head), and cuts are shown in it. Radiologists look from the feet and from the front, with
# the patient's right at the left of the picture.
_DIRECTIONS = {
    "axial": ("H", "P", "L"),
    "coronal": ("P", "F", "L"),
    "sagittal": ("L", "F", "P"),
}
_OPPOSITE = {"L": "R", "R": "L", "P": "A", "A": "P", "H": "F", "F": "H"}


@dataclass(frozen=True)
class Axis:
    """The axis of the stored array along which one axis of a shown plane runs.

    Attributes
    ----------
    index : int
        0, 1 or 2: slices, rows or columns of the stored array.
    is_flipped : bool
        Whether the shown axis runs against the stored one.
    """

    index: int
    is_flipped: bool


@dataclass(frozen=True)
class Letters:
    """The sides of the patient at the four edges of a picture: L R A P H F."""

    left: str
    right: str
    top: str
    bottom: str


def shown_axes(acquired: Plane, shown: Plane) -> tuple[Axis, Axis, Axis]:
    """Return the stored axes of the slices, rows and columns of `shown` in a volume of `acquired`.

    Raises
    ------
    ValueError
        If one of the planes is "unknown" and they are not the same.
    """
    if acquired == shown:
        return Axis(0, False), Axis(1, False), Axis(2, False)
    if acquired not in _DIRECTIONS or shown not in _DIRECTIONS:
        raise ValueError(f"A volume of the plane {acquired} has no {shown} cuts.")
    stored = _DIRECTIONS[acquired]
    slices, rows, columns = (
        Axis(stored.index(side), False)
        if side in stored
        else Axis(stored.index(_OPPOSITE[side]), True)
        for side in _DIRECTIONS[shown]
    )
    return slices, rows, columns


def letters_of(plane: Plane) -> Letters | None:
    """Return the sides of the patient around a cut, or None where the plane is unknown."""
    if plane not in _DIRECTIONS:
        return None
    _, down, right = _DIRECTIONS[plane]
    return Letters(left=_OPPOSITE[right], right=right, top=_OPPOSITE[down], bottom=down)


def is_oriented(volume: Volume) -> bool:
    """Say whether the sides of the patient are known, so that letters may mark the edges."""
    return volume.affine_lps is not None and volume.plane in _DIRECTIONS


def planes_of(volume: Volume) -> tuple[Plane, ...]:
    """Return the planes in which a volume can be shown, the acquired one first.

    The other two planes need two slices or more, a known orientation and an even, known spacing:
    without them the cuts would be distorted. Any other volume is shown in its own plane.
    """
    spacing_mm = volume.spacing_mm
    if not (is_oriented(volume) and volume.is_evenly_spaced) or volume.pixels.shape[0] < 2:
        return (volume.plane,)
    if spacing_mm is None or not all(length > 0 for length in spacing_mm):
        return (volume.plane,)
    others: tuple[Plane, ...] = ("axial", "coronal", "sagittal")
    return volume.plane, *(plane for plane in others if plane != volume.plane)


def as_plane(pixels: NDArray[Any], acquired: Plane, shown: Plane) -> NDArray[Any]:
    """Return a volume, or its stone map, turned so that its first axis runs through `shown`.

    Parameters
    ----------
    pixels : np.ndarray
        `(slices, rows, columns)` as stored. A memory map is not read.

    Returns
    -------
    np.ndarray
        A view of the same numbers; `[i]` is cut `i`, with rows and columns as they are shown.
        Axial cuts are counted from the feet, coronal cuts from the front, and sagittal cuts from
        the patient's right.

    Raises
    ------
    ValueError
        If the volume has no such cuts.
    """
    axes = shown_axes(acquired, shown)
    turned = np.transpose(pixels, [axis.index for axis in axes])
    return turned[tuple(slice(None, None, -1 if axis.is_flipped else 1) for axis in axes)]


def cut(volume: Volume, plane: Plane, index: int) -> NDArray[Any]:
    """Return one cut as it is shown: `(rows, columns)`, int16 HU or uint8 grey.

    Raises
    ------
    ValueError
        If the volume is not shown in that plane.
    IndexError
        If it has no such cut.
    """
    return np.ascontiguousarray(_cuts(volume, plane, index)[index])


def map_cut(
    stone_map: NDArray[np.floating], volume: Volume, plane: Plane, index: int
) -> NDArray[np.float32]:
    """Return the stone map over one cut: `(h, w)` float32, over exactly the area of that cut.

    The map has fewer cells than the volume has voxels. Across the cut, the two nearest cells are
    interpolated linearly, so that a spot fades in and out from cut to cut.

    Raises
    ------
    ValueError
        If the volume is not shown in that plane.
    IndexError
        If it has no such cut.
    """
    cuts = _cuts(volume, plane, index).shape[0]
    turned = as_plane(stone_map, volume.plane, plane)
    cells = turned.shape[0]
    place = min(max((index + 0.5) * cells / cuts - 0.5, 0.0), cells - 1.0)
    first = int(place)
    share = place - first
    mixed = (1 - share) * turned[first].astype(np.float32)
    if share > 0:
        mixed += share * turned[first + 1].astype(np.float32)
    return np.ascontiguousarray(mixed, dtype=np.float32)


def _cuts(volume: Volume, plane: Plane, index: int) -> NDArray[Any]:
    """Return all cuts in a plane. Raises ValueError for the plane, IndexError for the index."""
    if plane not in planes_of(volume):
        raise ValueError(f"This volume has no {plane} cuts.")
    turned = as_plane(volume.pixels, volume.plane, plane)
    if not 0 <= index < turned.shape[0]:
        raise IndexError(f"The volume has {turned.shape[0]} {plane} cuts, not {index + 1}.")
    return turned
