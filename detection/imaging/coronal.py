"""Coronal slabs cut from an axial volume."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detection.imaging.trunk import Trunk
from detection.imaging.volume import Volume

# The grid, thickness and step of the reformats; the training images looked so.
PIXEL_MM = 0.9
SLAB_MM = 3.0
STEP_MM = 2.0
# Thicker slices give steps instead of outlines; a lower stack shows no abdomen in a coronal cut.
MAX_SLICE_MM = 3.0
MIN_HEIGHT_MM = 150.0
# A taller picture would be shrunk until a stone is a point: it is read in overlapping parts.
MAX_PART_MM = 420.0
_OVERLAP_MM = 60.0
# The part of the trunk's depth, from the front, in which kidneys lie. Cuts through the front of
# the belly look like none of the training images, and the model sees stones in them.
_DEPTH = (0.4, 0.85)
_AIR_HU = -1024


@dataclass(frozen=True, eq=False)
class CoronalSlab:
    """One coronal picture, and where it was cut from.

    Attributes
    ----------
    pixels_hu : np.ndarray
        int16 `(rows, columns)` of `PIXEL_MM`; rows to the feet, columns to the left.
    position : int
        Index into `CoronalPlan.rows`; the parts of one cut share it.
    row : float
        The middle of the slab, in rows of the axial slices.
    first_row, end_row : float
        The rows of the axial slices that it averages.
    top_slice : float
        The axial slice (its upper edge) at the upper edge of the picture.
    left_column : float
        The axial column (its left edge) at the left edge of the picture.
    slices_per_pixel, columns_per_pixel : float
        Height of a pixel in slices, and its width in columns.
    """

    pixels_hu: NDArray[np.int16]
    position: int
    row: float
    first_row: float
    end_row: float
    top_slice: float
    left_column: float
    slices_per_pixel: float
    columns_per_pixel: float

    def to_volume(
        self, box: tuple[float, float, float, float]
    ) -> tuple[float, float, float, float, float, float]:
        """Turn a box of this picture (x0, y0, x1, y1) into edges in the axial volume.

        Returns
        -------
        tuple of float
            Column, row and slice where the box begins, then where it ends.
        """
        x0, y0, x1, y1 = box
        return (
            self.left_column + x0 * self.columns_per_pixel,
            self.first_row,
            self.top_slice - y1 * self.slices_per_pixel,
            self.left_column + x1 * self.columns_per_pixel,
            self.end_row,
            self.top_slice - y0 * self.slices_per_pixel,
        )


@dataclass(frozen=True, eq=False)
class CoronalPlan:
    """The coronal pictures that are to be cut from a volume.

    Attributes
    ----------
    rows : tuple of float
        The middle of each cut, in rows of the axial slices.
    parts : tuple of tuple of int
        First and end slice of each picture of a cut, from the head down.
    """

    volume: Volume
    trunk: Trunk
    rows: tuple[float, ...]
    parts: tuple[tuple[int, int], ...]

    @property
    def pictures(self) -> int:
        return len(self.rows) * len(self.parts)

    @property
    def positions_mm(self) -> tuple[float, ...]:
        """LPS y of the middle of each cut in mm, at the middle of the volume; () without affine."""
        if self.volume.affine_lps is None:
            return ()
        slices, _, columns = self.volume.pixels.shape
        matrix = np.array(self.volume.affine_lps)
        middle = ((columns - 1) / 2, (slices - 1) / 2)
        return tuple(float((matrix @ (middle[0], row, middle[1], 1.0))[1]) for row in self.rows)

    def slabs(self) -> Iterator[CoronalSlab]:
        """Cut the pictures one after the other; only one is held at a time."""
        for position, row in enumerate(self.rows):
            for first, end in self.parts:
                yield self._slab(position, row, first, end)

    def _slab(self, position: int, row: float, first: int, end: int) -> CoronalSlab:
        assert self.volume.spacing_mm is not None
        slice_mm, row_mm, column_mm = self.volume.spacing_mm
        half = SLAB_MM / row_mm / 2
        lowest = max(0, int(np.floor(row - half + 0.5)))
        highest = min(self.volume.pixels.shape[1], int(np.ceil(row + half + 0.5)))
        index = np.arange(lowest, highest)
        # The weight of a row is the share of it that lies in the slab.
        weight = np.minimum(index + 0.5, row + half) - np.maximum(index - 0.5, row - half)
        weight = np.clip(weight, 0, 1).astype(np.float32)
        _, _, left, right = self.trunk.box
        cut = np.zeros((end - first, right - left), np.float32)
        for one, share in zip(index, weight / weight.sum(), strict=True):
            cut += share * self.volume.pixels[first:end, one, left:right]
        mask = self.trunk.masks[first:end, min(int(row) // self.trunk.step, self._last_cell)]
        cut[~np.repeat(mask, self.trunk.step, axis=1)[:, left:right]] = _AIR_HU
        # Slices run to the head, the rows of the picture to the feet.
        picture = _resample(cut[::-1], row_mm=slice_mm, column_mm=column_mm)
        return CoronalSlab(
            pixels_hu=picture,
            position=position,
            row=row,
            first_row=row - half + 0.5,
            end_row=row + half + 0.5,
            top_slice=float(end),
            left_column=float(left),
            slices_per_pixel=PIXEL_MM / slice_mm,
            columns_per_pixel=PIXEL_MM / column_mm,
        )

    @property
    def _last_cell(self) -> int:
        return self.trunk.masks.shape[1] - 1


def plan_coronal(volume: Volume, trunk: Trunk) -> CoronalPlan | None:
    """Plan the coronal slabs of an axial volume, over the depth in which kidneys lie.

    Returns
    -------
    CoronalPlan or None
        None where the slices are thicker than 3 mm or unevenly spaced, where the trunk is lower
        than 15 cm, or where the affine is not known.
    """
    if volume.spacing_mm is None or volume.affine_lps is None or not volume.is_evenly_spaced:
        return None
    slice_mm, row_mm, _ = volume.spacing_mm
    seen = trunk.slices
    first, end = seen[0], seen[-1] + 1
    if not 0 < slice_mm <= MAX_SLICE_MM or (end - first) * slice_mm < MIN_HEIGHT_MM:
        return None
    top, bottom, _, _ = trunk.box
    front, back = (top + share * (bottom - top) - 0.5 for share in _DEPTH)
    step = STEP_MM / row_mm
    rows = tuple(float(front + step * number) for number in range(int((back - front) / step) + 1))
    return CoronalPlan(
        volume=volume, trunk=trunk, rows=rows, parts=_parts(first, end, slice_mm=slice_mm)
    )


def _parts(first: int, end: int, *, slice_mm: float) -> tuple[tuple[int, int], ...]:
    """Cover the slices with the fewest overlapping parts of equal height, head first."""
    height = end - first
    longest = int(MAX_PART_MM / slice_mm)
    if height <= longest:
        return ((first, end),)
    overlap = int(_OVERLAP_MM / slice_mm)
    count = int(np.ceil((height - overlap) / (longest - overlap)))
    length = int(np.ceil((height + overlap * (count - 1)) / count))
    ends = [round(end - number * (height - length) / (count - 1)) for number in range(count)]
    return tuple((max(first, one - length), one) for one in ends)


def _resample(cut_hu: NDArray[np.float32], *, row_mm: float, column_mm: float) -> NDArray[np.int16]:
    """Resample a cut to square pixels of `PIXEL_MM`, linearly, edge to edge."""
    # Only the worker resamples. The web process imports this module and need not load SimpleITK.
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(cut_hu))
    image.SetSpacing((column_mm, row_mm))
    rows, columns = cut_hu.shape
    size = (max(1, round(columns * column_mm / PIXEL_MM)), max(1, round(rows * row_mm / PIXEL_MM)))
    # The outer edges of the first pixel of the grid and of the cut coincide.
    origin = ((PIXEL_MM - column_mm) / 2, (PIXEL_MM - row_mm) / 2)
    grid = sitk.Resample(
        image,
        size,
        sitk.Transform(2, sitk.sitkIdentity),
        sitk.sitkLinear,
        origin,
        (PIXEL_MM, PIXEL_MM),
        (1.0, 0.0, 0.0, 1.0),
        float(_AIR_HU),
        sitk.sitkFloat32,
    )
    return np.rint(sitk.GetArrayFromImage(grid)).clip(-1024, 3071).astype(np.int16)
