"""Writes the page of a search: figures, a table with intervals, and what they say in words."""

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import spearmanr

from detection.ml.errors import MLError
from detection.ml.evaluation import Figure, difference
from detection.ml.tuning.confirm import read_confirmed
from detection.ml.tuning.figures import draw_history, draw_importance
from detection.ml.tuning.samplers import BASELINE, SAMPLERS
from detection.ml.tuning.search import UNTUNED, complete, load_studies, spent
from detection.ml.tuning.space import SPACE, method_of

# An order of fewer configurations says next to nothing.
_MIN_CONFIRMED = 5
_MIN_FOR_IMPORTANCE = 4
_UNIT = "judged crop"
_MAX_LINE = 120
_TITLES = {
    "random": "random search",
    "tpe": "TPE",
    "cmaes": "CMA-ES",
    "ga": "genetic algorithm (NSGA-II)",
    "pso": "particle swarm",
    UNTUNED: "today's options, not tuned",
}


@dataclass(frozen=True)
class Best:
    """The best trial of a study, the losses of its crops, and how the trials of the study ended."""

    name: str
    trial: FrozenTrial
    losses: NDArray[np.float64]
    ended: dict[str, int]

    @property
    def value(self) -> float:
        return float(self.losses.mean())


def write_report(*, storage: Path, out: Path, confirmed: Path | None = None) -> dict[str, Any]:
    """Write the page `out` and, beside it, its figures and a file for `train --tuned`.

    Parameters
    ----------
    confirmed : Path, optional
        The real trainings that `run_confirmation` wrote.

    Returns
    -------
    dict
        What the file `<page>.json` holds: options, sampler, trial, value, task.

    Raises
    ------
    MLError
        If the storage holds no search that ended a trial, or the other file cannot be read.
    """
    studies = load_studies(storage)
    units = np.array(next(iter(studies.values())).user_attrs["units"], str)
    found = [best for name in (*SAMPLERS, UNTUNED) if (best := _best_of(studies, name))]
    searched = [best for best in found if best.name != UNTUNED]
    if not searched:
        raise MLError(f"The search in {storage.name} has no trial that came to an end.")
    winner = min(searched, key=lambda best: best.value)
    is_equal = len({sum(best.ended.values()) for best in searched}) == 1
    rows = read_confirmed(confirmed) if confirmed else []
    out.parent.mkdir(parents=True, exist_ok=True)
    figures = {
        draw_history(studies, _TITLES, out.with_name(f"{out.stem}-history.png")): (
            "The lowest log-loss so far",
            "The lowest log-loss so far against trials; a cross is a trial that the median pruner "
            "stopped or that failed.",
        )
    }
    importance = _importance(studies)
    if importance:
        drawn = draw_importance(importance, out.with_name(f"{out.stem}-importance.png"))
        figures[drawn] = (
            "Importance of each option",
            "The share of the variance of the log-loss that each option explains alone (fANOVA), "
            "over the complete trials of all samplers.",
        )
    tuned = {
        "options": method_of(winner.trial.params),
        "sampler": winner.name,
        "trial": winner.trial.number,
        "value": winner.value,
        "task": studies[winner.name].user_attrs["task"],
    }
    out.with_suffix(".json").write_text(json.dumps(tuned, indent=1) + "\n", "utf-8")
    gains = _gains(found, units)
    text = [
        "# The search for the options of the training",
        "",
        *_how(studies, units),
        *_lines_of_table(found, gains),
        *[sentence_of_gains(gains, is_equal=is_equal), "", sentence_of_order(rows), ""],
        *[
            line
            for name, (title, told) in figures.items()
            for line in (f"![{title}]({name})", "", told, "")
        ],
        *([] if importance else ["Too few trials are complete to tell which option matters.", ""]),
        *_lines_of_best(winner),
        *_lines_of_space(),
    ]
    # A line of a table cannot be broken.
    wrapped = [line if line.startswith("|") else textwrap.fill(line, _MAX_LINE) for line in text]
    out.write_text("\n".join(wrapped).rstrip() + "\n", "utf-8")
    return tuned


def sentence_of_gains(gains: Mapping[str, Figure], *, is_equal: bool) -> str:
    """Say whether any sampler beat random search: its interval lies below zero.

    `is_equal`: all had the same number of trials.
    """
    budget = "at the same budget" if is_equal else "though their numbers of trials differ"
    rivals = {name: gain for name, gain in gains.items() if name != UNTUNED}
    if not rivals:
        return "**Random search was not compared with another sampler.**"
    beaten = [
        f"{_TITLES[name]} by {-gain.value:.4f} ({-gain.high:.4f} to {-gain.low:.4f})"
        for name, gain in rivals.items()
        if gain.value is not None and gain.low is not None and gain.high is not None
        if gain.high < 0
    ]
    if beaten:
        return f"**Random search was beaten {budget}: {', '.join(beaten)}.**"
    return (
        f"**No sampler beat random search {budget}: each interval of the difference holds zero or "
        "lies above it.**"
    )


