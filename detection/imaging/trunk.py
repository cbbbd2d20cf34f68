"""The trunk in an axial volume, without the table and without the arms beside it."""

from collections.abc import Collection
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.imaging.volume import Volume

_AIR_HU = -1024
# Between air and fat; skin and fat of a noisy scan are above.
_TISSUE_HU = -300
# Edge of a mask cell. Fine enough for a waistline, coarse enough for a thousand slices.
_CELL_MM = 3.0
# A part thinner than the first is a table top or a sheet; one that touches the trunk over less than
# the second is an arm.
_THIN_MM, _JOINT_MM = 5.0, 30.0
# A slice with less trunk than this shows no abdomen.
_MIN_AREA_MM2 = 6000.0


@dataclass(frozen=True, eq=False)
class Trunk:
    """The trunk of an axial volume.

    Attributes
    ----------
    masks : np.ndarray
        bool `(slices, height, width)`; each cell stands for `step` x `step` pixels.
    step : int
        Edge of a cell in pixels.
    shape : tuple of int
        `(rows, columns)` of the slices.
    """

    masks: NDArray[np.bool_]
    step: int
    shape: tuple[int, int]

    @property
    def slices(self) -> list[int]:
        """Indices of the slices that show a trunk."""
        return [int(index) for index in np.flatnonzero(self.masks.any(axis=(1, 2)))]

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Pixels around the trunk over all slices: first row, end row, first column, end column."""
        seen = np.logical_or.reduce(self.masks, axis=0)
        rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
        return (
            int(rows[0]) * self.step,
            min(self.shape[0], (int(rows[-1]) + 1) * self.step),
            int(columns[0]) * self.step,
            min(self.shape[1], (int(columns[-1]) + 1) * self.step),
        )

    def within(self, slices: Collection[int]) -> "Trunk | None":
        """Return the trunk in the given slices alone; None if none of them shows it."""
        masks = self.masks.copy()
        masks[[index for index in range(len(masks)) if index not in slices]] = False
        return replace(self, masks=masks) if masks.any() else None

    def cut(self, pixels_hu: NDArray[np.int16], slice_index: int) -> NDArray[np.int16]:
        """Return the trunk's box of one slice, `(rows, columns)`, with air around the trunk."""
        top, bottom, left, right = self.box
        mask = np.repeat(np.repeat(self.masks[slice_index], self.step, 0), self.step, 1)
        return np.where(
            mask[top:bottom, left:right], pixels_hu[top:bottom, left:right], np.int16(_AIR_HU)
        )

    def midline(self, slice_index: int) -> float | None:
        """Return the column in the middle between the trunk's two flanks, or None without one."""
        columns = np.flatnonzero(self.masks[slice_index].any(axis=0))
        if not len(columns):
            return None
        return float((columns[0] + columns[-1] + 1) / 2 * self.step - 0.5)


def find_trunk(volume: Volume) -> Trunk | None:
    """Find the trunk in every slice of an axial volume in Hounsfield units.

    In each slice, opening takes thin parts away, and lungs and gas within the skin are filled.
    Erosion separates parts that join over less than 3 cm. The largest part left is the trunk.

    Returns
    -------
    Trunk or None
        None if no slice shows a trunk of at least 60 cm2, or if the volume is not axial, not in
        HU, or of unknown spacing.
    """
    if not volume.is_hu or volume.plane != "axial" or volume.spacing_mm is None:
        return None
    _, row_mm, column_mm = volume.spacing_mm
    step = max(1, round(_CELL_MM / min(row_mm, column_mm)))
    cell_mm = step * (row_mm + column_mm) / 2
    least_cells = _MIN_AREA_MM2 / (step * step * row_mm * column_mm)
    masks = []
    for pixels_hu in volume.pixels:
        mask = _trunk_mask(pixels_hu[::step, ::step], cell_mm)
        masks.append(mask if mask.sum() >= least_cells else np.zeros_like(mask))
    trunk = Trunk(masks=np.stack(masks), step=step, shape=volume.pixels.shape[1:])
    return trunk if trunk.masks.any() else None


def body_parts(
    cells_hu: NDArray[np.int16], cell_mm: float, *, at_most: int = 2
) -> list[NDArray[np.bool_]]:
    """Separate what lies apart in an axial slice: the trunk or the head, arms, legs.

    Parameters
    ----------
    cells_hu : np.ndarray
        int16 `(height, width)`, every n-th pixel of a slice.
    cell_mm : float
        Distance between cells in mm.
    at_most : int
        Number of parts to return.

    Returns
    -------
    list of np.ndarray
        bool masks like `cells_hu`, the largest part first. Lungs and gas within the skin are
        filled.
    """
    tissue = (cells_hu > _TISSUE_HU).astype(np.uint8)
    filled = fill(cv2.morphologyEx(tissue, cv2.MORPH_OPEN, disc(_THIN_MM, cell_mm)))
    joint = disc(_JOINT_MM, cell_mm)
    # Erosion separates parts that only touch. Beyond the edge of the image the body goes on.
    core = cv2.erode(filled, joint, borderType=cv2.BORDER_REPLICATE)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(core, connectivity=4)
    largest_first = 1 + np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable")
    parts = []
    for label in largest_first[:at_most]:
        grown = cv2.dilate((labels == label).astype(np.uint8), joint)
        # One cell more where there is tissue, since the erosion has rounded the corners.
        grown = cv2.dilate(grown, np.ones((3, 3), np.uint8)) & (filled | tissue)
        parts.append(grown.astype(bool))
    return parts


def _trunk_mask(cells_hu: NDArray[np.int16], cell_mm: float) -> NDArray[np.bool_]:
    parts = body_parts(cells_hu, cell_mm, at_most=1)
    if not parts:
        return np.zeros(cells_hu.shape, bool)
    # One cell of air around, so that the skin is whole and not in steps.
    return cv2.dilate(parts[0].astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)


def fill(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Fill what a mask of 0 and 1 encloses."""
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros_like(mask), contours, -1, 1, cv2.FILLED)


def disc(diameter_mm: float, cell_mm: float) -> NDArray[np.uint8]:
    """Return a disc of 0 and 1 in cells, for opening and closing."""
    side = max(1, round(diameter_mm / cell_mm) | 1)
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
