"""Draws the figures of a search as small PNG files."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator
from optuna.study import Study
from optuna.trial import TrialState

from detection.ml.evaluation import COLOURS, new_axes, save_figure
from detection.ml.tuning.samplers import SAMPLERS
from detection.ml.tuning.search import UNTUNED, spent

# The baseline, which comes first, is nearly black.
_COLOURS = dict(zip(SAMPLERS, ("#222222", *COLOURS), strict=False))


def draw_history(studies: Mapping[str, Study], titles: Mapping[str, str], path: Path) -> str:
    """Draw the lowest value so far against trials, a line a sampler; return the file's name."""
    figure, axis = new_axes(7.2, 4.2)
    for name, colour in _COLOURS.items():
        trials = spent(studies[name]) if name in studies else []
        values = np.array(
            [
                trial.value if trial.state == TrialState.COMPLETE and trial.value else np.inf
                for trial in trials
            ]
        )
        if not np.isfinite(values).any():
            continue
        so_far = np.minimum.accumulate(values)
        known = np.isfinite(so_far)
        number = np.arange(1, len(values) + 1)
        axis.step(
            number[known], so_far[known], where="post", color=colour, label=titles[name], marker="."
        )
        axis.plot(
            number[known & ~np.isfinite(values)],
            so_far[known & ~np.isfinite(values)],
            "x",
            color=colour,
            markersize=6,
        )
    if UNTUNED in studies and (untuned := spent(studies[UNTUNED])) and untuned[0].value:
        axis.axhline(untuned[0].value, color="#999999", linestyle=":", label=titles[UNTUNED])
    axis.set(xlabel="trials", ylabel="lowest log-loss so far")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(fontsize=8)
    save_figure(figure, path)
    return path.name


def draw_importance(importance: Mapping[str, float], path: Path) -> str:
    """Draw the importance of each option, the largest on top; return the file's name."""
    figure, axis = new_axes(6.4, 0.8 + 0.3 * len(importance))
    names = list(importance)
    axis.barh(names, [importance[name] for name in names], color=COLOURS[0], height=0.6)
    axis.invert_yaxis()
    axis.set(xlim=(0, 1), xlabel="importance")
    save_figure(figure, path)
    return path.name
