"""Runs of neighbouring slices: reading them, setting the series rule on them, and counting it."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from detection.ml.bundle import Bundle, default_bundle_path, derive_bundle, set_default_bundle
from detection.ml.calibration import sigmoid
from detection.ml.data import Sample
from detection.ml.errors import DatasetError
from detection.ml.serving import SCOPE, Picture, Predictor, SeriesRule, pool, series_logit
from detection.ml.training import choose_operating_points, operating_point

# The threshold is set on these parts; the test part is only reported.
SET_PARTS = ("train", "validation")


UNIT = "run of neighbouring slices"
# Between the name of the bundle a rule was set for and the time.
_MARK = "-series-"


@dataclass(frozen=True)
class Run:
    """Neighbouring slices of one series, in their order: calibrated logits and the truth."""

    group: str
    is_stone: bool
    logits: tuple[float, ...]


@dataclass(frozen=True)
class Way:
    """A way to score runs, with its threshold."""

    name: str
    score: Callable[[Sequence[float]], float]
    threshold: float


def read_runs(samples: Iterable[Sample], predictor: Predictor) -> list[Run]:
    """Read the runs of neighbouring slices among samples, at least as long as the rule needs.

    Only groups of sources whose groups are such runs are taken, in the order of the manifest.
    """
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.facts.groups_are_runs:
            groups.setdefault(sample.group, []).append(sample)
    runs = []
    for group, held in groups.items():
        if len(held) < predictor.rule.top:
            continue
        pictures = (Picture(grey=sample.read()) for sample in held)
        pooled = [pool(one) for batch in predictor.network.read(pictures) for one in batch.cells]
        calibration = predictor.bundle.calibration
        logits = tuple(calibration["slope"] * z + calibration["intercept"] for z in pooled)
        runs.append(
            Run(group=group, is_stone=any(sample.is_stone for sample in held), logits=logits)
        )
    return runs


def choose_rule(runs: Sequence[Run], *, rule: SeriesRule) -> SeriesRule:
    """Return the rule with the threshold that parts the runs best (highest Se + Sp).

    Raises
    ------
    DatasetError
        If the runs are not of both kinds.
    """
    return replace(rule, threshold=_best_threshold(runs, by_rule(rule)), scope=SCOPE)


def point_of(runs: Sequence[Run], rule: SeriesRule) -> dict[str, Any]:
    """Describe a rule as an operating point, with what it is worth on runs."""
    return operating_point(
        np.array([by_rule(rule)(run.logits) for run in runs]),
        np.array([run.is_stone for run in runs], bool),
        name="series rule",
        threshold=rule.threshold,
        unit=UNIT,
    )


def write_rule(
    bundle: Bundle, rule: SeriesRule, *, point: Mapping[str, Any], measured: Mapping[str, Any]
) -> Bundle:
    """Make a new bundle with a rule beside `bundle`, which stays as it is.

    If `bundle` is the default of its folder, the new one is the default from now on.

    Parameters
    ----------
    point : mapping
        The rule's operating point (`point_of`): what is shown beside an answer about a series.
    measured : mapping
        For each part what `measure_runs` counted, for the record.
    """
    root = bundle.path.resolve().parent
    is_default = (root / "default").is_file() and default_bundle_path(root).samefile(bundle.path)
    # A name has at most 99 characters.
    origin = bundle.name.partition(_MARK)[0][: 99 - len(_MARK) - 15]
    series = {**rule.to_dict(), "unit": UNIT, "operating_point": dict(point), **measured}
    renewed = derive_bundle(
        bundle,
        name=f"{origin}{_MARK}{time.strftime('%Y%m%d-%H%M%S')}",
        changes={"series": series},
    )
    if is_default:
        set_default_bundle(root, renewed)
    return renewed


def measure_runs(runs: Sequence[Run], way: Way) -> dict[str, Any]:
    """Count a way of scoring on runs: hits and n, sensitivity, specificity, AUC."""
    labels = np.array([run.is_stone for run in runs], bool)
    scores = np.array([way.score(run.logits) for run in runs])
    called = scores >= way.threshold
    return {
        "n": len(runs),
        "sensitivity": (int((called & labels).sum()), int(labels.sum())),
        "specificity": (int((~called & ~labels).sum()), int((~labels).sum())),
        "auc": float(roc_auc_score(labels, scores)) if 0 < labels.sum() < len(labels) else None,
    }


def ways_of(runs: Sequence[Run], *, rule: SeriesRule, image_threshold: float) -> list[Way]:
    """Return the rule and, beside it, the plain maximum, each with two thresholds."""
    return [
        Way(RULE_NAME, by_rule(rule), rule.threshold),
        Way("the series rule, at the image threshold", by_rule(rule), image_threshold),
        Way("plain maximum, threshold set on the same runs", _highest,
               _best_threshold(runs, _highest)),
        Way("plain maximum, at the image threshold, as in Hounsfield units", _highest,
               image_threshold),
    ]  # fmt: skip


def by_rule(rule: SeriesRule) -> Callable[[Sequence[float]], float]:
    def score(logits: Sequence[float]) -> float:
        logit = series_logit(logits, rule)
        return float(sigmoid(np.array(-np.inf if logit is None else logit)))

    return score


def _highest(logits: Sequence[float]) -> float:
    return float(sigmoid(np.array(max(logits))))


def _best_threshold(runs: Sequence[Run], score: Callable[[Sequence[float]], float]) -> float:
    labels = np.array([run.is_stone for run in runs], bool)
    if not runs or labels.all() or not labels.any():
        raise DatasetError(
            "The data folder holds no runs of neighbouring slices with and without stones in its "
            "training and validation parts, so that no series rule can be set on it. Its "
            "sources.csv can say of which sources the groups are such runs."
        )
    scores: NDArray[np.float64] = np.array([score(run.logits) for run in runs])
    return float(choose_operating_points(scores, labels, unit=UNIT)["balanced"]["threshold"])


RULE_NAME = "the series rule, threshold set on train and validation"
