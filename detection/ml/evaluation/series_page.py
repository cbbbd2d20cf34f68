"""Setting the series rule on runs of neighbouring slices, and the page that reports it."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from detection.imaging.ingest import ingest
from detection.imaging.phantoms import make_phantom_volume
from detection.imaging.volume import Volume, load_volume
from detection.ml.calibration import sigmoid, wilson_interval
from detection.ml.data import PARTS, load_dataset, split
from detection.ml.evaluation.series_runs import (
    RULE_NAME,
    SET_PARTS,
    Run,
    Way,
    by_rule,
    choose_rule,
    measure_runs,
    point_of,
    read_runs,
    ways_of,
    write_rule,
)
from detection.ml.serving import (
    STONE,
    Assessment,
    Predictor,
    SeriesRule,
    open_predictor,
    series_logit,
)

Report = Callable[[str], None]


def make_report(
    data: Path,
    *,
    root: Path,
    model: Path | None,
    samples: Sequence[Path],
    phantoms: int,
    is_written: bool,
    report: Report,
) -> str:
    """Set the rule on a data folder, make a bundle with it if asked to, and return the page.

    Parameters
    ----------
    root, model : Path
        The folder of bundles, and one of them instead of its default.
    samples : sequence of Path
        Files of volumes without a known diagnosis, to count on.
    phantoms : int
        How many stone-free bodies are drawn and read.
    report : callable
        Told what is being done, a line at a time.

    Raises
    ------
    MLError, ImageError
        If the data, the bundle or a sample cannot be read.
    """
    predictor = open_predictor(root=root, model=model)
    held = split(load_dataset(data).samples, parts=PARTS)
    parts = {}
    for name, part in held.items():
        report(f"reading the {name} part")
        parts[name] = read_runs(part, predictor)
    setting = [run for part in SET_PARTS for run in parts[part]]
    predictor.rule = choose_rule(setting, rule=predictor.rule)
    if is_written:
        way = Way(RULE_NAME, by_rule(predictor.rule), predictor.rule.threshold)
        measured = {name: measure_runs(runs, way) for name, runs in parts.items()}
        point = point_of(parts["test"], predictor.rule)
        predictor.bundle = write_rule(
            predictor.bundle, predictor.rule, point=point, measured=measured
        )
        report(f"made the bundle {predictor.bundle.name}")
    bodies = ((f"phantom {n}", body) for n, body in enumerate(stone_free_phantoms(phantoms), 1))
    return page(
        parts,
        predictor=predictor,
        phantoms=count_volumes(bodies, predictor, report=report),
        samples=count_volumes(open_samples(samples), predictor, report=report),
    )


def open_samples(paths: Sequence[Path]) -> Iterator[tuple[str, Volume]]:
    """Read files, folders and archives, one series after the other; name each by what it is."""
    with tempfile.TemporaryDirectory(prefix="series-") as folder:
        for path in paths:
            for series in ingest([path], target_folder=Path(folder)).series:
                yield series.description, load_volume(series.volume_path)


def stone_free_phantoms(count: int) -> Iterable[Volume]:
    """Make stone-free bodies one after the other, each of other anatomy and noise."""
    for number in range(count):
        yield make_phantom_volume(
            generator=np.random.default_rng([7, number]),
            slice_mm=(1.5, 2.0, 3.0)[number % 3],
            noise_hu=(8.0, 14.0, 22.0)[number % 3],
            has_arms=number % 2 == 1,
        ).volume


def count_volumes(
    volumes: Iterable[tuple[str, Volume]], predictor: Predictor, *, report: Report
) -> list[tuple[str, Volume, Assessment]]:
    """Read whole volumes; their pixels are let go, only what was found is kept."""
    read = []
    for name, volume in volumes:
        report(f"reading {name}")
        assessment = replace(predictor.assess(volume), stone_map=None)
        read.append((name, replace(volume, pixels=volume.pixels[:, :1, :1].copy()), assessment))
    return read


def page(
    parts: Mapping[str, Sequence[Run]],
    *,
    predictor: Predictor,
    phantoms: Sequence[tuple[str, Volume, Assessment]],
    samples: Sequence[tuple[str, Volume, Assessment]],
) -> str:
    """Write the page: the rule, what it is worth on runs, and what it says of volumes."""
    rule = predictor.rule
    setting = [run for part in SET_PARTS for run in parts[part]]
    ways = ways_of(setting, rule=rule, image_threshold=predictor.threshold)
    lines = [
        _HEAD.format(
            model=predictor.bundle.name,
            smooth=rule.smooth,
            run=rule.run,
            top=rule.top,
            threshold=rule.threshold,
            runs=len(setting),
            groups=sum(run.is_stone for run in setting),
        ),
        "| part | rule | threshold | n | sensitivity | specificity | AUC |",
        "|---|---|---:|---:|---|---|---:|",
    ]
    for part in (*SET_PARTS, "test"):
        for way in ways:
            counted = measure_runs(parts[part], way)
            auc = "" if counted["auc"] is None else f"{counted['auc']:.3f}"
            lines.append(
                f"| {part} | {way.name} | {way.threshold:.3f} | {counted['n']} "
                f"| {_proportion(*counted['sensitivity'])} "
                f"| {_proportion(*counted['specificity'])} | {auc} |"
            )
    is_refit = bool(predictor.bundle.manifest.get("training", {}).get("refit"))
    note = _RUNS_NOTE.format(
        trained="the training and the validation part" if is_refit else "the training part",
        whose="their" if is_refit else "its",
    )
    lines += ["", note, "", "## False alarms on stone-free phantoms", ""]
    lines += [*_alarms(phantoms, predictor), "", _PHANTOM_NOTE]
    if samples:
        lines += ["", "## Sample volumes, without a known diagnosis", "", *_counts(samples, rule)]
        lines += ["", _SAMPLES_NOTE]
    return "\n".join(lines) + "\n"


def _alarms(read: Sequence[tuple[str, Volume, Assessment]], predictor: Predictor) -> list[str]:
    total = len(read)
    planes: dict[str, Callable[[Assessment], Sequence[float | None]]] = {
        "axial": lambda one: one.slice_probabilities,
        "coronal": lambda one: one.coronal_probabilities,
    }
    rule = predictor.rule
    lines = ["| what is called an alarm | volumes with one |", "|---|---|"]
    called = sum(one.verdict == STONE for _, _, one in read)
    lines.append(f"| the volume, series rule in either plane | {_proportion(called, total)} |")
    for plane, probabilities in planes.items():
        by_rule = by_maximum = 0
        for _, _, one in read:
            logits = [None if p is None else _logit(p) for p in probabilities(one)]
            logit = series_logit(logits, rule)
            by_rule += logit is not None and float(sigmoid(np.array(logit))) >= rule.threshold
            held = [p for p in probabilities(one) if p is not None]
            by_maximum += bool(held) and max(held) >= predictor.threshold
        lines.append(f"| {plane}, series rule | {_proportion(by_rule, total)} |")
        lines.append(
            f"| {plane}, plain maximum at the image threshold | {_proportion(by_maximum, total)} |"
        )
    listed = sum(len(one.findings) for _, _, one in read)
    lines.append(f"| stones listed, in all volumes together | {listed} |")
    return lines


def _counts(read: Sequence[tuple[str, Volume, Assessment]], rule: SeriesRule) -> list[str]:
    lines = [
        "| volume | slices | read | slices at or above the threshold | coronal cuts at or above it "
        "| verdict | stones listed |",
        "|---|---:|---:|---:|---:|---|---:|",
    ]
    for name, volume, one in read:
        held = [p for p in one.slice_probabilities if p is not None]
        cuts = [p for p in one.coronal_probabilities if p is not None]
        above = sum(p >= rule.threshold for p in held)
        above_cuts = (
            f"{sum(p >= rule.threshold for p in cuts)} of {len(cuts)}" if cuts else "none made"
        )
        shown = "" if one.probability is None else f" ({one.probability:.2f})"
        lines.append(
            f"| {name} | {volume.pixels.shape[0]} | {len(held)} | {above} | {above_cuts} "
            f"| {one.verdict}{shown} | {len(one.findings)} |"
        )
    return lines


def _logit(probability: float) -> float:
    held = min(max(probability, 1e-9), 1 - 1e-9)
    return float(np.log(held / (1 - held)))


def _proportion(hits: int, total: int) -> str:
    if not total:
        return "0/0"
    low, high = wilson_interval(hits, total)
    return f"{hits}/{total} = {hits / total:.3f} ({low:.3f}-{high:.3f})"


_HEAD = """# The series rule

