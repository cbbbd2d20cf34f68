"""Measures a stone from a point inside it, by its half-maximum contour corrected for blur."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detection.imaging.measure.blur import AXIAL_AXIS, scan_blur
from detection.imaging.measure.contour import (
    HalfMaximum,
    Outline,
    brightest_near,
    half_maximum,
    outline,
)
from detection.imaging.measure.partial_volume import LEAST_MM, imaged_ellipsoid
from detection.imaging.volume import Plane, Volume

# Shown beside the measurements: the reason why nothing here names what a stone is made of.
NO_COMPOSITION = (
    "The composition of a stone is not claimed: the Hounsfield units of uric acid, calcium and "
    "cystine stones overlap, and partial volume, tube voltage and reconstruction move them."
)
SIZE_CLASSES = ("< 5 mm", "5-10 mm", "10-20 mm", "> 20 mm")
UNKNOWN = "unknown"
# Reach around the seed: what goes on farther is bone, unless the caller knows better.
_REACH_MM = 35.0
# As `AXIAL_AXIS`, for coronal planes; axes are (slice, row, column) as in `Volume.pixels`.
_CORONAL_AXIS = {"axial": 1, "coronal": 0, "sagittal": 2}
# Closer to the middle of the body than this, a side would be a guess.
_MIDDLE_MM = 5.0


@dataclass(frozen=True)
class Measurement:
    """The measures of a stone by its half-maximum contour; sizes are corrected for blur and voxels.

    Attributes
    ----------
    centre : tuple of float
        Centre of gravity in (column, row, slice), voxel centres at whole numbers.
    edges : tuple of float
        Column, row and slice where the voxels above the threshold begin, then where they end;
        voxel i lies between i and i + 1.
    diameter_mm : float
        Largest distance between two points of the contour (maximum 3D Feret diameter). It is
        measured within the slice if the stone reaches the threshold on one slice only.
    axial_mm, coronal_mm : float or None
        Largest diameter within one axial and within one coronal plane of voxels. None where the
        plane of the volume is unknown, or across the only slice of a stone.
    volume_mm3 : float
        Volume within the contour, by supersampling.
    mean_hu : float
        Mean within the contour.
    peak_hu : float
        Mean of the core, which noise raises less than the brightest voxel. The core is the voxels
        more than 1.25 mm inside the contour, or the brightest eighth where those are fewer than
        six.
    background_hu, threshold_hu : float
        Median of the shell around the stone, and the middle between it and the peak.
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


