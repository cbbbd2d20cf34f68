"""The half-maximum contour around a bright voxel, and the measures of what it encloses."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Largest distance of a seed from the brightest voxel of its stone, along each axis.
_SEED_MM = 1.5
# The shell whose median is the local background, by distance from the contour.
_SHELL_MM = (1.5, 5.0)
# Voxels this far inside the contour have their full density: the blur of the rim ends before them.
_CORE_MM, _MIN_CORE = 1.25, 6
_MIN_CONTRAST_HU = 60.0
# Fewer voxels above the threshold along an axis show the place of a stone and not its shape. A
# stone that lies across two slices may fill them or only touch both.
_MIN_VOXELS = 3
# Least contrast over noise, times the root of the number of voxels. The noise makes the widths of a
# contour vary by about the inverse of this figure.
_MIN_CLARITY = 20.0
_ROUNDS = 3
_SUPERSAMPLING = 4


@dataclass(frozen=True, eq=False)
class HalfMaximum:
    """A bright region of a block of voxels, and the levels that define it.

    Attributes
    ----------
    region : np.ndarray
        bool, of the block's shape: connected voxels above the threshold.
    peak_hu : float
        Mean of the core.
    background_hu, noise_hu : float
        Median of the shell around the region, and its standard deviation, from quantiles.
    """

    region: NDArray[np.bool_]
    peak_hu: float
    background_hu: float
    noise_hu: float

    @property
    def threshold_hu(self) -> float:
        return (self.peak_hu + self.background_hu) / 2

    @property
    def is_resolved(self) -> bool:
        """Whether the region covers enough voxels along each axis to have a shape."""
        sides = (self.region.any(axis=others) for others in ((1, 2), (0, 2), (0, 1)))
        return all(int(side.sum()) >= _MIN_VOXELS for side in sides)

    @property
    def is_clear(self) -> bool:
        """Whether the contour stands clear of the noise."""
        contrast_hu = self.peak_hu - self.background_hu
        return contrast_hu * float(self.region.sum()) ** 0.5 >= _MIN_CLARITY * self.noise_hu

    @property
    def is_single(self) -> bool:
        """Whether the region lies on one slice only, so that its extent across it is unknown."""
        return int(self.region.any(axis=(1, 2)).sum()) == 1


@dataclass(frozen=True, eq=False)
class Outline:
    """The measures of a half-maximum contour; arrays have the order slice, row, column.

    Attributes
    ----------
    centre : np.ndarray
        Centre of gravity in voxels of the block.
    half_axes_mm : np.ndarray
        3 x 3, symmetric: the ellipsoid with the same second moments is this matrix times the ball
        of radius 1.
    widest_mm : float
        Largest distance between two points of the contour, or within slices if the region lies on
        one slice only.
    sections_mm : tuple of float
        Largest diameter within one plane of voxels across the first, second and third axis.
    volume_mm3, mean_hu : float
        Volume and mean within the contour, by supersampling.
    """

    centre: NDArray[np.float64]
    half_axes_mm: NDArray[np.float64]
    widest_mm: float
    sections_mm: tuple[float, float, float]
    volume_mm3: float
    mean_hu: float


def brightest_near(
    block_hu: NDArray[np.float32], at: NDArray[np.int_], spacing: NDArray[np.float64]
) -> tuple[int, int, int]:
    """Return the brightest voxel within 1.5 mm of the seed along each axis."""
    reach = np.floor(_SEED_MM / spacing).astype(int)
    first = np.maximum(at - reach, 0)
    near = block_hu[tuple(slice(a, b + 1) for a, b in zip(first, at + reach, strict=True))]
    place = np.array(np.unravel_index(int(near.argmax()), near.shape)) + first
    return int(place[0]), int(place[1]), int(place[2])


def half_maximum(
    block_hu: NDArray[np.float32], summit: tuple[int, int, int], spacing: NDArray[np.float64]
) -> HalfMaximum | None:
    """Find the bright region around a voxel of a block.

    Region, peak and background depend on each other, so that a few rounds settle them.

    Parameters
    ----------
    block_hu : np.ndarray
        float32 `(slices, rows, columns)`.
    summit : tuple of int
        The brightest voxel.
    spacing : np.ndarray
        Spacing of the voxels in mm, `(3,)`.

    Returns
    -------
    HalfMaximum or None
        None if the peak stands out by less than 60 HU, or if no region is left.
    """
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(block_hu)
    image.SetSpacing([float(side) for side in spacing[::-1]])
    # The background is soft tissue until it is measured.
    peak, background, noise = float(block_hu[summit]), 30.0, 0.0
    region: NDArray[np.bool_] | None = None
    for _ in range(_ROUNDS):
        if peak - background < _MIN_CONTRAST_HU:
            return None
        threshold = (peak + background) / 2
        grown = sitk.ConnectedThreshold(
            image, [tuple(int(i) for i in summit[::-1])], float(threshold), 1e6
        )
        region = sitk.GetArrayViewFromImage(grown).astype(bool)
        if not region.any():
            return None
        # A view would outlive the image that holds its memory, so this is a copy.
        distance = sitk.GetArrayFromImage(
            sitk.SignedMaurerDistanceMap(
                grown, insideIsPositive=False, squaredDistance=False, useImageSpacing=True
            )
        )
        core = block_hu[distance < -_CORE_MM]
        if len(core) < _MIN_CORE:
            values = np.sort(block_hu[region])
            core = values[-max(1, len(values) // 8) :]
        peak = float(core.mean())
        # Bone nearby is bright and air is dark: neither is the tissue around the stone.
        shell = (distance > _SHELL_MM[0]) & (distance < _SHELL_MM[1])
        shell &= (block_hu < threshold) & (block_hu > -300)
        if shell.any():
            low, median, high = np.quantile(block_hu[shell], (0.16, 0.5, 0.84))
            background, noise = float(median), float(high - low) / 2
    assert region is not None
    return HalfMaximum(region=region, peak_hu=peak, background_hu=background, noise_hu=noise)


def outline(
    block_hu: NDArray[np.float32],
    found: HalfMaximum,
    spacing: NDArray[np.float64],
    *,
    is_single: bool,
) -> Outline:
    """Measure the contour and what it encloses.

    Parameters
    ----------
    block_hu : np.ndarray
        float32, the block in which `found` was found.
    is_single : bool
        Whether `widest_mm` is measured within slices only.
    """
    threshold, where = found.threshold_hu, np.argwhere(found.region)
    low = np.maximum(where.min(axis=0) - 1, 0)
    high = np.minimum(where.max(axis=0) + 2, found.region.shape)
    window = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    inside = np.pad(found.region[window], 1)
    # Only the stone and its rim count; another bright structure nearby must not.
    near = _grown(inside)
    values = np.pad(block_hu[window], 1, mode="edge")
    values = np.where(
        near & (inside | (values < threshold)), values, np.float32(found.background_hu)
    )
    points = _crossings(values, inside, threshold)
    flat = points[:, 0] == np.round(points[:, 0])
    fine, cell = _supersample(values)
    enclosed = fine >= threshold
    places = (np.argwhere(enclosed) + 0.5) / _SUPERSAMPLING
    # The variance of an ellipsoid along each axis is a fifth of the half axis squared.
    squares, turn = np.linalg.eigh(5 * np.cov(places.T * spacing[:, None], bias=True))
    first, second, third = (_within_planes(points, spacing, axis) for axis in range(3))
    return Outline(
        centre=places.mean(axis=0) + low - 1,
        half_axes_mm=turn * np.sqrt(np.maximum(squares, 0)) @ turn.T,
        widest_mm=_feret((points[flat] if is_single else points) * spacing),
        sections_mm=(first, second, third),
        volume_mm3=float(enclosed.sum() * cell * np.prod(spacing)),
        mean_hu=float(fine[enclosed].mean()),
    )


def _grown(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Add the 26 neighbours of every voxel."""
    for axis in range(3):
        before, after = np.roll(mask, 1, axis), np.roll(mask, -1, axis)
        np.moveaxis(before, axis, 0)[0] = False
        np.moveaxis(after, axis, 0)[-1] = False
        mask = mask | before | after
    return mask


