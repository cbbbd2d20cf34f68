"""Draws the figures of a search as small PNG files."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from optuna.study import Study
from optuna.trial import TrialState

from detection.ml.tuning.search import UNTUNED, spent

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.ticker import MaxNLocator  # noqa: E402

_DPI = 100
# The palette of Okabe and Ito, which colour-blind readers can tell apart.
_COLOURS = {
    "random": "#222222",
    "tpe": "#0072b2",
    "cmaes": "#d55e00",
    "ga": "#009e73",
    "pso": "#cc79a7",
}


def draw_history(studies: Mapping[str, Study], titles: Mapping[str, str], path: Path) -> str:
    """Draw the lowest value so far against trials, a line a sampler; return the file's name."""
    axis = _axis(7.2, 4.2)
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
    return _save(path)


def draw_importance(importance: Mapping[str, float], path: Path) -> str:
    """Draw the importance of each option, the largest on top; return the file's name."""
    axis = _axis(6.4, 0.8 + 0.3 * len(importance))
    names = list(importance)
    axis.barh(names, [importance[name] for name in names], color="#0072b2", height=0.6)
    axis.invert_yaxis()
    axis.set(xlim=(0, 1), xlabel="importance")
    return _save(path)


def _axis(width: float, height: float) -> Axes:
    _, axis = plt.subplots(figsize=(width, height), layout="constrained")
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    return axis


def _save(path: Path) -> str:
    plt.gcf().savefig(path, dpi=_DPI, metadata={"Software": ""})
    plt.close("all")
    return path.name
