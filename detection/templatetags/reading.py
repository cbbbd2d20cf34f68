"""The words of a reading on the pages: its state, numbers and sizes."""

import math
from collections.abc import Mapping
from typing import Any

from django import template

from detection.models import Finding, Prediction, Study
from detection.selectors.answers import (
    KIDNEYS_ONLY,
    agreement_words,
    answer_sentence,
    is_minority,
)

register = template.Library()

# (tone of the colours, icon): a verdict is never told by colour alone. No verdict is an all-clear:
# nobody has shown that both kidneys lie in what was read.
_VERDICTS = {
    Study.Verdict.STONE: ("stone", "target"),
    Study.Verdict.NO_STONE: ("none", "none"),
    Study.Verdict.CANNOT_ASSESS: ("unsure", "question"),
}
_STATES = {
    Study.Status.QUEUED: ("working", "clock", "Waiting to be read"),
    Study.Status.RUNNING: ("working", "clock", "Reading"),
    Study.Status.FAILED: ("failed", "cross", "Failed"),
}


@register.filter
def outcome(row: Study | Prediction) -> dict[str, str]:
    """Return tone, icon and words for the state of a study or a prediction."""
    if row.status in (Study.Status.SUCCEEDED, Study.Status.REFUSED):
        tone, icon = _VERDICTS[Study.Verdict(row.verdict or Study.Verdict.CANNOT_ASSESS)]
        words = answer_sentence(row)
    else:
        tone, icon, words = _STATES[Study.Status(row.status)]
    return {"tone": tone, "icon": icon, "words": words}


@register.filter
def outcome_words(row: Study | Prediction) -> str:
    """Return the words for the state of a study or a prediction."""
    return outcome(row)["words"]


@register.filter
def aside_words(study: Study) -> str:
    """Return how many series of a study were set aside, and whether one of them shows a stone."""
    words = f"{study.series_aside} series set aside"
    return f"{words}: a stone was suspected there" if study.has_stone_aside else words


@register.filter
def stone_words(finding: Finding) -> str:
    """Return side, density and volume of a stone in words, as far as they are known."""
    parts = []
    if finding.side and finding.side != "unknown":
        parts.append(f"{finding.side} side")
    if finding.mean_hu is not None:
        parts.append(f"mean {finding.mean_hu:.0f} HU")
    if finding.peak_hu is not None:
        parts.append(f"peak {finding.peak_hu:.0f} HU")
    if finding.volume_mm3 is not None:
        parts.append(f"{finding.volume_mm3:.0f} mm³")
    return ", ".join(parts)


@register.filter
def agreement(finding: Finding) -> dict[str, Any] | None:
    """Return how many members of an ensemble see a finding; None for a single network.

    `words` say it, and `is_minority` whether it is less than half of them.
    """
    seeing, members = finding.members_seeing, finding.members
    if seeing is None or members is None:
        return None
    words = agreement_words(seeing, members)
    return {"words": words, "is_minority": is_minority(seeing, members)}


@register.filter
def percent(value: float | None) -> str:
    """Return a probability in per cent, or "not known".

    No probability of a model is certain, so that the ends are open: nothing is 0 % or 100 %.
    """
    if value is None or math.isnan(value):
        return "not known"
    if value < 0.01:
        return "<\N{NO-BREAK SPACE}1\N{NO-BREAK SPACE}%"
    if value > 0.99:
        return ">\N{NO-BREAK SPACE}99\N{NO-BREAK SPACE}%"
    return f"{value * 100:.0f}\N{NO-BREAK SPACE}%"


@register.filter
def series_score(value: float | None) -> str:
    """Return the score of a series, 0 to 1, or "not known". It is no probability: no per cent.

    The ends are open as those of `percent`.
    """
    if value is None or math.isnan(value):
        return "not known"
    if value < 0.01:
        return "<\N{NO-BREAK SPACE}0.01"
    return ">\N{NO-BREAK SPACE}0.99" if value > 0.99 else f"{value:.2f}"


@register.simple_tag
def kidneys_only() -> str:
    """Return the line that stands with every answer."""
    return KIDNEYS_ONLY


@register.filter
def share(value: float | None) -> str:
    """Return a measured share, such as a sensitivity, in per cent. 100 % is possible."""
    return "not known" if value is None else f"{value * 100:.0f}\N{NO-BREAK SPACE}%"


@register.filter
def interval(operating_point: Mapping[str, Any], key: str) -> str:
    """Return the 95 % interval and the count of a sensitivity or specificity, if recorded."""
    parts = []
    bounds = operating_point.get(f"{key}_interval")
    if bounds:
        parts.append(f"95 % interval {bounds[0] * 100:.0f} to {bounds[1] * 100:.0f} %")
    count = operating_point.get({"sensitivity": "n_positive", "specificity": "n_negative"}[key])
    if count:
        parts.append(f"n = {count}")
    return ", ".join(parts)


@register.filter
def seconds(value: float | None) -> str:
    if value is None:
        return "not known"
    if value < 0.1:
        return "under 0.1 s"
    if value < 10:
        return f"{value:.1f} s"
    if value < 90:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min"


@register.filter
def scaled(value: float, factor: float) -> str:
    """Return a number for an attribute of an SVG drawing, with a point in every language."""
    return f"{value * factor:.2f}"
