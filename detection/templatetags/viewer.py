"""What the viewer of a study must know before it shows the first slice."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from django import template
from django.urls import reverse

from detection.imaging.errors import ImageError
from detection.imaging.planes import as_plane, is_oriented, letters_of, planes_of, shown_axes
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
    described = [_plane(volume, plane) for plane in planes]
    scores = _scores(own, described) if own else []
    threshold = own.operating_point.get("threshold") if own else None
    has_map = bool(own and own.map_path)
    config = {
        "series": str(series.uuid),
        "isHu": volume.is_hu,
        "planes": described,
        "urls": {
            "slice": reverse("study-slice", args=[study.uuid]),
            "map": reverse("study-map", args=[study.uuid]) if has_map else None,
            "volume": reverse("study-volume", args=[study.uuid]) if len(planes) > 1 else None,
        },
        "threshold": threshold,
        "scores": scores,
        "findings": [_finding(finding, volume, threshold) for finding in findings] if own else [],
    }
    return Viewer(
        planes=planes,
        is_hu=volume.is_hu,
        has_spacing=volume.spacing_mm is not None,
        is_oriented=is_oriented(volume),
        is_stack=volume.pixels.shape[0] > 1,
        has_map=has_map,
        score_words=tuple(_words(row, threshold) for row in scores),
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


def _scores(prediction: Prediction, planes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the scores of the acquired slices, and of the coronal cuts if those were read."""
    acquired = planes[0]["name"]
    rows = {"coronal": getattr(prediction, "coronal_probabilities", None)}
    rows[acquired] = getattr(prediction, "slice_probabilities", None) or rows.get(acquired)
    sizes = {plane["name"]: plane["size"][0] for plane in planes}
    return [
        {"plane": plane, "values": [None if p is None else round(p, 4) for p in values]}
        for plane, values in sorted(rows.items(), key=lambda row: row[0] != acquired)
        if values and sizes.get(plane, 0) > 1 and any(value is not None for value in values)
    ]


def _finding(finding: Finding, volume: Volume, threshold: float | None) -> dict[str, Any]:
    first, last = getattr(finding, "slice_first", None), getattr(finding, "slice_last", None)
    return {
        "rank": finding.rank,
        # A picture's finding may name no plane, or one of which nothing else is known.
        "plane": finding.plane if finding.plane in planes_of(volume) else volume.plane,
        "slice": finding.slice_index,
        "first": finding.slice_index if first is None else first,
        "last": finding.slice_index if last is None else last,
        "box": [finding.x0, finding.y0, finding.x1, finding.y1],
        "voxel": _voxel(finding, volume),
        "isFaint": threshold is not None and finding.probability < threshold,
    }


def _voxel(finding: Finding, volume: Volume) -> list[float] | None:
    """Return the finding's centre as slice, row and column of the array, if its mm are known."""
    centre_mm = [getattr(finding, name, None) for name in ("x_mm", "y_mm", "z_mm")]
    if volume.affine_lps is None or None in centre_mm:
        return None
    column, row, index, _ = np.linalg.solve(np.array(volume.affine_lps), [*centre_mm, 1.0])
    return [round(float(value), 2) for value in (index, row, column)]


def _words(scores: dict[str, Any], threshold: float | None) -> str:
    """The strip of scores in a sentence."""
    known = [(index, value) for index, value in enumerate(scores["values"]) if value is not None]
    at, highest = max(known, key=lambda score: score[1])
    words = f"Highest {scores['plane']} slice score {percent(highest)} at slice {at + 1}"
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
