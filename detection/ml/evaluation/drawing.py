"""What all figures have in common: their colours, axes and files."""

from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

_DPI = 100
# The palette of Okabe and Ito, which colour-blind readers can tell apart.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")


def new_axes(
    width: float,
    height: float,
    *,
    columns: int = 1,
    rows: int = 1,
    grid: Literal["both", "x", "y"] = "both",
) -> tuple[Figure, Any]:
    """Make a figure of a size in inches, and its axes as `pyplot.subplots` returns them."""
    figure, axes = plt.subplots(rows, columns, figsize=(width, height), layout="constrained")
    for axis in np.ravel(np.array(axes, object)):
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis=grid, color="#dddddd", linewidth=0.6)
        axis.set_axisbelow(True)
    return figure, axes


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG file and forget it."""
    figure.savefig(path, dpi=_DPI, metadata={"Software": ""})
    plt.close(figure)
