"""The viewer of a study: the values of its markup, and the JSON for its script."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django import template
from django.urls import reverse

from detection.models import Finding, Prediction, Series, Study
from detection.selectors.viewer import FindingPlace, PlaneShown, Scores, series_opened
from detection.templatetags.reading import percent

register = template.Library()


@dataclass(frozen=True)
class Viewer:
    """The values of the viewer's markup, and `config`, the JSON for its script."""

    planes: tuple[str, ...]
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
    """Return the viewer of a series and its reading, or None if its file cannot be read."""
    shown = series_opened(series=series, prediction=prediction, findings=findings)
    if shown is None:
        return None
    has_planes = len(shown.planes) > 1
    config = {
        "series": str(series.uuid),
        "isHu": shown.is_hu,
        "planes": [_plane(plane) for plane in shown.planes],
        "urls": {
            "slice": reverse("study-slice", args=[study.uuid]),
            "map": reverse("study-map", args=[study.uuid]) if shown.has_map else None,
            "volume": reverse("study-volume", args=[study.uuid]) if has_planes else None,
        },
        "threshold": shown.threshold,
        "scores": {each.plane: _rounded(each.values) for each in shown.scores},
        "findings": [_finding(place) for place in shown.findings],
    }
    return Viewer(
        planes=tuple(plane.name for plane in shown.planes),
        is_hu=shown.is_hu,
        has_spacing=shown.planes[0].spacing_mm is not None,
        is_oriented=shown.is_oriented,
        is_stack=shown.is_stack,
        has_map=shown.has_map,
        score_words=tuple(_words(each, shown.threshold) for each in shown.scores),
        config=json.dumps(config, separators=(",", ":")),
    )


def _plane(plane: PlaneShown) -> dict[str, Any]:
    return {
        "name": plane.name,
        "size": plane.size,
        "axes": plane.axes,
        "mm": plane.spacing_mm,
        "letters": plane.letters,
    }


def _finding(place: FindingPlace) -> dict[str, Any]:
    return {
        "rank": place.rank,
        "centre": place.centre,
        "edges": place.edges,
        "isFaint": place.is_faint,
    }


def _rounded(values: Iterable[float | None]) -> list[float | None]:
    return [None if value is None else round(value, 4) for value in values]


def _words(scores: Scores, threshold: float | None) -> str:
    """Return the strip of scores as a sentence."""
    known = [(index, value) for index, value in enumerate(scores.values) if value is not None]
    at, highest = max(known, key=lambda score: score[1])
    kind = "slice" if scores.plane == "unknown" else f"{scores.plane} slice"
    words = f"Highest {kind} score {percent(highest)} at slice {at + 1}"
    if threshold is None:
        return f"{words}."
    above = [index for index, value in known if value >= threshold]
    limit = f"the operating point ({percent(threshold)})"
    if not above:
        return f"{words}; none of {len(known)} slices reaches {limit}."
    return f"{words}; {len(above)} of {len(known)} slices reach {limit}: {_runs(above)}."


def _runs(indices: Iterable[int], *, most: int = 12) -> str:
    """Return slice numbers, counted from 1, with neighbours joined: "12 to 19, 40"."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    words = [f"{a + 1}" if a == b else f"{a + 1} to {b + 1}" for a, b in runs]
    return ", ".join(words[:most]) + (" and more" if len(words) > most else "")
