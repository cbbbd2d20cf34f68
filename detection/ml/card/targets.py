"""The bar: the targets of the model on held-out patients, beside the measured figures."""

from typing import Any

IMAGE_SOURCE = "islam2022"
HALF_SOURCE = "yildirim2021"
# Images and correct answers of the published test, Yildirim et al. 2021.
PUBLISHED = (335, 346)
# Rows whose names begin so hold a number, not a share of items.
_NUMBERS = ("AUC", "ECE")


def bar_rows(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """Compare the metrics with the bar.

    Returns
    -------
    list of dict
        For each target: `what`, `sense` ("at least" or "at most"), `limit`, `kind` ("share" or
        "number"), `figure` (None if not measured) and `met`, whether the value meets the limit
        (None if not measured).
    """
    levels = metrics["levels"]
    images = levels.get(f"{IMAGE_SOURCE}, image", {})
    halves = levels.get(f"{HALF_SOURCE}, half, highest finding", {})
    best = None
    if halves:
        best = {**halves["best_accuracy"], "n": halves["n"], "groups": halves["groups"]}
    place = metrics["localisation"]
    found = [
        row["found"]
        for row in place.get("froc", [])
        if row["size"] == "all" and row["false_per_image"] == 0.5
    ]
    mild = [_lost(row["change"]) for row in metrics["mild"]]
    gate = metrics["gate"]
    ece = metrics["calibration"].get(f"{IMAGE_SOURCE}, image", {}).get("ece")
    stone = _deleted(metrics, "boxed stone")
    patch = _deleted(metrics, "equal patch elsewhere")
    falls = [row["fall"] for row in metrics["resolution"]]
    rows = [
        ("Islam, image: area under the ROC curve", "at least", 0.998, images.get("auc")),
        (
            "Islam, image: accuracy at the balanced point",
            "at least",
            0.99,
            _point(images, "accuracy"),
        ),
        (
            "Yildirim halves (highest finding): area under the ROC curve",
            "at least",
            0.995,
            halves.get("auc"),
        ),
        ("Yildirim halves (highest finding): best accuracy", "at least", 0.975, best),
        (
            "Best finding within 12 px of a boxed stone, Yildirim",
            "at least",
            0.985,
            place.get("pointing"),
        ),
        (
            "Stones found (any overlap) at 0.5 false findings an image, Yildirim",
            "at least",
            0.94,
            found[0] if found else None,
        ),
        ("Images that are no CT refused", "at least", 0.99, gate.get("not_ct_refused")),
        ("CT images refused", "at most", 0.02, gate.get("ct_refused")),
        (
            "Accuracy lost under mild corruption (the worst of four)",
            "at most",
            0.02,
            max(mild, key=_value, default=None),
        ),
        ("ECE, Islam", "at most", 0.03, ece),
        (
            'Boxed stone blanked (the worse of inpainting and local median): still "stone"',
            "at most",
            0.15,
            max(stone, key=_value, default=None),
        ),
        (
            'Equal patch elsewhere blanked: still "stone"',
            "at least",
            0.95,
            min(patch, key=_value, default=None),
        ),
        (
            "AUC lost at 256 px (the worse source)",
            "at most",
            0.01,
            max(falls, key=_value, default=None),
        ),
    ]
    return [_row(*row) for row in rows]


def _row(what: str, sense: str, limit: float, figure: dict[str, Any] | None) -> dict[str, Any]:
    value = figure["value"] if figure else None
    met = None
    if value is not None:
        met = value >= limit - 1e-12 if sense == "at least" else value <= limit + 1e-12
    kind = "number" if what.startswith(_NUMBERS) or "area under" in what else "share"
    return {
        "what": what,
        "sense": sense,
        "limit": limit,
        "kind": kind,
        "figure": figure,
        "met": met,
    }


def _point(held: dict[str, Any], name: str) -> dict[str, Any] | None:
    return held["points"]["balanced"][name] if held else None


def _deleted(metrics: dict[str, Any], blanked: str) -> list[dict[str, Any]]:
    return [
        row["still_stone"]
        for row in metrics["deletion"]
        if row["source"] == HALF_SOURCE and row["blanked"] == blanked and row["fill"] != "black"
    ]


def _lost(change: dict[str, Any]) -> dict[str, Any]:
    """Turn a change of accuracy into a loss."""
    return {
        **change,
        "value": _minus(change["value"]),
        "low": _minus(change["high"]),
        "high": _minus(change["low"]),
    }


def _minus(value: float | None) -> float | None:
    # `-value` would turn a loss of 0 into "-0.0".
    return None if value is None else 0.0 - value


def _value(figure: dict[str, Any]) -> float:
    return float("-inf") if figure["value"] is None else float(figure["value"])
