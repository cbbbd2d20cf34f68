"""Measuring a stone from one point inside it, by its half-maximum contour."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detection.imaging.volume import Plane, Volume

# Why nothing here names what a stone is made of; shown beside the measurements.
NO_COMPOSITION = (
    "The composition of a stone is not claimed: the Hounsfield units of uric acid, calcium and "
    "cystine stones overlap, and partial volume, tube voltage and reconstruction move them."
)
SIZE_CLASSES = ("< 5 mm", "5-10 mm", "10-20 mm", "> 20 mm")
UNKNOWN = "unknown"
# How far around the seed is looked: a stone that is larger is not told from bone.
_REACH_MM = 35.0
# A seed may lie beside the brightest voxel of its stone by this much.
_SEED_MM = 1.5
# The shell whose median is the local background, by its distance from the contour.
_SHELL_MM = (1.5, 5.0)
# What is this far inside the contour has its full density: the blur of the rim ends before.
_CORE_MM, _MIN_CORE = 1.25, 6
_MIN_CONTRAST_HU = 60.0
_ROUNDS = 3
_SUPERSAMPLING = 4
# The axis that is constant within an anatomical plane, for volumes of each plane; axes are
# (slice, row, column) as in `Volume.pixels`.
_AXIAL_AXIS = {"axial": 0, "coronal": 1, "sagittal": 1}
_CORONAL_AXIS = {"axial": 1, "coronal": 0, "sagittal": 2}
# Closer to the middle of the body than this, a side would be a guess.
_MIDDLE_MM = 5.0


@dataclass(frozen=True)
class Measurement:
    """What the half-maximum contour encloses.

    Attributes
    ----------
    centre : tuple of float
        Centre of gravity in (column, row, slice), voxel centres at whole numbers.
    edges : tuple of float
        Column, row and slice where it begins, then where it ends; voxel i lies between i, i + 1.
    diameter_mm : float
        Largest distance between two points of the contour (maximum 3D Feret diameter); within
        the slice where the stone reaches the threshold on one slice only.
    axial_mm, coronal_mm : float or None
        Largest diameter within one axial, one coronal plane of voxels; None where the planes of
        the volume are unknown.
    volume_mm3 : float
        Within the contour, by supersampling.
    mean_hu, peak_hu : float
        Mean within the contour; mean of its core (the voxels 1.25 mm and more inside it, or the
        brightest eighth where there are fewer than six), which noise does not raise as it raises
        the brightest voxel.
    background_hu, threshold_hu : float
        Median of the shell around it; halfway from there to the peak.
    """

    centre: tuple[float, float, float]
    edges: tuple[float, float, float, float, float, float]
    diameter_mm: float
    axial_mm: float | None
    coronal_mm: float | None
    volume_mm3: float
    mean_hu: float
    peak_hu: float
    background_hu: float
    threshold_hu: float


def measure_stone(volume: Volume, seed: tuple[int, int, int]) -> Measurement | None:
    """Measure what is bright at a seed.

    The contour is where the linearly interpolated HU cross (peak + local background) / 2. That
    is the half-maximum method, whose readers agree best (Jendeberg et al., Acta Radiologica);
    a fixed threshold would make dense stones larger than faint ones.

    Parameters
    ----------
    volume : Volume
        In Hounsfield units, with spacing between slices, rows and columns.
    seed : tuple of int
        (column, row, slice) of a voxel in the stone, or up to 1.5 mm beside its peak.

    Returns
    -------
    Measurement or None
        None if nothing at the seed stands out by 60 HU, or if what stands out goes on for more
        than 35 mm, as bone does.

    Raises
    ------
    ValueError
        If the volume is not in HU, has no spacing, or has no such voxel.
    """
    if not volume.is_hu or volume.spacing_mm is None or min(volume.spacing_mm) <= 0:
        raise ValueError("Only volumes in Hounsfield units with a known spacing can be measured.")
    at = np.array(seed[::-1])
    if (at < 0).any() or (at >= volume.pixels.shape).any():
        raise ValueError(f"The volume has no voxel {seed}.")
    spacing = np.array(volume.spacing_mm)
    first = np.maximum(at - np.ceil(_REACH_MM / spacing).astype(int), 0)
    end = np.minimum(at + np.ceil(_REACH_MM / spacing).astype(int) + 1, volume.pixels.shape)
    block_hu = volume.pixels[tuple(slice(a, b) for a, b in zip(first, end, strict=True))]
    block_hu = block_hu.astype(np.float32)
    summit = _summit(block_hu, at - first, spacing)
    found = _half_maximum(block_hu, summit, spacing)
    if found is None:
        return None
    region, peak, background = found
    # What goes on beyond the block, other than at the edge of the volume, is bone.
    if _touches(region, first, end, volume.pixels.shape):
        return None
    return _describe(
        block_hu, region, peak, background, spacing=spacing, first=first, plane=volume.plane
    )


def bright_seeds(
    volume: Volume,
    edges: tuple[float, float, float, float, float, float],
    *,
    least_hu: float = 130.0,
    margin_mm: float = 8.0,
) -> list[tuple[int, int, int]]:
    """Find what is bright in a box of the volume and ends near it: seeds for `measure_stone`.

    Parameters
    ----------
    edges : tuple of float
        Column, row and slice where the box begins, then where it ends.
    least_hu : float
        130 HU is the customary lower end of calcification.
    margin_mm : float
        What goes on beyond the box by more than this is bone and no seed.

    Returns
    -------
    list of (column, row, slice)
        The brightest voxel of each connected part that has its brightest voxel in the box,
        brightest first.
    """
    # Only the worker measures: the web process, which imports this, need not load the library.
    import SimpleITK as sitk

    assert volume.spacing_mm is not None
    shape = np.array(volume.pixels.shape)
    margin = np.ceil(margin_mm / np.array(volume.spacing_mm)).astype(int)
    begin = np.floor(np.array(edges[2::-1])).astype(int)
    stop = np.ceil(np.array(edges[:2:-1])).astype(int)
    first, end = np.maximum(begin - margin, 0), np.minimum(stop + margin, shape)
    block = volume.pixels[tuple(slice(a, b) for a, b in zip(first, end, strict=True))]
    bright = (block >= least_hu).astype(np.uint8)
    labels = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(bright), True))
    seeds = []
    for label in range(1, int(labels.max()) + 1):
        part = labels == label
        if _touches(part, first, end, tuple(shape)):
            continue
        values = np.where(part, block, -32768)
        place = np.array(np.unravel_index(int(values.argmax()), values.shape)) + first
        if (place >= begin).all() and (place < stop).all():
            seeds.append((int(values.max()), (int(place[2]), int(place[1]), int(place[0]))))
    return [seed for _, seed in sorted(seeds, reverse=True)]


def size_class(diameter_mm: float | None) -> str:
    """Name the class by which stones are treated; "unknown" without a diameter."""
    if diameter_mm is None:
        return UNKNOWN
    bounds = (5.0, 10.0, 20.0)
    return SIZE_CLASSES[sum(diameter_mm > b if b == 20 else diameter_mm >= b for b in bounds)]


def to_lps(volume: Volume, place: tuple[float, float, float]) -> tuple[float, float, float] | None:
    """Turn (column, row, slice) into LPS millimetres, DICOM PS3.3 C.7.6.2.1.1; None if unknown."""
    if volume.affine_lps is None:
        return None
    x, y, z, _ = np.array(volume.affine_lps) @ (*place, 1.0)
    return float(x), float(y), float(z)


def side_of(volume: Volume, place: tuple[float, float, float], *, midline: float | None) -> str:
    """Say on which side of the patient a place lies.

    Parameters
    ----------
    place : tuple of float
        (column, row, slice).
    midline : float or None
        Column of the middle of the body at that slice.

    Returns
    -------
    str
        "left", "right", or "unknown" without an affine or a midline, in sagittal volumes, and
        within 5 mm of the midline.
    """
    here = to_lps(volume, place)
    if here is None or midline is None:
        return UNKNOWN
    middle = to_lps(volume, (midline, place[1], place[2]))
    assert middle is not None
    # x grows to the patient's left.
    offset_mm = here[0] - middle[0]
    if abs(offset_mm) < _MIDDLE_MM:
        return UNKNOWN
    return "left" if offset_mm > 0 else "right"


def _summit(
    block_hu: NDArray[np.float32], at: NDArray[np.int_], spacing: NDArray[np.float64]
) -> tuple[int, int, int]:
    """Return the brightest voxel near the seed."""
    reach = np.floor(_SEED_MM / spacing).astype(int)
    first = np.maximum(at - reach, 0)
    near = block_hu[tuple(slice(a, b + 1) for a, b in zip(first, at + reach, strict=True))]
    place = np.array(np.unravel_index(int(near.argmax()), near.shape)) + first
    return int(place[0]), int(place[1]), int(place[2])


def _half_maximum(
    block_hu: NDArray[np.float32], summit: tuple[int, int, int], spacing: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], float, float] | None:
    """Find the region, its peak and its background, each from the other, in a few rounds."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(block_hu)
    image.SetSpacing([float(side) for side in spacing[::-1]])
    # The background is soft tissue until it is measured.
    peak, background = float(block_hu[summit]), 30.0
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
        # A copy: a view would outlive the image it looks into.
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
        # Bone nearby is bright and air is dark: neither is what the stone lies in.
        shell = (distance > _SHELL_MM[0]) & (distance < _SHELL_MM[1])
        shell &= (block_hu < threshold) & (block_hu > -300)
        if shell.any():
            background = float(np.median(block_hu[shell]))
    assert region is not None
    return region, peak, background


