"""What lies around a dense object: its shell, the body of its slice, and the look of bone."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

# The shell around an object, by distance from its edge.
_SHELL_MM = (1.5, 5.0)
_SOFT_HU, _FAT_HU, _GAS_HU = -30.0, -200.0, -300.0
# Fewer voxels of a tissue do not tell its noise.
_LEAST_VOXELS = 12
# Normal deviates in one median absolute deviation.
_DEVIATES = 1.4826
# Between air and fat.
_TISSUE_HU = -300
# A table top is thinner than this.
_THIN_MM = 5.0
_RIM_MM = 2.0
# A gap in the wall of muscles that is closed, and the least share of the body within the wall.
_GAP_MM, _LEAST_INSIDE = 45.0, 0.5
# How much darker the inside of a bone is than its rim.
_MARROW_BELOW_HU = 60.0
# Level and least area of the bone to which a piece of one slice may belong.
_BONE_HU, _BONE_MM2 = 150, 400.0
# A contrast medium that has settled varies by less than this share of its density.
_HOMOGENEOUS = 0.15


@dataclass(frozen=True)
class Surroundings:
    """The shell around an object.

    `background_hu` is the median of its soft tissue, or of its fat where there is hardly any soft
    tissue; `noise_hu` the robust standard deviation within its tissues, so that a border between
    fat and soft tissue is no noise. `gas_share` and `soft_share` are shares of its voxels.
    """

    background_hu: float
    noise_hu: float
    gas_share: float
    soft_share: float


def surroundings_of(
    block_hu: NDArray[np.int16],
    region: NDArray[np.bool_],
    spacing: NDArray[np.float64],
    *,
    below_hu: float,
) -> Surroundings:
    """Describe the shell of 1.5 to 5 mm around a region; voxels of `below_hu` and more are others.

    Parameters
    ----------
    block_hu, region : np.ndarray
        int16 and bool, `(slices, rows, columns)`.
    spacing : np.ndarray
        Spacing of the voxels in mm, `(3,)`.
    """
    away = distance_mm(region, spacing)
    shell = block_hu[(away > _SHELL_MM[0]) & (away <= _SHELL_MM[1])].astype(np.float32)
    tissue = shell[shell < below_hu]
    if not len(tissue):
        # Something dense all around: neither noise nor background can be told.
        return Surroundings(30.0, 0.0, 0.0, 1.0)
    soft = tissue[tissue >= _SOFT_HU]
    fat = tissue[(tissue < _SOFT_HU) & (tissue >= _FAT_HU)]
    told = [one for one in (soft, fat) if len(one) >= _LEAST_VOXELS]
    middle = [float(np.median(one)) for one in told]
    residuals = [np.abs(one - at) for one, at in zip(told, middle, strict=True)]
    return Surroundings(
        background_hu=middle[0] if told else float(np.median(tissue)),
        noise_hu=_DEVIATES * float(np.median(np.concatenate(residuals))) if told else 0.0,
        gas_share=float((shell < _GAS_HU).mean()),
        soft_share=len(soft) / len(tissue),
    )


def has_rim(
    block_hu: NDArray[np.int16], region: NDArray[np.bool_], spacing: NDArray[np.float64]
) -> bool:
    """Say whether a dense structure has a hard rim around a darker inside, as bone has.

    Holes within a slice count as inside. A stone is brightest inside, as its rim is blurred.
    """
    inside, rim = [], []
    for pixels_hu, mask in zip(block_hu, region, strict=True):
        if not mask.any():
            continue
        filled = _filled(mask)
        depth = cv2.distanceTransform(np.pad(filled, 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
        depth = depth * float(spacing[1:].mean())
        deep = depth > _RIM_MM
        edge = pixels_hu[filled.astype(bool) & ~deep]
        if deep.sum() < 4 or not len(edge):
            continue
        inside.append(pixels_hu[deep])
        # The brighter half of the rim: the other half is blurred into the surroundings.
        rim.append(edge[edge >= np.median(edge)])
    if not inside:
        return False
    dark = float(np.median(np.concatenate(inside)))
    return dark < float(np.median(np.concatenate(rim))) - _MARROW_BELOW_HU


def is_homogeneous(
    block_hu: NDArray[np.int16],
    region: NDArray[np.bool_],
    spacing: NDArray[np.float64],
    noise_hu: float,
) -> bool:
    """Say whether the inside of a structure varies no more than noise and settling explain."""
    depth = distance_mm(~region, spacing)
    inside = block_hu[depth > _RIM_MM]
    if len(inside) < _LEAST_VOXELS:
        return False
    middle = float(np.median(inside))
    spread = _DEVIATES * float(np.median(np.abs(inside - middle)))
    return spread <= max(1.5 * noise_hu, _HOMOGENEOUS * middle)


def distance_mm(region: NDArray[np.bool_], spacing: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the distance of each voxel outside a region to it, in mm; 0 and less inside."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(region.astype(np.uint8))
    image.SetSpacing([float(side) for side in spacing[::-1]])
    away = sitk.SignedMaurerDistanceMap(
        image, insideIsPositive=False, squaredDistance=False, useImageSpacing=True
    )
    return np.asarray(sitk.GetArrayFromImage(away))


@dataclass(frozen=True, eq=False)
class Slice:
    """The body in one slice.

    `body` is bool `(rows, columns)`, without table and with its gas filled; `pixel_mm` the distance
    between rows and between columns, as known or as guessed.
    """

    pixels_hu: NDArray[np.int16]
    body: NDArray[np.bool_]
    pixel_mm: tuple[float, float]

    @cached_property
    def width_mm(self) -> float:
        columns = np.flatnonzero(self.body.any(axis=0))
        return float((columns[-1] - columns[0] + 1) * self.pixel_mm[1])

    @cached_property
    def _skin_mm(self) -> NDArray[np.float32]:
        # The edge of the image is no skin.
        if self.body.all():
            return np.full(self.body.shape, np.inf, np.float32)
        inside = cv2.distanceTransform(self.body.astype(np.uint8), cv2.DIST_L2, 5)
        return inside * float(np.mean(self.pixel_mm))

    def wall_mm(self, at: tuple[int, int]) -> float:
        """Return the distance in mm of a place (row, column) to the skin; infinite if not seen."""
        return float(self._skin_mm[at])

    @cached_property
    def _muscle_mm(self) -> NDArray[np.float32]:
        """Distance to the outer surface of the muscles, below skin and the fat under it."""
        pixel_mm = float(np.mean(self.pixel_mm))
        soft = (self.pixels_hu > _SOFT_HU) & self.body & (self._skin_mm > _THIN_MM)
        opened = cv2.morphologyEx(soft.astype(np.uint8), cv2.MORPH_OPEN, _disc(3, pixel_mm))
        gap = _disc(_GAP_MM, pixel_mm)
        edge = gap.shape[0]
        closed = cv2.morphologyEx(np.pad(opened, edge), cv2.MORPH_CLOSE, gap)
        inside = _largest_filled(closed[edge:-edge, edge:-edge])
        if inside.sum() < _LEAST_INSIDE * self.body.sum():
            # The wall is open somewhere: its surface is not known.
            return np.full(self.body.shape, np.inf, np.float32)
        return cv2.distanceTransform(inside, cv2.DIST_L2, 5) * pixel_mm

    def muscle_mm(self, at: tuple[int, int]) -> float:
        """Return how deep a place (row, column) lies below the muscles' outer surface, in mm.

        Ribs lie in the muscles of the wall. Infinite if no closed wall is seen.
        """
        return float(self._muscle_mm[at])

    def depth_share(self, at: tuple[int, int]) -> float:
        """Return how far behind the front of the body a row lies, as a share of its depth."""
        rows = np.flatnonzero(self.body.any(axis=1))
        return float((at[0] - rows[0]) / max(1, rows[-1] - rows[0]))

    @cached_property
    def _bones(self) -> NDArray[np.uint8]:
        """The spine of the slice, with its marrow."""
        bright = (self.pixels_hu >= _BONE_HU) & self.body
        bones = np.zeros(bright.shape, np.uint8)
        least = _BONE_MM2 / (self.pixel_mm[0] * self.pixel_mm[1])
        count, labels = cv2.connectedComponents(bright.astype(np.uint8), connectivity=8)
        areas = np.bincount(labels.ravel(), minlength=count)
        # The spine lies in the middle of the back; neither a staghorn stone nor bowel does.
        columns = np.flatnonzero(self.body.any(axis=0))
        middle = (columns[0] + columns[-1]) / 2
        back = np.flatnonzero(self.body.any(axis=1)).mean()
        for label in range(1, count):
            if areas[label] < least / 4:
                continue
            filled = _filled(labels == label)
            apart_mm = abs(np.flatnonzero(filled.any(axis=0)) - middle).min() * self.pixel_mm[1]
            reaches = int(np.flatnonzero(filled.any(axis=1))[-1])
            if filled.sum() >= least and apart_mm < 10 and reaches > back:
                bones |= filled
        return bones

    def is_near_bone(self, at: tuple[int, int], reach_mm: float, spinous_mm: float) -> bool:
        """Say whether a place is in, near or right behind the spine of this slice."""
        if not self._bones.any():
            return False
        away = cv2.distanceTransform(1 - self._bones, cv2.DIST_L2, 5) * np.mean(self.pixel_mm)
        if float(away[at]) < reach_mm:
            return True
        rows, columns = np.nonzero(self._bones)
        beside_mm = abs(at[1] - np.median(columns)) * self.pixel_mm[1]
        return bool(beside_mm < spinous_mm and at[0] > np.median(rows))


def body_around(
    pixels_hu: NDArray[np.int16], *, pixel_mm: tuple[float, float] | None, width_mm: float
) -> Slice:
    """Find the body in a slice: its largest part of tissue, thin sheets left out, gas filled.

    Parameters
    ----------
    pixels_hu : np.ndarray
        int16 `(rows, columns)`.
    pixel_mm : tuple of float or None
        Distance between rows and between columns, if known.
    width_mm : float
        Width of the body that the pixels get their size from if it is not known.
    """
    tissue = (pixels_hu > _TISSUE_HU).astype(np.uint8)
    least = pixel_mm or (1.0, 1.0)
    opened = cv2.morphologyEx(tissue, cv2.MORPH_OPEN, _disc(_THIN_MM, float(np.mean(least))))
    if not opened.any():
        return Slice(pixels_hu, np.ones(tissue.shape, bool), least)
    body = _largest_filled(opened).astype(bool)
    if pixel_mm is None:
        columns = np.flatnonzero(body.any(axis=0))
        guess = width_mm / float(columns[-1] - columns[0] + 1)
        least = (guess, guess)
    return Slice(pixels_hu, body, least)


def _disc(diameter_mm: float, pixel_mm: float) -> NDArray[np.uint8]:
    side = max(1, round(diameter_mm / pixel_mm) | 1)
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)


def _largest_filled(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the largest connected part of a mask with its holes, uint8; empty if it is empty."""
    count, labels = cv2.connectedComponents(mask, connectivity=4)
    if count < 2:
        return np.zeros(mask.shape, np.uint8)
    return _filled(labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:])))


def _filled(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros(mask.shape, np.uint8), contours, -1, 1, cv2.FILLED)
