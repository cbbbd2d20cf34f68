"""Draws the paired differences of a comparison with their intervals."""

from collections.abc import Sequence
from pathlib import Path

from detection.ml.combining.rows import Row
from detection.ml.evaluation import COLOURS, new_axes, save_figure

_COLOURS = (*COLOURS, "#000000")


def draw_differences(rows: Sequence[Row], *, path: Path) -> None:
    """Draw the differences of the shown rows that are shares or areas, in points."""
    drawn = [
        row
        for row in rows
        if row.is_shown
        and (row.form == "share" or row.is_main)
        and any(told["low"] is not None for told in row.differences.values())
    ]
    labels = list(drawn[0].differences) if drawn else []
    height = 1.2 + 0.11 * len(drawn) * (1 + len(labels))
    figure, axis = new_axes(9.6, height, grid="x")
    step = 0.8 / max(1, len(labels))
    for number, label in enumerate(labels):
        colour = _COLOURS[number % len(_COLOURS)]
        for place, row in enumerate(drawn):
            told = row.differences[label]
            if told["low"] is None:
                continue
            # Right of 0 is better, whatever the figure is.
            sign = 100.0 if row.is_higher_better else -100.0
            y = place - 0.4 + (number + 0.5) * step
            ends = (sign * told["low"], sign * told["high"])
            axis.plot(ends, (y, y), color=colour, linewidth=1.4)
            axis.plot(
                sign * told["value"], y, "o", color=colour, markersize=3.5,
                label=label if place == 0 else None,
            )  # fmt: skip
    axis.axvline(0, color="#444444", linewidth=0.8)
    axis.set_yticks(range(len(drawn)), [row.what for row in drawn], fontsize=7)
    axis.set_ylim(len(drawn) - 0.4, -0.6)
    axis.set_xscale("symlog", linthresh=1.0)
    axis.set_xlabel("difference in points, logarithmic beyond 1; right of 0 is better")
    axis.legend(fontsize=8, loc="lower right")
    save_figure(figure, path)