def _touches(
    part: NDArray[np.bool_],
    first: NDArray[np.int_],
    end: NDArray[np.int_],
    shape: tuple[int, ...],
) -> bool:
    """Say whether a part reaches a side of the block behind which the volume goes on."""
    for axis in range(3):
        faces = np.moveaxis(part, axis, 0)
        if first[axis] > 0 and faces[0].any():
            return True
        if end[axis] < shape[axis] and faces[-1].any():
            return True
    return False


def _describe(
    block_hu: NDArray[np.float32],
    region: NDArray[np.bool_],
    peak: float,
    background: float,
    *,
    spacing: NDArray[np.float64],
    first: NDArray[np.int_],
    plane: Plane,
) -> Measurement:
    threshold = (peak + background) / 2
    where = np.argwhere(region)
    low = np.maximum(where.min(axis=0) - 1, 0)
    high = np.minimum(where.max(axis=0) + 2, region.shape)
    window = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    inside = np.pad(region[window], 1)
    # Only the stone and its rim: another bright thing nearby must not count.
    near = _grown(inside)
    values = np.pad(block_hu[window], 1, mode="edge")
    values = np.where(near & (inside | (values < threshold)), values, np.float32(background))
    origin = low - 1
    points = _crossings(values, inside, threshold)
    points_mm = points * spacing
    is_single = len(np.unique(where[:, 0])) == 1
    flat = points[:, 0] == np.round(points[:, 0])
    diameter = _feret(points_mm[flat] if is_single else points_mm)
    # On one slice only, nothing but that slice says how far it reaches.
    axial_axis, coronal_axis = (
        None if is_single and axis != 0 else axis
        for axis in (_AXIAL_AXIS.get(plane), _CORONAL_AXIS.get(plane))
    )
    axial = _within_planes(points, spacing, axial_axis)
    coronal = _within_planes(points, spacing, coronal_axis)
    fine, cell = _supersample(values)
    enclosed = fine >= threshold
    places = np.argwhere(enclosed)
    centre = (places.mean(axis=0) + 0.5) / _SUPERSAMPLING + origin + first
    begin, stop = where.min(axis=0) + first, where.max(axis=0) + 1 + first
    return Measurement(
        centre=(float(centre[2]), float(centre[1]), float(centre[0])),
        edges=(
            float(begin[2]), float(begin[1]), float(begin[0]),
            float(stop[2]), float(stop[1]), float(stop[0]),
        ),
        diameter_mm=max(diameter, axial or 0.0, coronal or 0.0),
        axial_mm=axial,
        coronal_mm=coronal,
        volume_mm3=float(enclosed.sum() * cell * np.prod(spacing)),
        mean_hu=float(fine[enclosed].mean()),
        peak_hu=peak,
        background_hu=background,
        threshold_hu=threshold,
    )  # fmt: skip


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
    """Find where the contour crosses the lines between neighbouring voxels, `(n, 3)` indices."""
    found = []
    for axis in range(3):
        a, b = np.moveaxis(values, axis, 0)[:-1], np.moveaxis(values, axis, 0)[1:]
        ins = np.moveaxis(inside, axis, 0)
        crossed = np.argwhere(ins[:-1] != ins[1:])
        one, two = a[tuple(crossed.T)], b[tuple(crossed.T)]
        places = crossed.astype(np.float64)
        places[:, 0] += np.clip((threshold - one) / (two - one), 0, 1)
        # Back from (axis, the others in their order) to (slice, row, column).
        order = [axis, *(other for other in range(3) if other != axis)]
        found.append(places[:, np.argsort(order)])
    return np.concatenate(found)


def _feret(points_mm: NDArray[np.float64]) -> float:
    """Return the largest distance between two points, `(n, 3)`, to about a thousandth of it.

    It is the largest extent over many directions, spread evenly over half a sphere by the golden
    angle: linear in the number of points, unlike comparing all pairs.
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


def _within_planes(
    points: NDArray[np.float64], spacing: NDArray[np.float64], axis: int | None
) -> float | None:
    """Return the largest diameter within one plane of voxels across an axis."""
    if axis is None:
        return None
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
    """Interpolate linearly between voxel centres; return the values and their share of a voxel.

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
