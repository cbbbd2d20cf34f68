"""Says in plain sentences what a comparison shows and what to use when, from its rows alone."""

from collections.abc import Sequence
from typing import Any

from detection.ml.combining.measures import COST, MAIN_FALSE_FINDINGS, OVERALL, SMALL
from detection.ml.combining.rows import Row
from detection.ml.combining.wording import difference_text, listed, megabytes

# A model takes less space if it takes less than this share of the reference's.
_SHORT = 0.9
# Of so many differences one leaves out 0 by chance, if there is none.
_CHANCE = 20


def findings(metrics: dict[str, Any], rows: Sequence[Row]) -> list[str]:
    """Say which models are shown to be better or worse than the reference, and in what."""
    reference = metrics["reference"]
    labels = [m["label"] for m in metrics["models"] if m["label"] != reference]
    judged = [row for row in rows if row.is_shown and row.section != COST and row.judged()]
    said = []
    if not any(row.better() for row in judged):
        said.append(
            f"Nothing beats {reference}: in none of {len(judged)} figures does the interval of a "
            "difference leave out 0 in favour of another model."
        )
    for label in labels:
        better = [row for row in judged if label in row.better()]
        worse = [row for row in judged if label in row.worse()]
        if not better and not worse:
            said.append(f"{label}: no difference to {reference} is shown in any figure.")
            continue
        parts = [
            f"{word} in {listed([_told(row, label) for row in held])}"
            for word, held in (("better", better), ("worse", worse))
            if held
        ]
        rest = sum(label in row.judged() for row in judged) - len(better) - len(worse)
        said.append(
            f"{label} is {'; '.join(parts)}. In the other {rest} figures no difference is shown."
        )
    count = sum(len(row.judged()) for row in judged)
    said.append(
        f"These are {count} differences. If there were none at all, about "
        f"{round(count / _CHANCE)} of them would still leave out 0, by chance."
    )
    return said


def advice(metrics: dict[str, Any], rows: Sequence[Row]) -> list[str]:
    """Say what to use when."""
    said = [_default(metrics, rows), _fast(metrics, rows), *_special(metrics, rows)]
    smallest = min(metrics["models"], key=lambda model: float(model["bytes"]))
    ours = next(m for m in metrics["models"] if m["label"] == metrics["reference"])
    if smallest["bytes"] < _SHORT * ours["bytes"]:
        said.append(
            f"Where space is short: {smallest['label']}, {megabytes(smallest['bytes'])} against "
            f"{megabytes(ours['bytes'])} of {ours['label']}."
        )
    return said


def candidate(rows: Sequence[Row]) -> str:
    """Return the model that could be the default instead, or "".

    It is better in a main figure and worse in none; of several, the one that is better in most.
    """
    main = [row for row in rows if row.is_main]
    labels = main[0].differences if main else {}
    gains = {
        label: sum(label in row.better() for row in main)
        for label in labels
        if not any(label in row.worse() for row in main)
    }
    best = max(gains, key=lambda label: gains[label], default="")
    return best if best and gains[best] else ""


def _default(metrics: dict[str, Any], rows: Sequence[Row]) -> str:
    reference, best = metrics["reference"], candidate(rows)
    if not best:
        return (
            f"In general: {reference}, which stays the default. No other model is shown to be "
            "better in a main figure (AUC, accuracy, stones found at "
            f"{MAIN_FALSE_FINDINGS:g} false findings an image) without being worse in another."
        )
    better = [_told(row, best) for row in rows if row.is_main and best in row.better()]
    return (
        f"In general: {best}, which is better than {reference} in {listed(better)} and is shown "
        "to be worse in no main figure."
    )


def _fast(metrics: dict[str, Any], rows: Sequence[Row]) -> str:
    reference = metrics["reference"]
    row = next(row for row in rows if row.section == COST)
    seconds = {label: told["value"] for label, told in row.figures.items()}
    faster = [label for label in row.better() if seconds[label] is not None]
    if not faster:
        return f"Where time counts: {reference} too; no model is shown to be faster."
    best = min(faster, key=lambda label: float(seconds[label]))
    worse = [_told(one, best) for one in rows if one.is_main and best in one.worse()]
    price = f"it is worse in {listed(worse)}" if worse else "no loss in a main figure is shown"
    return (
        f"Where time counts: {best}, {seconds[best]:.2f} s an image against "
        f"{seconds[reference]:.2f} s of {reference}; {price}."
    )


def _special(metrics: dict[str, Any], rows: Sequence[Row]) -> list[str]:
    """Say which model to take for small stones and for poor images, where one is better."""
    said = []
    for words, chosen in (
        (
            f"For small stones ({SMALL})",
            [row for row in rows if f": {SMALL} at {MAIN_FALSE_FINDINGS:g} false" in row.what],
        ),
        ("For noisy or altered images", [row for row in rows if row.what == OVERALL]),
    ):
        gains = {
            label: [row for row in chosen if label in row.better()]
            for row in chosen
            for label in row.better()
            if not any(label in one.worse() for one in chosen)
        }
        if gains:
            best = max(gains, key=lambda label: len(gains[label]))
            said.append(
                f"{words}: {best}, better in {listed([_told(r, best) for r in gains[best]])}."
            )
        elif chosen:
            counted = " and ".join(str(row.figures[metrics["reference"]]["n"]) for row in chosen)
            said.append(f"{words}: no model is shown to be better (n = {counted}).")
    return said


def _told(row: Row, label: str) -> str:
    told = difference_text(row.differences[label], row.form).strip("*")
    unit = " points" if row.form == "share" else ""
    return f"{row.what} ({told.replace(' (', f'{unit}; ').rstrip(')')})"
