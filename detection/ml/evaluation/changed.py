"""Reads images again after a change, such as a blanked stone, corruption or 256 px."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.ml.data import Item, Sample
from detection.ml.evaluation.deletion import FILLS, without_other_patch, without_stone
from detection.ml.evaluation.levels import Judged, judge
from detection.ml.evaluation.readings import Reader, Reading
from detection.ml.evaluation.robustness import CORRUPTIONS
from detection.ml.evaluation.statistics import auc, bootstrap, difference, proportion, weighted_auc


def deletion_of(
    samples: Sequence[Sample],
    readings: dict[str, Reading],
    *,
    threshold: float,
    reader: Reader,
    report: Callable[[str], None],
    limit: int,
) -> list[dict[str, Any]]:
    """Read true positives again with boxed stones blanked, and with equal patches elsewhere.

    Returns
    -------
    list of dict
        For each source, kind of box, fill and place: the share of images that are still positive.
    """
    rows = []
    alike: dict[tuple[str, bool], list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.boxes and _is_stone(readings[sample.image], threshold):
            alike[sample.source, sample.has_loose_boxes].append(sample)
    for source, is_loose in sorted(alike):
        held = spread(alike[source, is_loose], limit)
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
    """Compare readings of corrupted images with the clean readings of the same items.

    Parameters
    ----------
    conditions : sequence of (str, int)
        Name of the corruption and severity, 1 to 5.

    Returns
    -------
    list of dict
        For each condition: accuracy, its change, area under the curve, and share refused.
    """
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
    """Compare the area under the ROC curve at full size and at 256 px, for each source."""
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


def spread(samples: Sequence[Sample], limit: int, *, seed: int = 5) -> list[Sample]:
    """Draw at most `limit` samples, in turns among the patient groups, by a fixed seed.

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


def _is_stone(reading: Reading, threshold: float) -> bool:
    return not reading.refusal and reading.probability >= threshold


def _unit(items: Sequence[Item]) -> str:
    return "half image" if any(item.half for item in items) else "image"
