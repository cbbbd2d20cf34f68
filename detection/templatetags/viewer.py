"""What the viewer of a study must know before it shows the first slice."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from django import template
from django.urls import reverse

from detection.imaging.display import as_plane, is_oriented, letters_of, planes_of, shown_axes
from detection.imaging.errors import ImageError
from detection.imaging.volume import Plane, Volume
from detection.models import Finding, Prediction, Series, Study
from detection.selectors.volumes import volume_opened
from detection.templatetags.reading import percent

register = template.Library()


@dataclass(frozen=True)
class Viewer:
    """What the viewer's markup and its script are told: `config` is for the script, as JSON."""

    planes: tuple[Plane, ...]
    is_hu: bool
    has_spacing: bool
    is_oriented: bool
    is_stack: bool
    has_map: bool
    score_words: tuple[str, ...]
    config: str


@dataclass(frozen=True)
class Scores:
    """A probability for each slice of a plane, None where none was read."""

    plane: Plane
    values: list[float | None]


@register.simple_tag
def viewer_of(
    study: Study, series: Series, prediction: Prediction | None, findings: Sequence[Finding]
) -> Viewer | None:
    """Return what is known of a series and its reading, or None if its file is missing."""
    try:
        volume = volume_opened(series=series)
    except ImageError:
        return None
    own = prediction if prediction is not None and prediction.series_id == series.pk else None
    planes = planes_of(volume)
    scores = _scores(own, volume, planes) if own and volume.pixels.shape[0] > 1 else []
    threshold = own.operating_point.get("threshold") if own else None
    has_map = bool(own and own.map_path)
    config = {
        "series": str(series.uuid),
        "isHu": volume.is_hu,
        "planes": [_plane(volume, plane) for plane in planes],
        "urls": {
            "slice": reverse("study-slice", args=[study.uuid]),
            "map": reverse("study-map", args=[study.uuid]) if has_map else None,
            "volume": reverse("study-volume", args=[study.uuid]) if len(planes) > 1 else None,
        },
        "threshold": threshold,
        "scores": {each.plane: _rounded(each.values) for each in scores},
        "findings": [_finding(finding, volume, threshold) for finding in findings] if own else [],
    }
    return Viewer(
        planes=planes,
        is_hu=volume.is_hu,
        has_spacing=volume.spacing_mm is not None,
        is_oriented=is_oriented(volume),
        is_stack=volume.pixels.shape[0] > 1,
        has_map=has_map,
        score_words=tuple(_words(each, threshold) for each in scores),
        config=json.dumps(config, separators=(",", ":")),
    )


def _plane(volume: Volume, plane: Plane) -> dict[str, Any]:
    axes = shown_axes(volume.plane, plane)
    spacing_mm = volume.spacing_mm
    letters = letters_of(plane) if is_oriented(volume) else None
    return {
        "name": plane,
        "size": as_plane(volume.pixels, volume.plane, plane).shape,
        "axes": [[axis.index, axis.is_flipped] for axis in axes],
        "mm": [spacing_mm[axis.index] for axis in axes] if spacing_mm else None,
        "letters": asdict(letters) if letters else None,
    }


def _scores(prediction: Prediction, volume: Volume, planes: Sequence[Plane]) -> list[Scores]:
    """Return the score of each acquired slice, and of each coronal cut if those were read."""
    scores = [Scores(plane=volume.plane, values=prediction.slice_probabilities)]
    if volume.plane == "axial" and "coronal" in planes and prediction.coronal_positions_mm:
        scores.append(Scores(plane="coronal", values=_coronal_scores(prediction, volume)))
    is_known = [any(value is not None for value in each.values) for each in scores]
    return [each for each, known in zip(scores, is_known, strict=True) if known]


def _coronal_scores(prediction: Prediction, volume: Volume) -> list[float | None]:
    """Give every coronal cut the score of the slab that was read around it."""
    affine = np.array(volume.affine_lps)
    slices, rows, columns = volume.pixels.shape
    # Positions are those of the middle of a cut: LPS y, which grows with the row.
    in_front_mm = float((affine @ ((columns - 1) / 2, 0.0, (slices - 1) / 2, 1.0))[1])
    middles = (np.array(prediction.coronal_positions_mm) - in_front_mm) / affine[1, 1]
    reach = abs(float(np.median(np.diff(middles)))) / 2 if len(middles) > 1 else 0.5
    scores: list[float | None] = []
    for row in range(rows):
        nearest = int(np.abs(middles - row).argmin())
        is_read = abs(middles[nearest] - row) <= reach + 0.5
        scores.append(prediction.coronal_probabilities[nearest] if is_read else None)
    return scores


def _rounded(values: Iterable[float | None]) -> list[float | None]:
    return [None if value is None else round(value, 4) for value in values]


def _finding(finding: Finding, volume: Volume, threshold: float | None) -> dict[str, Any]:
    first = finding.slice_index if finding.slice_first is None else finding.slice_first
    last = finding.slice_index if finding.slice_last is None else finding.slice_last
    return {
        "rank": finding.rank,
        "centre": _centre(finding, volume),
        # Slices, rows and columns that it takes, each from its first edge to its last.
        "edges": [[first, last + 1], [finding.y0, finding.y1], [finding.x0, finding.x1]],
        "isFaint": threshold is not None and finding.probability < threshold,
    }


def _centre(finding: Finding, volume: Volume) -> list[int]:
    """Return the voxel at the middle of a finding: slice, row, column."""
    centre_mm = (finding.x_mm, finding.y_mm, finding.z_mm)
    if volume.affine_lps is not None and None not in centre_mm:
        column, row, index, _ = np.linalg.solve(np.array(volume.affine_lps), [*centre_mm, 1.0])
        centre = [round(index), round(row), round(column)]
    else:
        column, row = (finding.x0 + finding.x1) / 2, (finding.y0 + finding.y1) / 2
        centre = [finding.slice_index, math.floor(row), math.floor(column)]
    return [
        min(max(0, value), side - 1)
        for value, side in zip(centre, volume.pixels.shape, strict=True)
    ]


def _words(scores: Scores, threshold: float | None) -> str:
    """The strip of scores in a sentence."""
    known = [(index, value) for index, value in enumerate(scores.values) if value is not None]
    at, highest = max(known, key=lambda score: score[1])
    words = f"Highest {scores.plane} slice score {percent(highest)} at slice {at + 1}"
    if threshold is None:
        return f"{words}."
    above = [index for index, value in known if value >= threshold]
    limit = f"the operating point ({percent(threshold)})"
    if not above:
        return f"{words}; none of {len(known)} slices reaches {limit}."
    return f"{words}; {len(above)} of {len(known)} slices reach {limit}: {_runs(above)}."


def _runs(indices: Iterable[int], *, most: int = 12) -> str:
    """Slice numbers, counted from 1, neighbours joined: "12 to 19, 40"."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    words = [f"{a + 1}" if a == b else f"{a + 1} to {b + 1}" for a, b in runs]
    return ", ".join(words[:most]) + (" and more" if len(words) > most else "")
