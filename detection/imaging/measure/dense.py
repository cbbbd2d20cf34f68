"""The compact dense object under a mark of the network, or why there is none.

A network that has seen pictures alone takes ribs, specks of noise and bowel full of contrast medium
for stones. Hounsfield units tell most of them apart: what a mark means must be dense, stand clear
of the noise, end somewhere, and lie where a kidney can lie.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from detection.imaging.measure.contour import half_maximum
from detection.imaging.measure.surroundings import (
    Slice,
    Surroundings,
    body_around,
    has_rim,
    is_homogeneous,
    surroundings_of,
)
from detection.imaging.volume import Volume

# Least brightest voxel of an object, and how far it stands above its surroundings.
DENSE_HU, CLEAR_SD = 150.0, 5.0
# A voxel of the seed may lie this far beside the mark: cells of the map are about 8 mm wide.
_BESIDE_MM = 2.0
# Objects this near to the peak of the map are equally near: the brighter one counts.
_EQUALLY_NEAR_MM = 4.0
_MOST_SEEDS = 6
# Reach of the search around a seed: for its surroundings, for small objects, for the largest stone.
_LOCAL_MM, _NEAR_MM, _FAR_MM = 14.0, 25.0, 80.0
# An object is followed down to this level, or to the second above a denser surrounding.
_JOINED_HU, _JOINED_ABOVE_HU = 150.0, 60.0
# No kidney lies nearer to the skin: the first, or the second of the width of a smaller body.
_WALL_MM, _WALL_OF_WIDTH = 20.0, 0.06
# A bright spot of one slice this deep in the muscles of the wall is a rib: 7 of 10 bright spots of
# a real scan lie there, and no place in its kidneys lies less than 18 mm deep.
_MUSCLE_MM, _MUSCLE_OF_WIDTH = 14.0, 0.04
# A piece of one slice that lies this near to the spine belongs to it.
_NEAR_BONE_MM = 8.0
# Half the width of the row of spinous processes behind the spine.
_SPINOUS_MM = 14.0
# A pool of contrast medium, by its volume, or by its area on a single slice.
_POOL_MM3, _POOL_MM2 = 2000.0, 300.0
# Share of the shell that is gas beside bowel, and soft tissue around a stone.
_GAS_SHARE, _SOFT_SHARE = 0.04, 0.5
# Kidneys lie behind this part of the depth of the body (1,701 boxed stones: 0.42 to 0.81).
_FRONT = 0.4
# Width that stands for a body whose pixels have no known size.
_BODY_MM = 350.0


class Lack(StrEnum):
    """Why a mark does not stand on a dense object."""

    NOT_DENSE = "not dense"
    NOISE = "noise"
    BONE = "bone"
    TABLE = "outside the body"
    POOL = "contrast pool"


@dataclass(frozen=True)
class DenseObject:
    """A compact dense object.

    Attributes
    ----------
    peak : tuple of int
        (column, row, slice) of its brightest voxel.
    edges : tuple of float
        Column, row and slice where its voxels begin, then where they end.
    reach_mm : float
        Distance from the peak to the farthest voxel that is joined to it.
    peak_hu, background_hu, noise_hu : float
        The brightest voxel; median and standard deviation of the surroundings.
    is_followed : bool
        Whether it was followed across slices; otherwise it is what one slice shows.
    """

    peak: tuple[int, int, int]
    edges: tuple[float, float, float, float, float, float]
    reach_mm: float
    peak_hu: float
    background_hu: float
    noise_hu: float
    is_followed: bool


def dense_object(
    volume: Volume,
    edges: tuple[float, float, float, float, float, float],
    *,
    peak: tuple[float, float] | None = None,
) -> DenseObject | Lack:
    """Find the compact dense object under a mark.

    In an evenly spaced volume the object is followed across slices, otherwise within its slice
    alone, where the place in the body and the rim of bone must tell what the other slices would.
    Without a pixel size the body counts as 35 cm wide.

    Of several objects the one nearest to the peak of the map counts. Size drops nothing as long as
    the object ends within 8 cm: a staghorn stone of 20 mL stands.

    Parameters
    ----------
    volume : Volume
        In Hounsfield units; may be a single slice.
    edges : tuple of float
        Column, row and slice where the mark begins, then where it ends.
    peak : tuple of float, optional
        Column and row of the peak of the map; by default the middle of the mark.

    Returns
    -------
    DenseObject or Lack
        The object, or the reason why there is none: that of the nearest bright thing.

    Raises
    ------
    ValueError
        If the volume is not in Hounsfield units.
    """
    if not volume.is_hu:
        raise ValueError("Only Hounsfield units tell what is dense.")
    index = int(np.clip((edges[2] + edges[5] - 1) / 2, 0, volume.pixels.shape[0] - 1))
    here = body_around(volume.pixels[index], pixel_mm=_pixel_mm(volume), width_mm=_BODY_MM)
    is_solid = (
        volume.spacing_mm is not None
        and volume.spacing_mm[0] > 0
        and volume.is_evenly_spaced
        and volume.pixels.shape[0] > 1
    )
    slice_mm = volume.spacing_mm[0] if is_solid and volume.spacing_mm else 1.0
    spacing = np.array([slice_mm, *here.pixel_mm])
    middle = peak or ((edges[0] + edges[3]) / 2, (edges[1] + edges[4]) / 2)
    seeds = _seeds(volume, edges, middle, spacing=spacing, is_solid=is_solid)
    lack = Lack.NOT_DENSE
    for number, seed in enumerate(seeds):
        if seed[0] != index:
            index = seed[0]
            here = body_around(volume.pixels[index], pixel_mm=here.pixel_mm, width_mm=_BODY_MM)
        found = _judged(volume, seed, here, spacing=spacing, is_solid=is_solid)
        if isinstance(found, DenseObject):
            return found
        lack = found if number == 0 else lack
    return lack


def _pixel_mm(volume: Volume) -> tuple[float, float] | None:
    spacing = volume.spacing_mm
    return spacing[1:] if spacing is not None and min(spacing[1:]) > 0 else None


def _seeds(
    volume: Volume,
    edges: tuple[float, float, float, float, float, float],
    middle: tuple[float, float],
    *,
    spacing: NDArray[np.float64],
    is_solid: bool,
) -> list[tuple[int, int, int]]:
    """Return the brightest voxel (slice, row, column) of each dense part under a mark, best first.

    A mark may lie on a slice that only touches its stone: the neighbouring slices count as well.
    """
    shape = np.array(volume.pixels.shape)
    beside = np.ceil(_BESIDE_MM / spacing).astype(int)
    begin = np.floor(np.array(edges[2::-1])).astype(int) - beside
    stop = np.ceil(np.array(edges[:2:-1])).astype(int) + beside
    begin[0], stop[0] = int(edges[2]) - is_solid, int(np.ceil(edges[5])) + is_solid
    begin, stop = np.maximum(begin, 0), np.minimum(stop, shape)
    if (begin >= stop).any():
        return []
    block = np.asarray(volume.pixels[_window(begin, stop)])
    parts = []
    for part in _parts(block >= DENSE_HU):
        values = np.where(part, block, -32768)
        place = np.array(np.unravel_index(int(values.argmax()), values.shape))
        at = np.argwhere(part)[:, 1:] + begin[1:] + 0.5
        apart_mm = np.sqrt((((at - np.array(middle[::-1])) * spacing[1:]) ** 2).sum(axis=1).min())
        nearness = max(0.0, float(apart_mm) - _EQUALLY_NEAR_MM)
        slice_, row, column = (int(i) for i in place + begin)
        parts.append((nearness, -int(values.max()), (slice_, row, column)))
    return [seed for _, _, seed in sorted(parts)[:_MOST_SEEDS]]


def _judged(
    volume: Volume,
    seed: tuple[int, int, int],
    here: Slice,
    *,
    spacing: NDArray[np.float64],
    is_solid: bool,
) -> DenseObject | Lack:
    if not here.body[seed[1:]]:
        return Lack.TABLE
    block, first = _block(volume, seed, _LOCAL_MM, spacing, is_solid)
    at = tuple(int(i) for i in np.array(seed) - first)
    local = half_maximum(block.astype(np.float32), at, spacing)  # type: ignore[arg-type]
    if local is None:
        return Lack.NOT_DENSE
    near = surroundings_of(block, local.region, spacing, below_hu=local.threshold_hu)
    # The core is what noise raises least; a thin stone has its brightest voxel alone.
    if local.peak_hu - near.background_hu < CLEAR_SD * near.noise_hu:
        return Lack.NOISE
    # The mark may only touch its object: follow that from its brightest voxel nearby.
    where = np.argwhere(local.region)
    summit = where[int(block[local.region].argmax())] + first
    seed = (int(summit[0]), int(summit[1]), int(summit[2]))
    level = max(_JOINED_HU, near.background_hu + _JOINED_ABOVE_HU)
    level = min(level, float(volume.pixels[seed]))
    joined = _joined(volume, seed, level, spacing, is_solid)
    lack = _lack(joined, near, here, seed, spacing=spacing, is_axial=volume.plane == "axial")
    if lack is not None:
        return lack
    if joined.reach_mm < _LOCAL_MM and _is_open(local.region, first, volume.pixels.shape):
        # Halfway down it runs out into its surroundings: it has no outline to measure.
        return Lack.NOT_DENSE
    where = np.argwhere(joined.region) + joined.first
    low, high = where.min(axis=0), where.max(axis=0) + 1
    slice_, row, column = (int(i) for i in where[int(joined.block_hu[joined.region].argmax())])
    return DenseObject(
        peak=(column, row, slice_),
        edges=(
            float(low[2]), float(low[1]), float(low[0]),
            float(high[2]), float(high[1]), float(high[0]),
        ),
        reach_mm=joined.reach_mm,
        peak_hu=float(joined.block_hu[joined.region].max()),
        background_hu=near.background_hu,
        noise_hu=near.noise_hu,
        is_followed=is_solid,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Joined:
    """What is joined to a seed, in its block of the volume.

    `goes_on` says that it reaches the edge of the block inside the volume, `is_cut` that it reaches
    the first or the last slice.
    """

    block_hu: NDArray[np.int16]
    region: NDArray[np.bool_]
    first: NDArray[np.int_]
    goes_on: bool
    is_cut: bool
    reach_mm: float
    is_solid: bool


def _joined(
    volume: Volume,
    seed: tuple[int, int, int],
    level: float,
    spacing: NDArray[np.float64],
    is_solid: bool,
) -> _Joined:
    """Follow the dense structure at a seed, first nearby, then as far as a stone can reach."""
    import SimpleITK as sitk

    shape = volume.pixels.shape
    for reach_mm in (_NEAR_MM, _FAR_MM):
        block, first = _block(volume, seed, reach_mm, spacing, is_solid)
        at = [int(i) for i in (np.array(seed) - first)[::-1]]
        # Thin bridges of noise do not join: only voxels that share a face do.
        grown = sitk.ConnectedThreshold(sitk.GetImageFromArray(block), [at], level, 32767.0)
        region = sitk.GetArrayFromImage(grown).astype(bool)
        where = np.argwhere(region)
        end = first + block.shape
        low, high = where.min(axis=0) + first, where.max(axis=0) + 1 + first
        goes_on = any(
            (low[axis] == first[axis] and first[axis] > 0)
            or (high[axis] == end[axis] and end[axis] < shape[axis])
            for axis in range(0 if is_solid else 1, 3)
        )
        if not goes_on:
            break
    apart = (where + first - np.array(seed)) * spacing
    return _Joined(
        block_hu=block,
        region=region,
        first=first,
        goes_on=goes_on,
        is_cut=bool(is_solid and (low[0] == 0 or high[0] == shape[0])),
        reach_mm=float(np.sqrt((apart**2).sum(axis=1).max())),
        is_solid=is_solid,
    )


def _lack(
    joined: _Joined,
    near: Surroundings,
    here: Slice,
    seed: tuple[int, int, int],
    *,
    spacing: NDArray[np.float64],
    is_axial: bool,
) -> Lack | None:
    """Say what else than a stone a dense structure is, or None."""
    rimmed = has_rim(joined.block_hu, joined.region, spacing)
    if joined.goes_on:
        return Lack.BONE if rimmed or here.wall_mm(seed[1:]) < 2 * _WALL_MM else Lack.POOL
    if here.wall_mm(seed[1:]) < min(_WALL_MM, _WALL_OF_WIDTH * here.width_mm):
        return Lack.BONE
    size = float(joined.region.sum() * np.prod(spacing if joined.is_solid else spacing[1:]))
    # A piece that the first or the last slice cuts off, or of which one slice is all there is, may
    # go on where nothing was scanned. Its rim tells bone, and so does a bone beside it.
    is_partial = joined.is_cut or not joined.is_solid
    if is_partial and (rimmed or here.is_near_bone(seed[1:], _NEAR_BONE_MM, _SPINOUS_MM)):
        return Lack.BONE
    depth_mm = min(_MUSCLE_MM, _MUSCLE_OF_WIDTH * here.width_mm)
    if not joined.is_solid and is_axial and here.muscle_mm(seed[1:]) < depth_mm:
        return Lack.BONE
    if near.gas_share > _GAS_SHARE:
        return Lack.POOL
    least = _POOL_MM3 if joined.is_solid else _POOL_MM2
    if size < least or not is_homogeneous(joined.block_hu, joined.region, spacing, near.noise_hu):
        return None
    around = surroundings_of(joined.block_hu, joined.region, spacing, below_hu=DENSE_HU)
    if around.gas_share > _GAS_SHARE or around.soft_share < _SOFT_SHARE:
        return Lack.POOL
    # Only the rows of an axial slice run from front to back.
    return Lack.POOL if is_axial and here.depth_share(seed[1:]) < _FRONT else None


def _block(
    volume: Volume,
    seed: tuple[int, int, int],
    reach_mm: float,
    spacing: NDArray[np.float64],
    is_solid: bool,
) -> tuple[NDArray[np.int16], NDArray[np.int_]]:
    """Return the voxels around a seed, and (slice, row, column) of the first."""
    reach = np.ceil(reach_mm / spacing).astype(int)
    if not is_solid:
        reach[0] = 0
    first = np.maximum(np.array(seed) - reach, 0)
    end = np.minimum(np.array(seed) + reach + 1, volume.pixels.shape)
    return np.ascontiguousarray(volume.pixels[_window(first, end)]), first


def _is_open(region: NDArray[np.bool_], first: NDArray[np.int_], shape: tuple[int, ...]) -> bool:
    """Say whether a region reaches a side of its block beyond which the slices go on."""
    sides = ((1, 0), (1, -1), (2, 0), (2, -1))
    end = first + region.shape
    return any(
        bool(np.take(region, side, axis=axis).any())
        and (first[axis] > 0 if side == 0 else end[axis] < shape[axis])
        for axis, side in sides
    )


def _parts(bright: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    import SimpleITK as sitk

    if not bright.any():
        return []
    image = sitk.GetImageFromArray(bright.astype(np.uint8))
    labels = sitk.GetArrayFromImage(sitk.ConnectedComponent(image, True))
    return [labels == label for label in range(1, int(labels.max()) + 1)]


def _window(first: NDArray[np.int_], end: NDArray[np.int_]) -> tuple[slice, ...]:
    return tuple(slice(int(a), int(b)) for a, b in zip(first, end, strict=True))
