"""Estimates, by a model of the imaging, how much a half-maximum contour differs from its stone.

Blur and averaging over voxels move the half-maximum of a convex body inwards, by about half the
variance of the blur times the curvature of its surface. They move that of a body smaller than the
blur outwards. The shift depends on size, shape, place between the voxels and blur, so there is no
one number to add.

Indirect inference gives it. An ellipsoid is imaged with the blur and the voxels of the scan, and
its half-maximum contour is measured as the stone's was. The ellipsoid is changed until the two
contours have the same second moments. Contrast has no part in it, since the contour does not depend
on contrast. The stone is taken to have changed as the ellipsoid did, whatever its own shape.
"""

import numpy as np
from numpy.typing import NDArray

from detection.imaging.measure.contour import Outline, half_maximum, outline

# A smaller body cannot be told from a point.
LEAST_MM = 1.0
_ROUNDS = 3
# The image needs room around the contour for the blur and for the background.
_MARGIN_MM, _MARGIN_VOXELS = 3.0, 2
# The ellipsoid is drawn in steps no longer than this, and at least three to a voxel.
_STEP_MM, _LEAST_STEPS = 0.4, 3
_SCALE_HU = 1000.0


def imaged_ellipsoid(
    seen: Outline,
    *,
    spacing: NDArray[np.float64],
    blur: tuple[float, float, float],
    is_single: bool,
    is_resolved: bool,
) -> tuple[Outline, Outline] | None:
    """Find the ellipsoid whose imaged contour matches the one seen.

    Parameters
    ----------
    spacing : np.ndarray
        Spacing of the voxels in mm, `(3,)`.
    blur : tuple of float
        Standard deviation in mm along slices, rows and columns, as `scan_blur` estimates it.
    is_single : bool
        Whether the stone lies on one slice only, as for `outline`.
    is_resolved : bool
        Whether the shape can be relied on; if not, the ellipsoid is a ball.

    Returns
    -------
    (Outline, Outline) or None
        The ellipsoid itself, and its half-maximum contour; None if its image has none.
    """
    half_axes = seen.half_axes_mm
    reach = np.linalg.eigvalsh(half_axes).max() * 1.2 + _MARGIN_MM
    around = np.ceil(reach / spacing).astype(int) + _MARGIN_VOXELS
    seen_at = centre = seen.centre - np.floor(seen.centre) + around
    shape = 2 * around + 1
    answer: tuple[Outline, Outline] | None = None
    for _ in range(_ROUNDS):
        if answer is not None:
            half_axes = half_axes + seen.half_axes_mm - answer[1].half_axes_mm
            centre = centre + seen_at - answer[1].centre
        if not is_resolved:
            half_axes = np.eye(3) * np.cbrt(np.prod(np.linalg.eigvalsh(half_axes).clip(0)))
        half_axes = _at_least(half_axes, LEAST_MM / 2)
        image_hu = _image(half_axes, centre, shape=shape, spacing=spacing, blur=blur)
        place = np.unravel_index(int(image_hu.argmax()), image_hu.shape)
        summit = (int(place[0]), int(place[1]), int(place[2]))
        found = half_maximum(image_hu, summit, spacing)
        if found is None:
            return None
        answer = (
            _ellipsoid(half_axes, centre, is_single=is_single),
            outline(image_hu, found, spacing, is_single=is_single),
        )
    return answer


def _at_least(half_axes: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    lengths, turn = np.linalg.eigh(half_axes)
    return np.asarray(turn * np.maximum(lengths, least) @ turn.T)


def _ellipsoid(
    half_axes: NDArray[np.float64], centre: NDArray[np.float64], *, is_single: bool
) -> Outline:
    form = np.linalg.inv(half_axes @ half_axes)
    sections = []
    for axis in range(3):
        others = [other for other in range(3) if other != axis]
        sections.append(2 / float(np.sqrt(np.linalg.eigvalsh(form[np.ix_(others, others)]).min())))
    lengths = np.linalg.eigvalsh(half_axes)
    return Outline(
        centre=centre,
        half_axes_mm=half_axes,
        widest_mm=sections[0] if is_single else 2 * float(lengths.max()),
        sections_mm=(sections[0], sections[1], sections[2]),
        volume_mm3=float(4 / 3 * np.pi * np.prod(lengths)),
        mean_hu=_SCALE_HU,
    )


def _image(
    half_axes: NDArray[np.float64],
    centre: NDArray[np.float64],
    *,
    shape: NDArray[np.int_],
    spacing: NDArray[np.float64],
    blur: tuple[float, float, float],
) -> NDArray[np.float32]:
    """Draw an ellipsoid finely, blur it, and take the voxels; the brightest has 1,000 HU."""
    # Odd, so that voxels have their centres among the steps.
    steps = np.maximum(np.ceil(spacing / _STEP_MM).astype(int), _LEAST_STEPS) | 1
    places = [
        ((np.arange(size * n) + 0.5) / n - 0.5 - middle) * side
        for size, n, middle, side in zip(shape, steps, centre, spacing, strict=True)
    ]
    form = np.linalg.inv(half_axes @ half_axes).astype(np.float32)
    z, y, x = np.meshgrid(*(place.astype(np.float32) for place in places), indexing="ij")
    # The slope is half the gradient of the form; the surface is (1 - r) r / |slope| away.
    slopes = [form[a, 0] * z + form[a, 1] * y + form[a, 2] * x for a in range(3)]
    radius = np.sqrt(np.maximum(slopes[0] * z + slopes[1] * y + slopes[2] * x, 1e-6))
    steep = np.sqrt(slopes[0] ** 2 + slopes[1] ** 2 + slopes[2] ** 2) + np.float32(1e-6)
    image = np.clip(0.5 + (1 - radius) * radius / steep / np.float32(_STEP_MM), 0, 1)
    for axis in range(3):
        voxels = np.arange(shape[axis]) - centre[axis]
        away = places[axis][None] - voxels[:, None] * spacing[axis]
        weights = _spread(away, side=float(spacing[axis]), blur=blur[axis])
        image = np.moveaxis(np.tensordot(weights, image, (1, axis)), 0, axis)
    return np.asarray(image * (_SCALE_HU / image.max()), np.float32)


def _spread(away: NDArray[np.float64], *, side: float, blur: float) -> NDArray[np.float32]:
    """Return the weight of each step in each voxel: a mean over the voxel if nothing else blurs."""
    if blur <= side / np.sqrt(12) * 1.001:
        share = (np.abs(away) < side / 2).astype(np.float64)
    else:
        share = np.exp(-0.5 * (away / blur) ** 2)
    return np.asarray(share / share.sum(axis=1, keepdims=True), np.float32)
