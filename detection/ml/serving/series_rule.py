"""From slices to a series: one score out of many."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.ml.bundle import Bundle

# What stands beside every answer about a series: of a rule that was set, and of the default.
SCOPE = (
    "The rule that turns slices into one answer was set on runs of neighbouring slices; it has "
    "not been measured on volumes."
)
SCOPE_OF_CHECKED = (
    "The highest slice decides about the series, once marks without a dense object are left out. "
    "This was measured on drawn stones, not on patients' volumes."
)
SCOPE_OF_DEFAULT = (
    "The rule that turns slices into one answer uses the threshold of single images; it has not "
    "been measured on volumes."
)
SCOPE_OF_SINGLES = (
    "The slices are in no order: the most suspicious one speaks for the series, at the threshold "
    "of single images."
)
KEY_SLICES = 3
# Key slices lie farther apart than this, so that one stone does not take them all.
_KEY_APART = 3


@dataclass(frozen=True)
class SeriesRule:
    """How slice logits become the probability of a series.

    The calibrated logits are smoothed by a running median over `smooth` slices, lowered to what
    `run` neighbouring slices reach together, and the mean of the `top` highest is taken. A stone
    is suspected from `threshold` on.
    """

    threshold: float
    smooth: int = 3
    run: int = 2
    top: int = 3
    scope: str = SCOPE

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


def rule_of(bundle: Bundle) -> SeriesRule:
    """Return the rule that travels with a bundle, or the default at its image threshold."""
    told = bundle.manifest.get("series")
    if told is None:
        threshold = float(bundle.operating_point["threshold"])
        return SeriesRule(threshold=threshold, scope=SCOPE_OF_DEFAULT)
    return SeriesRule(**{name: told[name] for name in ("threshold", "smooth", "run", "top")})


def rule_of_single_slices(threshold: float) -> SeriesRule:
    """Return the rule for slices in no order: the highest counts, and neighbours say nothing.

    Parameters
    ----------
    threshold : float
        The threshold of single images, 0 to 1.
    """
    return SeriesRule(threshold=threshold, smooth=1, run=1, top=1, scope=SCOPE_OF_SINGLES)


def checked_rule_of(bundle: Bundle) -> SeriesRule:
    """Return the rule for volumes in HU, whose marks stand on dense objects.

    The check does what neighbouring slices must do elsewhere, and a stone of 4 mm lies on one slice
    of 5 mm: the highest slice decides, by default at the threshold of single images.
    """
    told = bundle.manifest.get("series", {}).get("checked", {})
    threshold = float(told.get("threshold", bundle.operating_point["threshold"]))
    return replace(rule_of_single_slices(threshold), scope=SCOPE_OF_CHECKED)


def curve(logits: Sequence[float | None], rule: SeriesRule) -> NDArray[np.float64]:
    """Smooth the logits of neighbouring slices, `(n,)`; NaN where a slice was not read.

    A value that stands alone is lowered to its neighbours: first by the running median, then by
    the opening of mathematical morphology (the highest of the lowest of every `run` slices that
    hold a place). Slices that were not read part the series; a stretch between two of them that
    is shorter than `run` counts only in a series that has no longer one.
    """
    values = np.array([np.nan if value is None else value for value in logits], np.float64)
    smoothed = np.full_like(values, np.nan)
    stretches = _stretches(~np.isnan(values))
    long_enough = [(first, end) for first, end in stretches if end - first >= rule.run]
    for first, end in long_enough or stretches:
        held = _windows(values[first:end], rule.smooth, np.median)
        lowest = _running(held, rule.run, np.min)
        smoothed[first:end] = _spread(lowest, end - first)
    return smoothed


def series_logit(logits: Sequence[float | None], rule: SeriesRule) -> float | None:
    """Return the logit of a series, or None if no slice of it was read."""
    smoothed = curve(logits, rule)
    held = np.sort(smoothed[~np.isnan(smoothed)])
    return float(held[-rule.top :].mean()) if len(held) else None


def key_slices(logits: Sequence[float | None], rule: SeriesRule) -> tuple[int, ...]:
    """Return the slices to look at first: up to three, each the highest of its surroundings."""
    smoothed = curve(logits, rule)
    # Within one plateau of the curve the slice with the highest logit of its own comes first.
    own = np.array([-np.inf if value is None else value for value in logits])
    order = sorted(
        np.flatnonzero(~np.isnan(smoothed)), key=lambda index: (-smoothed[index], -own[index])
    )
    chosen: list[int] = []
    for index in order:
        if all(abs(index - other) > _KEY_APART for other in chosen):
            chosen.append(int(index))
        if len(chosen) == KEY_SLICES:
            break
    return tuple(chosen)


def _stretches(read: NDArray[np.bool_]) -> list[tuple[int, int]]:
    change = np.flatnonzero(np.diff(np.concatenate([[0], read.astype(int), [0]])))
    return [(int(first), int(end)) for first, end in zip(change[::2], change[1::2], strict=True)]


def _windows(values: NDArray[np.float64], width: int, function: Any) -> NDArray[np.float64]:
    """Apply a function to the window around each value; the ends are repeated."""
    before = (width - 1) // 2
    padded = np.pad(values, (before, width - 1 - before), mode="edge")
    return function(np.lib.stride_tricks.sliding_window_view(padded, width), axis=1)


def _running(values: NDArray[np.float64], width: int, function: Any) -> NDArray[np.float64]:
    width = min(width, len(values))
    return function(np.lib.stride_tricks.sliding_window_view(values, width), axis=1)


def _spread(lowest: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """Give each place the highest of the windows that hold it."""
    width = length - len(lowest) + 1
    padded = np.pad(lowest, (width - 1, width - 1), constant_values=-np.inf)
    return np.lib.stride_tricks.sliding_window_view(padded, width).max(axis=1)
