"""The record of a series and its reading that the viewer needs before the first slice."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from detection.imaging.display import as_plane, is_oriented, letters_of, planes_of, shown_axes
from detection.imaging.errors import ImageError
from detection.imaging.volume import Plane, Volume
from detection.models import Finding, Prediction, Series
from detection.selectors.volumes import volume_opened


@dataclass(frozen=True)
class PlaneShown:
    """One plane of a volume: `size` counts its slices, rows and columns.

    In this order `axes` tells the axis of the volume and whether it is reversed, and `spacing_mm`
    how far apart neighbours are. `letters` stand at the left, right, top and bottom edge.
    """

    name: Plane
    size: tuple[int, ...]
    axes: tuple[tuple[int, bool], ...]
    spacing_mm: tuple[float, ...] | None
    letters: dict[str, str] | None


@dataclass(frozen=True)
class Scores:
    """A probability for each slice of a plane, None where none was read."""

    plane: Plane
    values: list[float | None]


@dataclass(frozen=True)
class FindingPlace:
    """The place of a finding in the array of the volume, in slices, rows and columns.

    `edges` are its first and its last edge along each axis. A finding below the threshold is faint.
    """

    rank: int
    centre: tuple[int, int, int]
    edges: tuple[tuple[float, float], ...]
    is_faint: bool


@dataclass(frozen=True)
class OpenedSeries:
    """A series as the viewer shows it, with the scores and findings of its reading, if any."""

    planes: tuple[PlaneShown, ...]
    is_hu: bool
    is_oriented: bool
    is_stack: bool
    has_map: bool
    threshold: float | None
    scores: tuple[Scores, ...]
    findings: tuple[FindingPlace, ...]


def series_opened(
    *, series: Series, prediction: Prediction | None, findings: Sequence[Finding]
) -> OpenedSeries | None:
    """Return a series as the viewer shows it, or None if its file is missing or damaged.

    A prediction of another series is left out, together with its findings.
    """
    try:
        volume = volume_opened(series=series)
    except ImageError:
        return None
    own = prediction if prediction is not None and prediction.series_id == series.pk else None
    planes = planes_of(volume)
    is_stack = volume.pixels.shape[0] > 1
    threshold = own.operating_point.get("threshold") if own else None
    return OpenedSeries(
        planes=tuple(_plane(volume, plane) for plane in planes),
        is_hu=volume.is_hu,
        is_oriented=is_oriented(volume),
        is_stack=is_stack,
        has_map=bool(own and own.map_path),
        threshold=threshold,
        scores=_scores(own, volume, planes) if own and is_stack else (),
        findings=tuple(_place(finding, volume, threshold) for finding in findings) if own else (),
    )


def _plane(volume: Volume, plane: Plane) -> PlaneShown:
    axes = shown_axes(volume.plane, plane)
    spacing_mm = volume.spacing_mm
    letters = letters_of(plane) if is_oriented(volume) else None
    return PlaneShown(
        name=plane,
        size=as_plane(volume.pixels, volume.plane, plane).shape,
        axes=tuple((axis.index, axis.is_flipped) for axis in axes),
        spacing_mm=tuple(spacing_mm[axis.index] for axis in axes) if spacing_mm else None,
        letters=asdict(letters) if letters else None,
    )


def _scores(prediction: Prediction, volume: Volume, planes: Sequence[Plane]) -> tuple[Scores, ...]:
    """Return the score of each acquired slice, and of each coronal cut if those were read."""
    scores = [Scores(plane=volume.plane, values=prediction.slice_probabilities)]
    if volume.plane == "axial" and "coronal" in planes and prediction.coronal_positions_mm:
        scores.append(Scores(plane="coronal", values=_coronal_scores(prediction, volume)))
    return tuple(each for each in scores if any(value is not None for value in each.values))


def _coronal_scores(prediction: Prediction, volume: Volume) -> list[float | None]:
    """Give every coronal cut the score of the slab that was read around it."""
    affine = np.array(volume.affine_lps)
    slices, rows, columns = volume.pixels.shape
    # A position is LPS y at the middle of a slab, which grows with the row.
    in_front_mm = float((affine @ ((columns - 1) / 2, 0.0, (slices - 1) / 2, 1.0))[1])
    middles = (np.array(prediction.coronal_positions_mm) - in_front_mm) / affine[1, 1]
    reach = abs(float(np.median(np.diff(middles)))) / 2 if len(middles) > 1 else 0.5
    scores: list[float | None] = []
    for row in range(rows):
        nearest = int(np.abs(middles - row).argmin())
        is_read = abs(middles[nearest] - row) <= reach + 0.5
        scores.append(prediction.coronal_probabilities[nearest] if is_read else None)
    return scores


def _place(finding: Finding, volume: Volume, threshold: float | None) -> FindingPlace:
    first = finding.slice_index if finding.slice_first is None else finding.slice_first
    last = finding.slice_index if finding.slice_last is None else finding.slice_last
    return FindingPlace(
        rank=finding.rank,
        centre=_centre(finding, volume),
        edges=((first, last + 1), (finding.y0, finding.y1), (finding.x0, finding.x1)),
        is_faint=threshold is not None and finding.probability < threshold,
    )


def _centre(finding: Finding, volume: Volume) -> tuple[int, int, int]:
    """Return the voxel at the middle of a finding: slice, row, column."""
    x, y, z = finding.x_mm, finding.y_mm, finding.z_mm
    if volume.affine_lps is not None and x is not None and y is not None and z is not None:
        column, row, index, _ = np.linalg.solve(np.array(volume.affine_lps), [x, y, z, 1.0])
        centre = (round(index), round(row), round(column))
    else:
        column, row = (finding.x0 + finding.x1) / 2, (finding.y0 + finding.y1) / 2
        centre = (finding.slice_index, math.floor(row), math.floor(column))
    index, row, column = (
        min(max(0, value), side - 1)
        for value, side in zip(centre, volume.pixels.shape, strict=True)
    )
    return index, row, column
