"""What a report measures on labelled readings: levels, operating points, subgroups, failures."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.ml.dataset import Sample
from detection.ml.deletion import FILLS, without_other_patch, without_stone
from detection.ml.items import LEFT, Item
from detection.ml.localisation import (
    FALSE_FINDINGS,
    Stones,
    froc_curve,
    match_stones,
    points_at_stone,
    size_classes,
    threshold_at,
)
from detection.ml.readings import Reader, Reading
from detection.ml.robustness import CORRUPTIONS
from detection.ml.statistics import (
    Figure,
    auc,
    best_accuracy,
    bootstrap,
    calibration,
    difference,
    predictive_values,
    proportion,
    rank_correlation,
    roc_curve,
    weighted_auc,
)

PREVALENCES = (0.05, 0.10, 0.30)
SIZE_NAMES = ("small", "middle", "large")
_TOP = 3


@dataclass(frozen=True)
class Judged:
    """Items with the scores, labels and patient groups that a level's figures need.

    `scores` are probabilities, float64 `(n,)`; an item whose image the gate refused is
    `refused`: it gets no verdict, and that counts as wrong.
    """

    unit: str
    scores: NDArray[np.float64]
    labels: NDArray[np.bool_]
    groups: NDArray[np.str_]
    refused: NDArray[np.bool_]

    def where(self, chosen: NDArray[np.bool_]) -> "Judged":
        """Return some of the items."""
        return Judged(
            unit=self.unit,
            scores=self.scores[chosen],
            labels=self.labels[chosen],
            groups=self.groups[chosen],
            refused=self.refused[chosen],
        )

    def correct(self, threshold: float) -> NDArray[np.bool_]:
        """Say which items get the right verdict."""
        return ((self.scores >= threshold) == self.labels) & ~self.refused


def judge(
    items: Sequence[Item],
    readings: dict[str, Reading],
    *,
    unit: str,
    score: Callable[[Reading, Item], float] = Reading.item_probability,
) -> Judged:
    """Score items by the readings of their images, keyed by the image's name."""
    held = [readings[item.sample.image] for item in items]
    return Judged(
        unit=unit,
        scores=np.array([score(r, i) for r, i in zip(held, items, strict=True)], np.float64),
        labels=np.array([item.is_stone for item in items], bool),
        groups=np.array([item.sample.group for item in items], str),
        refused=np.array([bool(r.refusal) for r in held], bool),
    )


def judge_groups(judged: Judged) -> Judged:
    """One item for each patient group: the mean of its three highest logits.

    Their probability is compared with the thresholds of single images: the highest of many
    images alone would raise false alarms with the number of images.
    """
    clipped = np.clip(judged.scores, 1e-9, 1 - 1e-9)
    logits = np.log(clipped / (1 - clipped))
    names = np.unique(judged.groups)
    means = [np.sort(logits[judged.groups == name])[-_TOP:].mean() for name in names]
    return Judged(
        unit="patient group",
        scores=1 / (1 + np.exp(-np.array(means))),
        labels=np.array([judged.labels[judged.groups == name].any() for name in names], bool),
        groups=names,
        refused=np.array([judged.refused[judged.groups == name].all() for name in names], bool),
    )