def _crossings(
    values: NDArray[np.float32], inside: NDArray[np.bool_], threshold: float
) -> NDArray[np.float64]:
    """Return the points where the contour crosses between neighbouring voxels: `(n, 3)` indices."""
    found = []
    for axis in range(3):
        a, b = np.moveaxis(values, axis, 0)[:-1], np.moveaxis(values, axis, 0)[1:]
        ins = np.moveaxis(inside, axis, 0)
        crossed = np.argwhere(ins[:-1] != ins[1:])
        one, two = a[tuple(crossed.T)], b[tuple(crossed.T)]
        places = crossed.astype(np.float64)
        places[:, 0] += np.clip((threshold - one) / (two - one), 0, 1)
        # From (axis, the other two in their order) back to (slice, row, column).
        order = [axis, *(other for other in range(3) if other != axis)]
        found.append(places[:, np.argsort(order)])
    return np.concatenate(found)


def _feret(points_mm: NDArray[np.float64]) -> float:
    """Return the largest distance between two points, `(n, 3)`, to about a thousandth of it.

    It is the largest extent over many directions, which the golden angle spreads evenly over half a
    sphere. The time is linear in the number of points, unlike that of comparing all pairs.
    """
    number = np.arange(2000)
    z = (number + 0.5) / len(number)
    turn = np.pi * (3 - np.sqrt(5)) * number
    radius = np.sqrt(1 - z * z)
    directions = np.stack([z, radius * np.cos(turn), radius * np.sin(turn)])
    extent = np.zeros(len(number))
    for part in np.array_split(np.arange(len(number)), 8):
        along = points_mm @ directions[:, part]
        extent[part] = np.ptp(along, axis=0)
    return float(extent.max())


def _within_planes(points: NDArray[np.float64], spacing: NDArray[np.float64], axis: int) -> float:
    """Return the largest diameter within one plane of voxels across an axis."""
    others = [other for other in range(3) if other != axis]
    turn = np.deg2rad(np.arange(180))
    directions = np.stack([np.cos(turn), np.sin(turn)])
    whole = points[:, axis] == np.round(points[:, axis])
    widest = 0.0
    for plane in np.unique(points[whole, axis]):
        flat = points[whole & (points[:, axis] == plane)][:, others] * spacing[others]
        widest = max(widest, float(np.ptp(flat @ directions, axis=0).max()))
    return widest


def _supersample(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    """Interpolate linearly between voxel centres; return the samples and their share of a voxel.

    Sample i of an axis lies at (i + 0.5) / `_SUPERSAMPLING` voxels from the first centre.
    """
    fine = values
    for axis in range(3):
        length = fine.shape[axis]
        at = (np.arange((length - 1) * _SUPERSAMPLING) + 0.5) / _SUPERSAMPLING
        left = at.astype(int)
        share = (at - left).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        fine = np.take(fine, left, axis) * (1 - share) + np.take(fine, left + 1, axis) * share
    return fine, 1 / _SUPERSAMPLING**3
