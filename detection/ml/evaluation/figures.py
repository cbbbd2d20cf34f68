"""Draws the figures of a report from its metrics, as small PNG files."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from detection.ml.evaluation.drawing import COLOURS, new_axes, save_figure


def draw_figures(metrics: dict[str, Any], folder: Path) -> dict[str, str]:
    """Draw the figures that the metrics allow; return their captions by file name."""
    captions = {}
    for name, draw, caption in (
        ("roc.png", _roc, "ROC curves of the test part; dots mark the balanced operating point."),
        (
            "reliability.png",
            _reliability,
            "Reliability: share of stone items against probability, bins of equal mass, "
            "95 % intervals.",
        ),
        ("froc.png", _froc, "Stones found against false findings an image, by stone size."),
        (
            "deletion.png",
            _deletion,
            "Deletion test: share of the true positives that stay above the threshold.",
        ),
        (
            "robustness.png",
            _robustness,
            "Accuracy at the balanced point under corruption, and share refused by the input gate.",
        ),
    ):
        figure = draw(metrics)
        if figure is not None:
            save_figure(figure, folder / name)
            captions[name] = caption
    return captions


def _roc(metrics: dict[str, Any]) -> Figure | None:
    figure, axes = new_axes(8.4, 4.0, columns=2)
    for axis in axes:
        for (name, held), colour in zip(metrics["levels"].items(), COLOURS, strict=False):
            area = held["auc"]["value"]
            if area is None:
                continue
            label = f"{name} ({area:.4f})"
            axis.step(
                held["roc"]["false"], held["roc"]["true"], where="post", color=colour, label=label
            )
            point = held["points"]["balanced"]
            axis.plot(
                1 - point["specificity"]["value"], point["sensitivity"]["value"], "o", color=colour
            )
        axis.set_xlabel("1 - specificity")
    axes[0].set_ylabel("sensitivity")
    axes[0].legend(fontsize=7, loc="lower right", title="AUC", title_fontsize=7)
    axes[1].set(xlim=(-0.005, 0.2), ylim=(0.8, 1.005), title="the upper left corner")
    return figure


def _reliability(metrics: dict[str, Any]) -> Figure | None:
    held = metrics["calibration"]
    figure, axes = new_axes(3.0 * len(held), 3.2, columns=len(held))
    for axis, (name, block), colour in zip(np.ravel(axes), held.items(), COLOURS, strict=False):
        axis.plot([0, 1], [0, 1], color="#999999", linewidth=0.8)
        x = [point["probability"] for point in block["reliability"]]
        y = [point["stone"]["value"] for point in block["reliability"]]
        low = [
            max(0.0, v - p["stone"]["low"]) for v, p in zip(y, block["reliability"], strict=True)
        ]
        high = [
            max(0.0, p["stone"]["high"] - v) for v, p in zip(y, block["reliability"], strict=True)
        ]
        axis.errorbar(x, y, yerr=[low, high], fmt="o-", color=colour, markersize=4, linewidth=1)
        ece = block["ece"]["value"]
        title = name if ece is None else f"{name}\nECE {ece:.3f}"
        axis.set(title=title, xlabel="probability", xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
        axis.title.set_fontsize(9)
    np.ravel(axes)[0].set_ylabel("share with a stone")
    return figure


def _froc(metrics: dict[str, Any]) -> Figure | None:
    held = metrics["localisation"]
    if not held:
        return None
    figure, axis = new_axes(5.6, 3.8)
    low, high = held["size_limits_px"]
    names = {
        "all": "all stones",
        "small": f"up to {low:.0f} px",
        "middle": f"{low:.0f} to {high:.0f} px",
        "large": f"above {high:.0f} px",
    }
    for (name, curve), colour in zip(held["curves"].items(), COLOURS, strict=False):
        if not curve["found"]:
            continue
        width = 2.0 if name == "all" else 1.1
        axis.step(
            [*curve["false"], 4.0],
            [*curve["found"], curve["found"][-1]],
            where="post",
            color=colour,
            label=names[name],
            linewidth=width,
        )
    axis.set(xlim=(0, 2.5), xlabel="false findings an image", ylabel="share of stones found")
    axis.set_ylim(min(0.6, axis.get_ylim()[0] + 0.2), 1.01)
    axis.legend(fontsize=8, loc="lower right")
    return figure


def _deletion(metrics: dict[str, Any]) -> Figure | None:
    rows = metrics["deletion"]
    if not rows:
        return None
    figure, axis = new_axes(7.2, 0.8 + 0.34 * len(rows))
    for place, row in enumerate(rows):
        share = row["still_stone"]
        colour = COLOURS[1] if row["blanked"] == "boxed stone" else COLOURS[0]
        axis.barh(place, share["value"], color=colour, height=0.6)
        axis.plot([share["low"], share["high"]], [place, place], color="#222222", linewidth=1)
    axis.set_yticks(
        range(len(rows)),
        [f"{r['source']}: {r['blanked']}, {r['fill']}" for r in rows],
        fontsize=8,
    )
    axis.invert_yaxis()
    axis.axvline(0.15, color=COLOURS[1], linestyle=":", linewidth=1)
    axis.axvline(0.95, color=COLOURS[0], linestyle=":", linewidth=1)
    axis.set(xlim=(0, 1.01), xlabel='share of the true positives that are still "stone"')
    return figure


def _robustness(metrics: dict[str, Any]) -> Figure | None:
    rows = metrics["robustness"]
    names = list(dict.fromkeys(row["name"] for row in rows))
    if not names:
        return None
    columns = 3
    figure, axes = new_axes(8.4, 2.1 * math.ceil(len(names) / columns), columns=columns,
                         rows=math.ceil(len(names) / columns))  # fmt: skip
    flat = list(np.ravel(axes))
    for axis, name in zip(flat, names, strict=False):
        _robustness_panel(axis, name, [row for row in rows if row["name"] == name])
    for axis in flat[len(names) :]:
        axis.set_visible(False)
    flat[0].legend(fontsize=6.5, loc="lower left")
    return figure


def _robustness_panel(axis: Axes, name: str, rows: list[dict[str, Any]]) -> None:
    x = list(range(len(rows) + 1))
    clean = rows[0]["clean_accuracy"]
    accuracy = [clean] + [row["accuracy"]["value"] for row in rows]
    low = [clean] + [row["accuracy"]["low"] for row in rows]
    high = [clean] + [row["accuracy"]["high"] for row in rows]
    refused = [0.0] + [row["refused"]["value"] for row in rows]
    axis.fill_between(x, low, high, color=COLOURS[0], alpha=0.15, linewidth=0)
    axis.plot(x, accuracy, "o-", color=COLOURS[0], markersize=3, label="accuracy without gate")
    axis.plot(x, refused, "s--", color=COLOURS[1], markersize=3, label="refused by the gate")
    axis.set_xticks(x, ["none"] + [f"{row['strength']:g}" for row in rows], fontsize=7)
    axis.tick_params(axis="y", labelsize=7)
    axis.set(ylim=(-0.03, 1.03))
    axis.set_title(f"{name} ({rows[0]['unit']})", fontsize=8)
