"""Estimates the blur of a scan from the edge between the air and the patient's skin."""

from math import erf

import numpy as np
from numpy.typing import NDArray

from detection.imaging.volume import Volume

# The axis of the array that is constant within an axial plane, by the plane of the volume.
AXIAL_AXIS = {"axial": 0, "coronal": 1, "sagittal": 1}
# Reach above and below a place within which the skin is measured, and the most planes used.
_REACH_MM, _PLANES = 10.0, 12
# A line is measured this far on either side of its entry into the body. The tissue at the second
# distance behind the entry is the skin, before the fat.
_WINDOW_MM, _SKIN_MM = 4.0, 2.0
_ENTRY_HU, _AIR_HU, _TISSUE_HU = -500, -900, -300
# The part of the step that is used: noise decides below it, the fat under the skin above it.
_STEP, _STEP_BESIDE = (0.05, 0.8), (0.02, 0.95)
# The edge must be crossed nearly at right angles, and often enough.
_LEAST_COSINE, _LEAST_PAIRS = 0.9, 20
# No scanner blurs further; a wider edge has moved or is cloth.
_MOST_MM = 1.0
_DEVIATES = np.linspace(-3, 3, 601)
_SHARES = np.array([(1 + erf(deviate / np.sqrt(2))) / 2 for deviate in _DEVIATES])


def scan_blur(volume: Volume, at: tuple[int, int, int]) -> tuple[float, float, float]:
    """Estimate the blur of a scan near a place, averaging over its voxels included.

    The skin is the one sharp edge of known shape in every scan. It therefore tells the resolution
    of a single patient's scan (Sanders, Hurwitz and Samei, Med Phys 2016). An edge blurred by a
    normal distribution has the form of its integral. The normal deviate of each voxel's share of
    the step therefore rises by 1 with each standard deviation.

    Parameters
    ----------
    volume : Volume
        In Hounsfield units, with a known spacing.
    at : tuple of int
        (slice, row, column).

    Returns
    -------
    tuple of float
        Standard deviation in mm along slices, rows and columns. Along the body, and where too
        little skin is seen, it is that of averaging over one voxel.
    """
    assert volume.spacing_mm is not None
    spacing = volume.spacing_mm
    long_axis = AXIAL_AXIS.get(volume.plane, 0)
    reach = int(_REACH_MM / spacing[long_axis])
    first = max(0, at[long_axis] - reach)
    end = min(volume.pixels.shape[long_axis], at[long_axis] + reach + 1)
    planes = slice(first, end, -(-(end - first) // _PLANES))
    slab_hu = np.moveaxis(volume.pixels, long_axis, 0)[planes]
    rest = [axis for axis in range(3) if axis != long_axis]
    blur = [side / np.sqrt(12) for side in spacing]
    for along, across, turned in (
        (rest[0], rest[1], slab_hu.swapaxes(1, 2)),
        (rest[1], rest[0], slab_hu),
    ):
        seen = _skin_blur(turned, along_mm=spacing[along], across_mm=spacing[across])
        if seen is not None:
            blur[along] = float(np.clip(seen, blur[along], _MOST_MM))
    return blur[0], blur[1], blur[2]


def _skin_blur(slab_hu: NDArray[np.int16], *, along_mm: float, across_mm: float) -> float | None:
    """Return the blur in mm along the last axis; None if too few lines meet the skin straight."""
    steps = [_skin_steps(lines_hu, along_mm) for lines_hu in (slab_hu, slab_hu[..., ::-1])]
    # Axes: lines; the line before, itself and the line behind; places along the line.
    shares = np.concatenate(steps)
    deviates = np.interp(shares, _SHARES, _DEVIATES)
    used = (shares[:, 1] > _STEP[0]) & (shares[:, 1] < _STEP[1])
    used &= ((shares > _STEP_BESIDE[0]) & (shares < _STEP_BESIDE[1])).all(axis=1)
    pairs = used[:, :-1] & used[:, 1:]
    along = (np.diff(deviates[:, 1], axis=1) / along_mm)[pairs]
    across = (deviates[:, 2] - deviates[:, 0]) / (2 * across_mm)
    across = ((across[:, :-1] + across[:, 1:]) / 2)[pairs]
    steepness = np.hypot(along, across)
    straight = steepness[along > _LEAST_COSINE * steepness]
    return 1 / float(np.median(straight)) if len(straight) >= _LEAST_PAIRS else None


def _skin_steps(lines_hu: NDArray[np.int16], along_mm: float) -> NDArray[np.float32]:
    """Return the share of the step from air to skin around each entry, `(lines, 3, places)`."""
    reach = int(np.ceil(_WINDOW_MM / along_mm))
    entry = np.argmax(lines_hu > _ENTRY_HU, axis=-1)
    enters = (entry >= reach) & (entry < lines_hu.shape[-1] - reach)
    enters[:, [0, -1]] = False
    plane, line = np.nonzero(enters)
    places = entry[enters][:, None] + np.arange(-reach, reach)
    found_hu = np.stack(
        [lines_hu[plane[:, None], line[:, None] + beside, places] for beside in (-1, 0, 1)], axis=1
    ).astype(np.float32)
    air = found_hu[:, 1, :3].mean(axis=1)
    behind = reach + round(_SKIN_MM / along_mm)
    skin = found_hu[:, :, behind : behind + 2].mean(axis=(1, 2))
    clear = (air < _AIR_HU) & (skin > _TISSUE_HU)
    shares = (found_hu - air[:, None, None])[clear] / (skin - air)[clear, None, None]
    return shares.astype(np.float32)
