"""Writes the page of a comparison: sentences, tables and a figure, all made from its rows."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detection.ml.card import Items, Picture, Section, Text, markdown, table
from detection.ml.combining.figure import draw_differences
from detection.ml.combining.paired import MIN_UNITS
from detection.ml.combining.rows import Row
from detection.ml.combining.sentences import advice, findings
from detection.ml.combining.wording import difference_text, figure_text, megabytes

_FEW_UNITS = 10
_MEMORY = (
    "The memory is that of a fresh process at its peak, libraries included: it opens the model and "
    "reads one canvas."
)


def write_page(metrics: dict[str, Any], *, rows: Sequence[Row], out: Path) -> None:
    """Write the page, its figure and its numbers beside it.

    Parameters
    ----------
    metrics : dict
        What the JSON file gets; its sentences are added.
    out : Path
        The page, such as `comparison.md`.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    picture = out.with_suffix(".png")
    draw_differences(rows, path=picture)
    metrics["findings"] = findings(metrics, rows)
    metrics["advice"] = advice(metrics, rows)
    out.with_suffix(".json").write_text(json.dumps(metrics, indent=1) + "\n", "utf-8")
    out.write_text(page_text(metrics, rows, picture=picture.name), "utf-8")


def page_text(metrics: dict[str, Any], rows: Sequence[Row], *, picture: str) -> str:
    """Write the page as Markdown."""
    reference = metrics["reference"]
    sections = [
        Section(
            "What was found",
            (
                Text(_head(metrics)),
                Items(tuple(metrics["findings"])),
                Text("**What to use when**"),
                Items(tuple(metrics["advice"])),
            ),
        ),
        Section("The models", (_models(metrics), Text(_MEMORY))),
        Section(
            "The differences",
            (
                Picture(
                    picture,
                    f"Paired differences to {reference} with 95 % intervals; right of 0 is better",
                ),
            ),
        ),
    ]
    shown = [row for row in rows if row.is_shown]
    for name in dict.fromkeys(row.section for row in shown):
        held = [row for row in shown if row.section == name]
        sections.append(Section(name, (*_remarks(name, held, metrics), _table(held, metrics))))
    return markdown("Comparison of the models", sections)


def _head(metrics: dict[str, Any]) -> str:
    data, others = metrics["data"], len(metrics["models"]) - 1
    return (
        f"{others} model{'s' if others > 1 else ''} against {metrics['reference']}, on the same "
        f"{data['images_read']} images of {data['units']} patient units of the test part. A "
        "difference is the figure of a model less that of the reference. Its interval comes from "
        f"{metrics['bootstrap']['draws']} draws of whole patient units, the same ones for both. A "
        "difference is shown if its 95 % interval leaves out 0, and if it rests on at least "
        f"{MIN_UNITS} patient units. Made by "
        "`python -m detection.ml compare`; every number is in the JSON file of the same name."
    )


def _models(metrics: dict[str, Any]) -> Any:
    rows = []
    for model in metrics["models"]:
        weights = {one["name"]: one["weight"] for one in model["members"]}
        members = ", ".join(f"{name} {weight:.2f}" for name, weight in weights.items())
        rows.append(
            (
                model["label"],
                f"`{model['name']}`",
                members or "itself",
                f"{model['threshold']:.3f}",
                megabytes(model["bytes"]),
                megabytes(model["memory"]),
            )
        )
    head = ("model", "bundle", "members and weights", "threshold", "served files", "memory at peak")
    return table(head, rows)


def _table(rows: Sequence[Row], metrics: dict[str, Any]) -> Any:
    labels = [model["label"] for model in metrics["models"]]
    lines = []
    for row in rows:
        counted = row.figures[metrics["reference"]]
        cells = [
            figure_text(row.figures[label], row.form)
            + (
                f"<br>{difference_text(row.differences[label], row.form)}"
                if label in row.differences
                else ""
            )
            for label in labels
        ]
        lines.append((row.what, f"{counted['n']} ({counted['groups']})", *cells))
    return table(("figure", "n (units)", *labels), lines)


def _remarks(name: str, rows: Sequence[Row], metrics: dict[str, Any]) -> list[Text]:
    """Say what must be known to read a table."""
    options, said = metrics["options"], []
    if name == "Verdicts":
        said.append(
            "Each model is judged at its own balanced threshold; an image that its gate refuses "
            "counts as wrong. Below each figure stands the difference, in bold where it is shown."
        )
    if name == "Finding the stones":
        said.append(
            "The share of boxed stones that a mark overlaps, at a threshold with so many marks "
            "beside any stone per image; images with tight boxes alone. Sizes are the longest "
            "side of the box in px of the image."
        )
    if name == "Robustness":
        severities = " and ".join(str(one) for one in options["severities"])
        said.append(
            f"The accuracy without the gate on {options['robustness_images']} images, the mean "
            f"over severities {severities} of 5. The same changed images were read by every model."
        )
    if name == "Deletion test":
        said.append(
            f"At most {options['deletion_images']} images a source that every model calls "
            "positive. Few should stay positive without their stones, and all without an equal "
            "patch elsewhere."
        )
    if name == "Time and size":
        said.append(
            f"The median from decoded image to answer on {options['threads']} threads of "
            f"{metrics['run']['processor'] or 'one processor'}, the models taking turns."
        )
    few = {
        row.figures[metrics["reference"]]["groups"]
        for row in rows
        if row.figures[metrics["reference"]]["unit"] != "file that is no CT"
    }
    if few and 0 < min(few) < _FEW_UNITS:
        said.append(
            f"Some rows rest on fewer than {_FEW_UNITS} patient units: their intervals are rough, "
            f"and with fewer than {MIN_UNITS} nothing is called shown."
        )
    return [Text(one) for one in said]