Not measured on volumes: no volume with a known diagnosis was at hand. Made with the model
`{model}` by `python -m detection.ml series DATA_FOLDER --out docs/model-card/series.md`.

## The rule

The pooled, calibrated logit of every slice is smoothed by a running median over {smooth} slices
and lowered to what {run} neighbouring slices reach together, so that one slice alone never makes
a series suspicious. The score of the series is the mean of the {top} highest values, as a
probability; a stone is suspected from {threshold:.3f} on. Axial slices and coronal slabs are
scored each by itself, and the more suspicious plane decides; where they disagree, the result says
so. A single image keeps the image rule.

The threshold was set on {runs} runs of neighbouring slices ({groups} with stones) of the training
and validation parts of the fixed split: halfway, on the logit scale, between the thresholds that
keep 98 % of sensitivity and of specificity. The test part was not looked at for it.

## Runs of neighbouring slices

Unit: one run. 95 % Wilson intervals; the runs of one patient (an axial and a coronal one) are not
independent, so that the true intervals are wider.
"""
_RUNS_NOTE = """The network was trained on {trained}, so that {whose} rows are too good. In
these runs every slice of a stone run shows a stone, and the runs without stones are mostly
contrast-enhanced: both make the task easier than a whole scan, where a stone is on few slices of
many."""
_PHANTOM_NOTE = """Drawn bodies of 220 mm with kidneys, liver, spleen, bowel, spine, ribs and a
table, every second one with arms beside it; slices of 1.5, 2 and 3 mm, noise of 8 to 22 HU. They
are unlike people: their ribs are round dense spots within fat, which the network, trained on
people alone, takes for stones in axial slices. These counts are no estimate of the false alarms in
patients; they are what one must expect of bodies the network does not know."""
_SAMPLES_NOTE = """Nobody has said whether these show stones: the counts are neither hits nor
false alarms."""
