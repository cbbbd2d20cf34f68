"""Measures the readings of several models on the same images, figure by figure."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from detection.ml.calibration import logit
from detection.ml.combining.fitting import losses
from detection.ml.combining.paired import Flags, Floats, FoundStones, Measured, Names, Patients
from detection.ml.combining.rows import Rows
from detection.ml.data import Item, Sample
from detection.ml.evaluation import Reading, judge
from detection.ml.training import match_stones, points_at_stone

# From a model's label to its readings by image.
Readings = Mapping[str, Mapping[str, Reading]]

VERDICTS, CALIBRATION = "Verdicts", "Calibration"
STONES, ROBUSTNESS = "Finding the stones", "Robustness"
REFUSALS, DELETION, COST = "Refusals", "Deletion test", "Time and size"
FALSE_FINDINGS = (0.1, 0.25, 0.5)
MAIN_FALSE_FINDINGS = 0.25
# The longest side of a stone's box in px of its image: above the first, up to the second.
SIZES = (
    ("up to 5 px", 0.0, 5.0),
    ("5 to 8 px", 5.0, 8.0),
    ("8 to 13 px", 8.0, 13.0),
    ("over 13 px", 13.0, np.inf),
)
SMALL = SIZES[0][0]
OVERALL = "all corruptions: accuracy"
_HALVES = " halves"
_TITLES = {"islam2022": "Islam", "yildirim2021": "Yildirim"}


def add_verdicts(
    rows: Rows,
    items: Sequence[Item],
    readings: Readings,
    *,
    thresholds: Mapping[str, float],
    patients: Patients,
) -> None:
    """Add area under the curve, accuracy, sensitivity and specificity, and the calibration.

    Each model is judged at its own threshold. An image that its gate refuses counts as wrong.
    """
    for name, held in _levels(items).items():
        unit = "half image" if name.endswith(_HALVES) else "image or half image"
        judged = {label: judge(held, dict(one), unit=unit) for label, one in readings.items()}
        units = patients.of([item.sample.group for item in held])
        stone = np.array([item.is_stone for item in held], bool)
        rows.add(
            VERDICTS,
            f"{name}: AUC",
            {
                label: patients.auc(one.scores, stone, units, unit=unit)
                for label, one in judged.items()
            },
            is_main=True,
            form="number",
        )
        right = {label: one.correct(thresholds[label]) for label, one in judged.items()}
        for what, side in (
            ("accuracy", np.ones(len(held), bool)),
            ("sensitivity", stone),
            ("specificity", ~stone),
        ):
            rows.add(
                VERDICTS,
                f"{name}: {what}",
                {
                    label: patients.share(flags[side], units[side], unit=unit)
                    for label, flags in right.items()
                },
                is_main=what == "accuracy",
            )
        for what, measure, is_higher_better in _CALIBRATIONS:
            rows.add(
                CALIBRATION,
                f"{name}: {what}",
                {
                    label: measure(patients, one.scores, stone, units, unit)
                    for label, one in judged.items()
                },
                is_higher_better=is_higher_better,
                form="number",
            )


def add_stones(
    rows: Rows, samples: Sequence[Sample], readings: Readings, *, patients: Patients
) -> None:
    """Add pointing and FROC on images with tight boxes, by source, plane and size of the stone."""
    boxed: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.boxes and not sample.has_loose_boxes:
            boxed[f"{title(sample.source)} {sample.view}".strip()].append(sample)
    for name in sorted(boxed):
        held = boxed[name]
        units = patients.of([sample.group for sample in held])
        stones = {label: _stones(held, one, units) for label, one in readings.items()}
        for size, low, high in (("all stones", 0.0, np.inf), *SIZES):
            sides = stones[rows.reference].sides
            chosen = (sides > low) & (sides <= high)
            for allowed in FALSE_FINDINGS:
                rows.add(
                    STONES,
                    f"{name}: {size} at {allowed:g} false findings an image",
                    {
                        label: patients.found(
                            one, chosen, false_per_image=allowed, unit="boxed stone"
                        )
                        for label, one in stones.items()
                    },
                    is_main=size == "all stones" and allowed == MAIN_FALSE_FINDINGS,
                )
        rows.add(
            STONES,
            f"{name}: highest mark within 12 px of a stone",
            {
                label: patients.share(
                    np.array([points_at_stone(s, one[s.image].findings) for s in held], bool),
                    units,
                    unit="image with boxed stones",
                )
                for label, one in readings.items()
            },
        )


def add_robustness(
    rows: Rows,
    items: Sequence[Item],
    changed: Mapping[str, Mapping[int, Readings]],
    *,
    thresholds: Mapping[str, float],
    patients: Patients,
) -> None:
    """Add the accuracy without the gate on corrupted images, and the share that is refused.

    Parameters
    ----------
    changed : mapping
        From the name of a corruption and its severity to the readings of every model.
    """
    units = patients.of([item.sample.group for item in items])
    unit = "image or half image"
    right: dict[str, dict[str, list[Floats]]] = {}
    refused: dict[str, list[Floats]] = defaultdict(list)
    for name, severities in changed.items():
        right[name] = defaultdict(list)
        for severity, readings in severities.items():
            verdicts = {}
            for label, one in readings.items():
                judged = judge(items, dict(one), unit=unit)
                correct = (judged.scores >= thresholds[label]) == judged.labels
                verdicts[label] = patients.share(correct, units, unit=unit)
                right[name][label].append(correct.astype(np.float64))
                refused[label].append(judged.refused.astype(np.float64))
            rows.add(
                ROBUSTNESS, f"{name}: accuracy at severity {severity}", verdicts, is_shown=False
            )
        rows.add(ROBUSTNESS, f"{name}: accuracy", _joined(right[name], units, unit, patients))
    if not right:
        return
    everything: dict[str, list[Floats]] = defaultdict(list)
    for by_label in right.values():
        for label, several in by_label.items():
            everything[label] += several
    rows.add(ROBUSTNESS, OVERALL, _joined(everything, units, unit, patients))
    rows.add(
        REFUSALS,
        "corrupted CT images refused",
        _joined(refused, units, unit, patients),
        is_higher_better=False,
    )


def add_refusals(
    rows: Rows,
    samples: Sequence[Sample],
    readings: Readings,
    not_ct: Mapping[str, Flags],
    *,
    patients: Patients,
) -> None:
    """Add the shares of CT images and of files that are no CT that get no verdict.

    Parameters
    ----------
    not_ct : mapping
        From a label to the files without a verdict, bool `(n,)`; empty if none were tried.
    """
    units = patients.of([sample.group for sample in samples])
    refused = {
        label: np.array([bool(one[sample.image].refusal) for sample in samples], bool)
        for label, one in readings.items()
    }
    rows.add(
        REFUSALS,
        "CT images refused",
        {label: patients.share(flags, units, unit="CT image") for label, flags in refused.items()},
        is_higher_better=False,
    )
    if not not_ct:
        return
    # The patients behind these files are not known, so each file is a unit of its own.
    names = [str(index) for index in range(len(not_ct[rows.reference]))]
    files = Patients({name: name for name in names})
    rows.add(
        REFUSALS,
        "files that are no CT refused",
        {
            label: files.share(flags, np.array(names, str), unit="file that is no CT")
            for label, flags in not_ct.items()
        },
    )


def add_deletion(
    rows: Rows,
    name: str,
    flags: Mapping[str, Flags],
    groups: Sequence[str],
    *,
    is_stone_blanked: bool,
    patients: Patients,
) -> None:
    """Add the share of images that stay positive after something on them was blanked."""
    units = patients.of(groups)
    rows.add(
        DELETION,
        name,
        {
            label: patients.share(still, units, unit="image that every model calls positive")
            for label, still in flags.items()
        },
        is_higher_better=not is_stone_blanked,
    )


def _levels(items: Sequence[Item]) -> dict[str, list[Item]]:
    """Return all items, and those of each source, by name."""
    levels = {"all": list(items)}
    for source in sorted({item.sample.source for item in items}):
        held = [item for item in items if item.sample.source == source]
        halves = _HALVES if any(item.half for item in held) else ""
        levels[f"{title(source)}{halves}"] = held
    return levels


def _stones(
    samples: Sequence[Sample], readings: Mapping[str, Reading], units: Names
) -> FoundStones:
    # Image by image, so that each false finding keeps its image.
    matched = [match_stones([sample], [readings[sample.image].findings]) for sample in samples]
    places = np.arange(len(samples))
    return FoundStones(
        scores=np.concatenate([one.scores for one in matched]),
        images=np.repeat(places, [len(one.scores) for one in matched]),
        sides=np.concatenate([one.sides for one in matched]),
        false_scores=np.concatenate([one.false_scores for one in matched]),
        false_images=np.repeat(places, [len(one.false_scores) for one in matched]),
        image_units=units,
    )


def _joined(
    several: Mapping[str, list[Floats]],
    units: Names,
    unit: str,
    patients: Patients,
) -> dict[str, Measured]:
    """Measure the share over conditions of what holds for each item."""
    return {
        label: patients.rate(np.mean(held, axis=0), units, unit=unit)
        for label, held in several.items()
    }


def title(source: str) -> str:
    """Return the short name of a source."""
    return _TITLES.get(source, source)


def _log_loss(
    patients: Patients, scores: Floats, labels: Flags, units: Names, unit: str
) -> Measured:
    return patients.mean(losses(logit(scores), labels), units, unit=unit)


def _brier(patients: Patients, scores: Floats, labels: Flags, units: Names, unit: str) -> Measured:
    return patients.mean((scores - labels) ** 2, units, unit=unit)


_Measure = Callable[[Patients, Floats, Flags, Names, str], Measured]
# Name, measure and whether higher is better; of a slope neither is, since 1 is perfect.
_CALIBRATIONS: tuple[tuple[str, _Measure, bool | None], ...] = (
    ("expected calibration error", Patients.ece, False),
    ("Brier score", _brier, False),
    ("log-loss", _log_loss, False),
    ("calibration slope", Patients.slope, None),
)
