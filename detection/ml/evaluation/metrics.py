"""Measures labelled readings for a report: localisation, subgroups, failures, baselines."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.ml.data import LEFT, Item, Sample
from detection.ml.evaluation.levels import judge
from detection.ml.evaluation.readings import Reading
from detection.ml.evaluation.statistics import Figure, auc, proportion, rank_correlation
from detection.ml.training import (
    FALSE_FINDINGS,
    Stones,
    froc_curve,
    match_stones,
    points_at_stone,
    size_classes,
    threshold_at,
)

SIZE_NAMES = ("small", "middle", "large")


def localisation_of(samples: Sequence[Sample], readings: dict[str, Reading]) -> dict[str, Any]:
    """Measure the pointing game and FROC on images with tight boxes; {} without such images."""
    boxed = [s for s in samples if s.boxes and not s.has_loose_boxes]
    if not boxed:
        return {}
    held = [readings[sample.image].findings for sample in boxed]
    hits = np.array([points_at_stone(s, f) for s, f in zip(boxed, held, strict=True)], bool)
    groups = np.array([sample.group for sample in boxed], str)
    stones = match_stones(boxed, held)
    classes, limits = size_classes(stones.sides)
    rows = []
    for name, chosen in [("all", np.ones(len(classes), bool))] + [
        (SIZE_NAMES[number], classes == number) for number in range(3)
    ]:
        for allowed in FALSE_FINDINGS:
            threshold = threshold_at(stones, false_per_image=allowed)
            rows.append(
                {
                    "size": name,
                    "false_per_image": allowed,
                    "threshold": threshold,
                    "found": _found(stones, chosen, threshold).to_dict(),
                }
            )
    false, found = froc_curve(stones)
    curves = {"all": {"false": false.tolist(), "found": found.tolist()}}
    for number, name in enumerate(SIZE_NAMES):
        part = _only(stones, classes == number)
        false, found = froc_curve(part)
        curves[name] = {"false": false.tolist(), "found": found.tolist()}
    return {
        "images": len(boxed),
        "stones": len(stones.sides),
        "size_limits_px": limits,
        "false_findings": len(stones.false_scores),
        "pointing": proportion(hits, groups, unit="image with boxed stones").to_dict(),
        "froc": rows,
        "curves": curves,
    }


def brightness_of(
    samples: Sequence[Sample],
    readings: dict[str, Reading],
    *,
    feature: Callable[[NDArray[np.uint8]], float],
) -> list[dict[str, Any]]:
    """Measure the rank correlation of probability with a feature among stone-free images."""
    held = [sample for sample in samples if not sample.is_stone]
    kinds = ["all stone-free", *sorted({sample.finding for sample in held})]
    values = {sample.image: feature(sample.read()) for sample in held}
    rows = []
    for kind in kinds:
        chosen = [s for s in held if kind in ("all stone-free", s.finding)]
        figure = rank_correlation(
            np.array([values[s.image] for s in chosen], np.float64),
            np.array([readings[s.image].probability for s in chosen], np.float64),
            np.array([s.group for s in chosen], str),
            unit="stone-free image",
        )
        rows.append({"finding": kind, "correlation": figure.to_dict()})
    return rows


def subgroups_of(
    items: Sequence[Item], readings: dict[str, Reading], *, threshold: float
) -> list[dict[str, Any]]:
    """Measure accuracy at a threshold by source, finding, plane, half, image and stone size."""
    judged = judge(items, readings, unit="image or half image")
    correct = judged.correct(threshold)
    tight = [item for item in items if item.is_stone and _longest_side(item)]
    sides = np.array([_longest_side(item) for item in tight], np.float64)
    size_of: dict[str, str] = {}
    if len(sides):
        classes, limits = size_classes(sides)
        names = (
            f"largest stone up to {limits[0]:.0f} px",
            f"largest stone {limits[0]:.0f} to {limits[1]:.0f} px",
            f"largest stone above {limits[1]:.0f} px",
        )
        size_of = {i.key: names[int(c)] for i, c in zip(tight, classes, strict=True)}
    kinds: dict[str, Callable[[Item], str]] = {
        "source": lambda item: item.sample.source,
        "finding": lambda item: item.sample.finding if not item.half else _half_name(item),
        "plane": lambda item: item.sample.view or "not recorded",
        "image size": lambda item: (
            f"{readings[item.sample.image].width} x {readings[item.sample.image].height} px"
        ),
        "stone size": lambda item: size_of.get(item.key, ""),
        "side of the image": lambda item: f"{item.half} half" if item.half else "",
    }
    rows = []
    for kind, name_of in kinds.items():
        names_here = np.array([name_of(item) for item in items], str)
        for name in sorted(set(names_here.tolist()) - {""}):
            chosen = names_here == name
            share = proportion(correct[chosen], judged.groups[chosen], unit=judged.unit)
            rows.append({"kind": kind, "name": name, "accuracy": share.to_dict()})
    return rows


def failures_of(
    items: Sequence[Item], readings: dict[str, Reading], *, threshold: float
) -> list[dict[str, Any]]:
    """List every false alarm, miss and refusal, the surest errors of each kind first."""
    rows = []
    for item in items:
        reading = readings[item.sample.image]
        probability = reading.item_probability(item)
        if reading.refusal:
            kind = "refused"
        elif item.is_stone and probability < threshold:
            kind = "miss"
        elif not item.is_stone and probability >= threshold:
            kind = "false alarm"
        else:
            continue
        rows.append(
            {
                "kind": kind,
                "image": item.sample.image,
                "half": item.half,
                "source": item.sample.source,
                "finding": item.sample.finding,
                "group": item.sample.group,
                "probability": probability,
                "stone_px": _longest_side(item) or None,
                "reason": reading.refusal,
            }
        )
    rows.sort(key=lambda row: (row["kind"], -abs(float(str(row["probability"])) - threshold)))
    return rows


def data_flow(parts: dict[str, list[Sample]]) -> list[dict[str, Any]]:
    """Count images and patient groups of every source and finding in every part."""
    rows = []
    kinds = sorted({(s.source, s.finding) for held in parts.values() for s in held})
    for source, finding in kinds:
        row: dict[str, Any] = {"source": source, "finding": finding}
        for name, held in parts.items():
            chosen = [s for s in held if (s.source, s.finding) == (source, finding)]
            row[name] = {
                "images": len(chosen),
                "groups": len({s.group for s in chosen}),
                "boxed": sum(bool(s.boxes) for s in chosen),
            }
        rows.append(row)
    return rows


def baseline_rows(
    baselines: Sequence[dict[str, Any]],
    items: Sequence[Item],
    readings: dict[str, Reading],
    *,
    threshold: float,
) -> list[dict[str, Any]]:
    """Measure the baselines and the model on the same items, source by source."""
    unit = "image or half image"
    ours = judge(items, readings, unit=unit)
    sources = np.array([item.sample.source for item in items], str)
    candidates = [
        (str(row["name"]), str(row["title"]), str(row["how"]), float(row["threshold"]),
         np.array(row["scores"], np.float64))
        for row in baselines
    ]  # fmt: skip
    candidates.append(("model", "This model", "the stone map, pooled", threshold, ours.scores))
    rows = []
    for name, title, how, limit, scores in candidates:
        measured = {}
        for source in sorted(set(sources.tolist())):
            chosen = sources == source
            labels, groups = ours.labels[chosen], ours.groups[chosen]
            right = (scores[chosen] >= limit) == labels
            measured[source] = {
                "auc": auc(scores[chosen], labels, groups, unit=unit).to_dict(),
                "accuracy": proportion(right, groups, unit=unit).to_dict(),
            }
        rows.append({"name": name, "title": title, "how": how, "sources": measured})
    return rows


def _found(stones: Stones, chosen: NDArray[np.bool_], threshold: float) -> Figure:
    return proportion(stones.found(threshold)[chosen], stones.groups[chosen], unit="boxed stone")


def _only(stones: Stones, chosen: NDArray[np.bool_]) -> Stones:
    return Stones(
        scores=stones.scores[chosen],
        sides=stones.sides[chosen],
        groups=stones.groups[chosen],
        image_index=stones.image_index[chosen],
        false_scores=stones.false_scores,
        images=stones.images,
    )


def _half_name(item: Item) -> str:
    return "half with a boxed stone" if item.is_stone else "half without a boxed stone"


def _longest_side(item: Item) -> float:
    """Return the longest side of the item's largest tight box in px, 0 without one."""
    if item.sample.has_loose_boxes or not item.sample.boxes:
        return 0.0
    middle = item.sample.read().shape[1] / 2
    sides = [
        max(box.x1 - box.x0, box.y1 - box.y0)
        for box in item.sample.boxes
        if not item.half or ((box.x0 + box.x1) / 2 < middle) == (item.half == LEFT)
    ]
    return max(sides, default=0.0)