def sentence_of_order(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say whether the order of the proxy holds for real trainings, or that it was not measured."""
    if len(rows) < _MIN_CONFIRMED:
        return (
            "Whether the order of the proxy holds for real trainings was not measured: it takes at "
            f"least {_MIN_CONFIRMED} of them, and there are {len(rows)}."
        )
    proxy, real = ([row[key] for row in rows] for key in ("proxy", "real"))
    told = spearmanr(proxy, real)
    holds = "holds" if told.statistic > 0 and told.pvalue < 0.05 else "is not shown to hold"
    return (
        f"The order of the proxy {holds} for real trainings: Spearman's rank correlation of their "
        f"log-losses is {told.statistic:.2f} (n = {len(rows)}, p = {told.pvalue:.3f})."
    )


def _best_of(studies: Mapping[str, Study], name: str) -> Best | None:
    if name not in studies or not complete(studies[name]):
        return None
    trials = spent(studies[name])
    trial = min(complete(studies[name]), key=lambda held: held.value or 0.0)
    ended = {
        state.name.lower(): sum(held.state == state for held in trials)
        for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    }
    return Best(name, trial, np.array(trial.user_attrs["losses"], np.float64), ended)


def _gains(found: Sequence[Best], units: NDArray[np.str_]) -> dict[str, Figure]:
    """Return, for each study, its best loss less that of random search, with its interval."""
    baseline = next((best for best in found if best.name == BASELINE), None)
    if baseline is None:
        return {}
    return {
        best.name: difference(baseline.losses, best.losses, units, unit=_UNIT)
        for best in found
        if best.name != BASELINE
    }


def _importance(studies: Mapping[str, Study]) -> dict[str, float]:
    """Return the importance of each option over the trials of all samplers, the largest first."""
    joined = optuna.create_study(direction="minimize")
    for name, study in studies.items():
        if name != UNTUNED:
            joined.add_trials(complete(study))
    if len({trial.value for trial in joined.trials}) < _MIN_FOR_IMPORTANCE:
        return {}
    return get_param_importances(joined, evaluator=FanovaImportanceEvaluator(seed=1))


def _how(studies: Mapping[str, Study], units: NDArray[np.str_]) -> list[str]:
    study = next(iter(studies.values()))
    task = study.user_attrs["task"]
    seconds = [
        trial.duration.total_seconds()
        for held in studies.values()
        for trial in complete(held)
        if trial.duration
    ]
    height, width = task["crop"]
    return [
        f"Each trial trains {task['architecture']} {task['folds']} times for {task['epochs']} "
        f"epochs on parts of {height} x {width} px, inside the training part of the fixed split "
        f"alone. Its value is the log-loss of {len(units)} crops of {len(set(units.tolist()))} "
        "patient units that the training did not see, after Platt scaling; lower is better. "
        f"A complete trial took {np.median(seconds):.0f} s (median).",
        "",
        "The proxy ranks options. It does not say how good a model is, and the best of many trials "
        "looks better than it is, for every sampler alike.",
        "",
    ]


def _lines_of_table(found: Sequence[Best], gains: Mapping[str, Figure]) -> list[str]:
    lines = [
        "| search | trials (complete, pruned, failed) | lowest log-loss | "
        "less that of random search, 95 % interval |",
        "|---|---|---|---|",
    ]
    for best in found:
        gain = gains.get(best.name)
        told = "" if gain is None or gain.value is None else _interval(gain)
        ended = ", ".join(str(best.ended[key]) for key in ("complete", "pruned", "fail"))
        trials = f"{sum(best.ended.values())} ({ended})"
        lines.append(f"| {_TITLES[best.name]} | {trials} | {best.value:.4f} | {told} |")
    return [
        *lines,
        "",
        "The differences are paired crop by crop; their intervals are a bootstrap over patient "
        "units.",
        "",
    ]


def _interval(figure: Figure) -> str:
    return f"{figure.value:+.4f} ({figure.low:+.4f} to {figure.high:+.4f})"


def _lines_of_best(winner: Best) -> list[str]:
    lines = [
        f"## The best configuration, found by {_TITLES[winner.name]}",
        "",
        "| option | value |",
        "|---|---|",
    ]
    lines += [f"| `{name}` | {value:.4g} |" for name, value in winner.trial.params.items()]
    return [*lines, ""]


def _lines_of_space() -> list[str]:
    lines = ["## The space", "", "| option | sought | today | is |", "|---|---|---|---|"]
    lines += [f"| `{held.name}` | {held.range} | {held.today:g} | {held.means} |" for held in SPACE]
    return lines
