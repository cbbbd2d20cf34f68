"""Draws the same patients for every model, so that figures have intervals of their difference."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.ml.calibration import wilson_interval
from detection.ml.evaluation import RESAMPLES, SEED, WIDER, Figure, calibration_line, proportion
from detection.ml.training import expected_calibration_error

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Names = NDArray[np.str_]

BETTER, WORSE, NOT_SHOWN, NOT_JUDGED = "better", "worse", "not shown", "not judged"
# Of five units all lie on one side by chance in 6 % of cases, so that fewer than six show nothing.
MIN_UNITS = 6
_TAIL = (2.5, 97.5)


@dataclass(frozen=True, eq=False)
class Measured:
    """One figure of one model, on all patients and in every draw of them.

    Attributes
    ----------
    figure : Figure
        The figure with its interval.
    draws : np.ndarray
        float64 `(draws,)`: the figure in each draw, NaN where a draw does not define it.
    """

    figure: Figure
    draws: Floats


class Patients:
    """Draws patient units with replacement, the same ones for every figure and every model.

    Parameters
    ----------
    units : mapping
        From a patient group to the unit that it belongs to.
    draws : int
        Number of draws.
    """

    def __init__(self, units: Mapping[str, str], *, draws: int = RESAMPLES, seed: int = SEED):
        self._units = units
        names = sorted(set(units.values()))
        self._place = {name: place for place, name in enumerate(names)}
        generator = np.random.default_rng(seed)
        counts = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), draws)
        # The first row holds everyone once: it gives the figure itself.
        self._counts = np.vstack([np.ones((1, len(names)), np.int64), counts]).astype(np.float64)

    def of(self, groups: Sequence[str]) -> Names:
        """Return the unit of each group."""
        return np.array([self._units[group] for group in groups], str)

    def weights(self, units: Names) -> Floats:
        """Return how often each item is drawn, `(1 + draws, n)`; the first row is 1 throughout."""
        return self._counts[:, [self._place[unit] for unit in units.tolist()]]

    def share(self, flags: Flags, units: Names, unit: str) -> Measured:
        """Measure a share of items; its interval is the wider one of Wilson's and the draws'."""
        drawn = _means(flags.astype(np.float64), self.weights(units))
        return Measured(proportion(flags, units, unit=unit), drawn[1:])

    def mean(self, values: Floats, units: Names, unit: str) -> Measured:
        """Measure the mean of a number of each item."""
        return self._measured(_means(values, self.weights(units)), units, unit)

    def rate(self, values: Floats, units: Names, unit: str) -> Measured:
        """Measure the mean of shares of 0 to 1, with the wider interval as `share` has it."""
        measured = self.mean(values, units, unit)
        figure = measured.figure
        if figure.value is None or figure.low is None or figure.high is None:
            return measured
        low, high = wilson_interval(figure.value * len(values), len(values))
        wider = replace(figure, low=min(low, figure.low), high=max(high, figure.high), method=WIDER)
        return Measured(wider, measured.draws)

    def median(self, values: Floats, units: Names, unit: str) -> Measured:
        """Measure the median of a number of each item."""

        def median(weights: Floats) -> float | None:
            drawn = np.repeat(values, weights.astype(int))
            return float(np.median(drawn)) if len(drawn) else None

        return self.each(median, units, unit)

    def auc(self, scores: Floats, labels: Flags, units: Names, unit: str) -> Measured:
        """Measure the area under the ROC curve."""
        return self._measured(_areas(scores, labels, self.weights(units)), units, unit)

    def ece(self, probabilities: Floats, labels: Flags, units: Names, unit: str) -> Measured:
        """Measure the expected calibration error, in 15 bins of equal mass."""

        def error(weights: Floats) -> float | None:
            drawn = np.repeat(np.arange(len(labels)), weights.astype(int))
            if not len(drawn):
                return None
            return expected_calibration_error(probabilities[drawn], labels[drawn])

        return self.each(error, units, unit)

    def slope(self, probabilities: Floats, labels: Flags, units: Names, unit: str) -> Measured:
        """Measure the calibration slope of Cox; 1 is perfect."""

        def slope(weights: Floats) -> float | None:
            fitted = calibration_line(probabilities, labels, weights)
            return None if fitted is None else fitted[0]

        return self.each(slope, units, unit)

    def each(
        self, statistic: Callable[[Floats], float | None], units: Names, unit: str
    ) -> Measured:
        """Measure what a function of item weights, `(n,)`, returns; None where undefined."""
        drawn = [statistic(weights) for weights in self.weights(units)]
        return self._measured(np.array([np.nan if d is None else d for d in drawn]), units, unit)

    def found(
        self, stones: "FoundStones", chosen: Flags, *, false_per_image: float, unit: str
    ) -> Measured:
        """Measure the share of chosen stones that is found at a rate of false findings.

        Each draw has the threshold of its own images, as FROC has on all of them.
        """
        order = np.argsort(-stones.false_scores, kind="stable")
        ranked = np.append(stones.false_scores[order], -np.inf)
        image_weights = self.weights(stones.image_units)
        seen = np.cumsum(image_weights[:, stones.false_images[order]], axis=1)
        allowed = np.floor(false_per_image * image_weights.sum(1) + 1e-9)
        # The first false finding too many, in each draw; stones above it are found.
        limit = ranked[(seen <= allowed[:, None]).sum(1)]
        units = stones.image_units[stones.images][chosen]
        scores = stones.scores[chosen]
        hits = (scores[None] > limit[:, None]) & (scores > 0)
        weights = self.weights(units)
        drawn = _ratio((weights * hits).sum(1), weights.sum(1))
        return Measured(proportion(hits[0], units, unit=unit), drawn[1:])

    def _measured(self, drawn: Floats, units: Names, unit: str) -> Measured:
        value, draws = drawn[0], drawn[1:]
        known = draws[np.isfinite(draws)]
        count = len(set(units.tolist()))
        if not np.isfinite(value) or not len(known):
            figure = Figure(None, None, None, len(units), count, unit, _METHOD)
        else:
            low, high = np.percentile(known, _TAIL)
            figure = Figure(float(value), float(low), float(high), len(units), count, unit, _METHOD)
        return Measured(figure, draws)


_METHOD = "bootstrap over patient units"


@dataclass(frozen=True, eq=False)
class FoundStones:
    """The boxed stones of some images, and the findings that overlap none of them.

    Attributes
    ----------
    scores, images, sides : np.ndarray
        `(stones,)`: probability of the highest finding that overlaps it (0 without one), index of
        its image, longest side of its box in px.
    false_scores, false_images : np.ndarray
        `(findings,)`: probability, and index of the image.
    image_units : np.ndarray
        str `(images,)`: the patient unit of each image.
    """

    scores: Floats
    images: NDArray[np.int64]
    sides: Floats
    false_scores: Floats
    false_images: NDArray[np.int64]
    image_units: Names


def difference(
    one: Measured, reference: Measured, *, is_higher_better: bool | None
) -> dict[str, Any]:
    """Return the paired difference `one - reference` with its interval and what it shows.

    `shows` is "better" or "worse" if the interval excludes 0, else "not shown". It is "not judged"
    where neither direction is the better one (None), and of less than `MIN_UNITS` patient units.
    """
    if one.figure.value is None or reference.figure.value is None:
        return {"value": None, "low": None, "high": None, "shows": NOT_JUDGED}
    gaps = one.draws - reference.draws
    gaps = gaps[np.isfinite(gaps)]
    value = one.figure.value - reference.figure.value
    if not len(gaps):
        return {"value": value, "low": None, "high": None, "shows": NOT_JUDGED}
    low, high = (float(bound) for bound in np.percentile(gaps, _TAIL))
    shows = NOT_SHOWN
    if is_higher_better is None or one.figure.groups < MIN_UNITS:
        shows = NOT_JUDGED
    elif low > 0 or high < 0:
        shows = BETTER if (low > 0) == is_higher_better else WORSE
    return {"value": value, "low": low, "high": high, "shows": shows}


def _means(values: Floats, weights: Floats) -> Floats:
    return _ratio(weights @ values, weights.sum(1))


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _areas(scores: Floats, labels: Flags, weights: Floats) -> Floats:
    """Return the area under the ROC curve for each row of weights, ties counted half."""
    if not len(scores):
        return np.full(len(weights), np.nan)
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(scores[order]) > 0))
    positive, negative = (
        np.add.reduceat(weights[:, order] * side[order], starts, axis=1)
        for side in (labels, ~labels)
    )
    below = np.cumsum(negative, axis=1) - negative / 2
    return _ratio((positive * below).sum(1), positive.sum(1) * negative.sum(1))