def level(judged: Judged, *, points: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Measure one level: area under the curve, best accuracy, and every operating point."""
    best, threshold = best_accuracy(judged.scores, judged.labels)
    false, true, _ = roc_curve(judged.scores, judged.labels)
    measured = {}
    for name, point in points.items():
        measured[name] = at_threshold(judged, threshold=float(point["threshold"]))
    return {
        "unit": judged.unit,
        "n": len(judged.labels),
        "stone": int(judged.labels.sum()),
        "groups": len(set(judged.groups.tolist())),
        "refused": int(judged.refused.sum()),
        "auc": auc(judged.scores, judged.labels, judged.groups, unit=judged.unit).to_dict(),
        "best_accuracy": {"value": best, "threshold": threshold},
        "points": measured,
        "roc": {"false": false.tolist(), "true": true.tolist()},
    }


def at_threshold(judged: Judged, *, threshold: float) -> dict[str, Any]:
    """Confusion matrix and shares at one threshold; what the gate refused counts as wrong."""
    called = (judged.scores >= threshold) & ~judged.refused
    cleared = (judged.scores < threshold) & ~judged.refused
    positive, negative = judged.labels, ~judged.labels
    sensitivity = proportion(called[positive], judged.groups[positive], unit=judged.unit)
    specificity = proportion(cleared[negative], judged.groups[negative], unit=judged.unit)
    result: dict[str, Any] = {
        "threshold": threshold,
        "confusion": {
            "true_positive": int((called & positive).sum()),
            "false_negative": int((cleared & positive).sum()),
            "false_positive": int((called & negative).sum()),
            "true_negative": int((cleared & negative).sum()),
            "refused_stone": int((judged.refused & positive).sum()),
            "refused_stone_free": int((judged.refused & negative).sum()),
        },
        "accuracy": proportion(
            judged.correct(threshold), judged.groups, unit=judged.unit
        ).to_dict(),
        "sensitivity": sensitivity.to_dict(),
        "specificity": specificity.to_dict(),
        "predictive_values": {},
    }
    for prevalence in PREVALENCES:
        values = predictive_values(sensitivity, specificity, prevalence=prevalence)
        result["predictive_values"][f"{prevalence:g}"] = {
            name: figure.to_dict() for name, figure in values.items()
        }
    return result


def calibration_of(judged: Judged) -> dict[str, Any]:
    """Calibration figures, and the reliability curve in bins of equal mass."""
    figures = calibration(judged.scores, judged.labels, judged.groups, unit=judged.unit)
    curve = []
    for chunk in np.array_split(np.argsort(judged.scores), min(15, len(judged.scores))):
        share = proportion(judged.labels[chunk], judged.groups[chunk], unit=judged.unit)
        curve.append({"probability": float(judged.scores[chunk].mean()), "stone": share.to_dict()})
    return {
        "unit": judged.unit,
        "n": len(judged.labels),
        **{name: figure.to_dict() for name, figure in figures.items()},
        "reliability": curve,
    }


def localisation_of(samples: Sequence[Sample], readings: dict[str, Reading]) -> dict[str, Any]:
    """Pointing game and FROC on images with tight boxes."""
    boxed = [s for s in samples if s.boxes and not s.has_loose_boxes]
    if not boxed:
        return {}
    held = [readings[sample.image] for sample in boxed]
    hits = np.array([points_at_stone(s, r) for s, r in zip(boxed, held, strict=True)], bool)
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


def deletion_of(
    samples: Sequence[Sample],
    readings: dict[str, Reading],
    *,
    threshold: float,
    reader: Reader,
    report: Callable[[str], None],
    limit: int,
) -> list[dict[str, Any]]:
    """Blank the boxed stones of true positives, and equal patches elsewhere, and read again."""
    rows = []
    by_source: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.boxes and _is_stone(readings[sample.image], threshold):
            by_source[sample.source].append(sample)
    for source in sorted(by_source):
        is_loose = by_source[source][0].has_loose_boxes
        held = spread(by_source[source], limit)
        for fill_name, fill in FILLS.items():
            if is_loose and fill_name != "inpainting":
                continue
            for what, change in (
                ("boxed stone", without_stone(fill)),
                ("equal patch elsewhere", without_other_patch(fill)),
            ):
                condition = f"{what} blanked by {fill_name}"
                answers = reader.read(held, condition=condition, change=change, report=report)
                flags = np.array([_is_stone(answer, threshold) for answer in answers], bool)
                groups = np.array([sample.group for sample in held], str)
                still = proportion(flags, groups, unit="true positive image")
                rows.append(
                    {
                        "source": source,
                        "boxes": "loose" if is_loose else "tight",
                        "fill": fill_name,
                        "blanked": what,
                        "still_stone": still.to_dict(),
                    }
                )
    return rows


def robustness_of(
    items: Sequence[Item],
    readings: dict[str, Reading],
    *,
    threshold: float,
    reader: Reader,
    conditions: Sequence[tuple[str, int]],
    report: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Read the items' images corrupted, and compare with the clean readings of the same items."""
    samples = list({item.sample.image: item.sample for item in items}.values())
    clean = judge(items, readings, unit="image or half image")
    before = (clean.scores >= threshold) == clean.labels
    rows = []
    for name, severity in conditions:
        kind = next(kind for kind in CORRUPTIONS if kind.name == name)
        answers = reader.read(
            samples,
            condition=kind.condition(severity),
            change=kind.change(severity),
            report=report,
        )
        corrupted = {s.image: a for s, a in zip(samples, answers, strict=True)}
        judged = judge(items, corrupted, unit="image or half image")
        after = (judged.scores >= threshold) == judged.labels
        answered = ~judged.refused
        refused = np.array([bool(answer.refusal) for answer in answers], bool)
        image_groups = np.array([sample.group for sample in samples], str)
        rows.append(
            {
                "name": name,
                "unit": kind.unit,
                "severity": severity,
                "strength": kind.strengths[severity - 1],
                "images": len(samples),
                "clean_accuracy": float(before.mean()),
                "accuracy": proportion(after, judged.groups, unit=judged.unit).to_dict(),
                "change": difference(
                    before.astype(np.float64),
                    after.astype(np.float64),
                    judged.groups,
                    unit=judged.unit,
                ).to_dict(),
                "auc": auc(judged.scores, judged.labels, judged.groups, unit=judged.unit).to_dict(),
                "refused": proportion(refused, image_groups, unit="image").to_dict(),
                "accuracy_answered": proportion(
                    after[answered], judged.groups[answered], unit=judged.unit
                ).to_dict(),
            }
        )
    return rows


def resolution_of(
    items: Sequence[Item], clean: dict[str, Reading], reduced: dict[str, Reading]
) -> list[dict[str, Any]]:
    """Compare the area under the curve at full size and at 256 px, for each source."""
    rows = []
    for source in sorted({item.sample.source for item in items}):
        held = [item for item in items if item.sample.source == source]
        one = judge(held, clean, unit=_unit(held))
        other = judge(held, reduced, unit=_unit(held))

        def fall(
            weights: NDArray[np.float64], one: Judged = one, other: Judged = other
        ) -> float | None:
            before = weighted_auc(one.scores, one.labels, weights)
            after = weighted_auc(other.scores, other.labels, weights)
            return None if before is None or after is None else before - after

        rows.append(
            {
                "source": source,
                "auc_full": auc(one.scores, one.labels, one.groups, unit=one.unit).to_dict(),
                "auc_256": auc(other.scores, other.labels, other.groups, unit=one.unit).to_dict(),
                "fall": bootstrap(fall, one.groups, unit=one.unit, resamples=1000).to_dict(),
            }
        )
    return rows


def brightness_of(
    samples: Sequence[Sample],
    readings: dict[str, Reading],
    *,
    feature: Callable[[NDArray[np.uint8]], float],
) -> list[dict[str, Any]]:
    """Rank correlation of probability with body brightness among stone-free images."""
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
    """Accuracy at the default threshold by source, finding, image size and stone size."""
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
    """List every miss, false alarm and refusal, the surest errors first."""
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


def spread(samples: Sequence[Sample], limit: int, *, seed: int = 5) -> list[Sample]:
    """Draw at most `limit` samples, taking turns among the patient groups, by a fixed seed.

    A smaller draw is the beginning of a larger one.
    """
    groups: dict[str, list[Sample]] = defaultdict(list)
    generator = np.random.default_rng(seed)
    ordered = sorted(samples, key=lambda sample: sample.image)
    for index in generator.permutation(len(ordered)):
        groups[ordered[index].group].append(ordered[index])
    turns = Counter[str]()
    ranked = []
    for place, (group, held) in enumerate(groups.items()):
        for sample in held:
            ranked.append((turns[group], place, sample))
            turns[group] += 1
    ranked.sort(key=lambda entry: entry[:2])
    return [sample for _, _, sample in ranked[:limit]]


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


def _is_stone(reading: Reading, threshold: float) -> bool:
    return not reading.refusal and reading.probability >= threshold


def _unit(items: Sequence[Item]) -> str:
    return "half image" if any(item.half for item in items) else "image"


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