def measure_stone(
    volume: Volume, seed: tuple[int, int, int], *, reach_mm: float = _REACH_MM
) -> Measurement | None:
    """Measure the bright structure at a seed.

    The contour is where the linearly interpolated HU cross (peak + local background) / 2. Readers
    agree best by this half-maximum method (Jendeberg et al., Acta Radiologica); a fixed threshold
    would make dense stones larger than faint ones. Blur and voxels move the contour of a stone of
    a few millimetres inwards by some tenths. `scan_blur` reads the blur from the skin in the same
    slices, and `imaged_ellipsoid` estimates its effect.

    Parameters
    ----------
    volume : Volume
        In Hounsfield units, with spacing between slices, rows and columns.
    seed : tuple of int
        (column, row, slice) of a voxel in the stone, or up to 1.5 mm beside its peak.
    reach_mm : float
        How far from the seed the stone may go on; at least 35 mm are searched.

    Returns
    -------
    Measurement or None
        None if nothing at the seed stands out by 60 HU, or if the structure goes on for more than
        the reach, as bone does.

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
    reach = np.ceil(max(reach_mm, _REACH_MM) / spacing).astype(int)
    first = np.maximum(at - reach, 0)
    end = np.minimum(at + reach + 1, volume.pixels.shape)
    block_hu = volume.pixels[tuple(slice(a, b) for a, b in zip(first, end, strict=True))]
    block_hu = block_hu.astype(np.float32)
    found = half_maximum(block_hu, brightest_near(block_hu, at - first, spacing), spacing)
    # A structure that goes on beyond the block is bone, except at the edge of the volume.
    if found is None or _touches(found.region, first, end, volume.pixels.shape):
        return None
    seen = outline(block_hu, found, spacing, is_single=found.is_single)
    here = np.rint(seen.centre + first).astype(int)
    blur = scan_blur(volume, (int(here[0]), int(here[1]), int(here[2])))
    model = imaged_ellipsoid(
        seen,
        spacing=spacing,
        blur=blur,
        is_single=found.is_single,
        is_resolved=found.is_resolved and found.is_clear,
    )
    return _describe(seen, found, model, most_mm=max(blur), first=first, plane=volume.plane)


def size_class(diameter_mm: float | None) -> str:
    """Name the size class of a stone, by which it is treated; "unknown" without a diameter."""
    if diameter_mm is None:
        return UNKNOWN
    bounds = (5.0, 10.0, 20.0)
    return SIZE_CLASSES[sum(diameter_mm > b if b == 20 else diameter_mm >= b for b in bounds)]


def to_lps(volume: Volume, place: tuple[float, float, float]) -> tuple[float, float, float] | None:
    """Turn (column, row, slice) into LPS mm, DICOM PS3.3 C.7.6.2.1.1; None without an affine."""
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
        "left" or "right"; "unknown" without an affine or a midline, in sagittal volumes, and
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


def _touches(
    part: NDArray[np.bool_],
    first: NDArray[np.int_],
    end: NDArray[np.int_],
    shape: tuple[int, ...],
) -> bool:
    """Say whether a part reaches a side of the block beyond which the volume goes on."""
    for axis in range(3):
        faces = np.moveaxis(part, axis, 0)
        if first[axis] > 0 and faces[0].any():
            return True
        if end[axis] < shape[axis] and faces[-1].any():
            return True
    return False


def _describe(
    seen: Outline,
    found: HalfMaximum,
    model: tuple[Outline, Outline] | None,
    *,
    most_mm: float,
    first: NDArray[np.int_],
    plane: Plane,
) -> Measurement:
    where = np.argwhere(found.region)
    begin, stop = where.min(axis=0) + first, where.max(axis=0) + 1 + first
    centre = seen.centre + first
    diameter, sections, volume_mm3 = seen.widest_mm, list(seen.sections_mm), seen.volume_mm3
    if model is not None and diameter >= LEAST_MM:
        drawn, imaged = model
        if found.is_clear:
            # A rounded body loses about 0.6 of the blur at most; noise can make it seem pointed.
            diameter, *sections = (
                max(LEAST_MM, one + min(a - b, most_mm))
                for one, a, b in zip(
                    (diameter, *sections),
                    (drawn.widest_mm, *drawn.sections_mm),
                    (imaged.widest_mm, *imaged.sections_mm),
                    strict=True,
                )
            )
        else:
            # Noise has made the shape of the contour: only the volume it encloses is known.
            diameter, sections = drawn.widest_mm, list(drawn.sections_mm)
        volume_mm3 *= drawn.volume_mm3 / imaged.volume_mm3
    # A stone on one slice only has a known extent within that slice alone.
    axial, coronal = (
        None if axis is None or (found.is_single and axis != 0) else sections[axis]
        for axis in (AXIAL_AXIS.get(plane), _CORONAL_AXIS.get(plane))
    )
    return Measurement(
        centre=(float(centre[2]), float(centre[1]), float(centre[0])),
        edges=(
            float(begin[2]), float(begin[1]), float(begin[0]),
            float(stop[2]), float(stop[1]), float(stop[0]),
        ),
        diameter_mm=max(diameter, axial or 0.0, coronal or 0.0),
        axial_mm=axial,
        coronal_mm=coronal,
        volume_mm3=volume_mm3,
        mean_hu=seen.mean_hu,
        peak_hu=found.peak_hu,
        background_hu=found.background_hu,
        threshold_hu=found.threshold_hu,
    )  # fmt: skip
