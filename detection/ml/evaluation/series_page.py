"""Setting the series rule on runs of neighbouring slices, and the page that reports it."""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.imaging.ingest import ingest
from detection.imaging.phantoms import KnownStone, PhantomVolume, make_phantom_volume, place_stones
from detection.imaging.volume import Volume, load_volume
from detection.ml.calibration import wilson_interval
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
    Finding,
    Predictor,
    SeriesRule,
    open_predictor,
)

Report = Callable[[str], None]
# A mark or a finding belongs to a drawn stone if it lies this near to it.
_NEAR_MM = 4.0


@dataclass(frozen=True)
class DrawnStone:
    """A drawn stone, whether the map marks it, and whether a finding of that height lists it."""

    hu: float
    slice_mm: float
    is_marked: bool
    is_listed: bool


@dataclass(frozen=True)
class StoneCounts:
    """What was found of drawn stones: the stones, and how many of the bodies were called."""

    stones: tuple[DrawnStone, ...]
    bodies: int
    called: int


def make_report(
    data: Path,
    *,
    root: Path,
    model: str | Path | None,
    samples: Sequence[Path],
    phantoms: int,
    is_written: bool,
    report: Report,
) -> str:
    """Set the rule on a data folder, make a bundle with it if asked to, and return the page.

    Parameters
    ----------
    root, model : Path
        The folder of bundles, and one of them by its folder or name instead of its default.
    samples : sequence of Path
        Files of volumes without a known diagnosis, to count on.
    phantoms : int
        How many bodies are drawn and read without stones, and how many with up to four.
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
        measured: dict[str, Any] = {name: measure_runs(runs, way) for name, runs in parts.items()}
        checked = predictor.checked_rule
        measured["checked"] = {
            "threshold": checked.threshold,
            "operating_point": point_of(parts["test"], checked),
        }
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
        stones=count_stones(stone_phantoms(phantoms), predictor, report=report),
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


def stone_phantoms(count: int) -> Iterator[PhantomVolume]:
    """Make bodies with four stones of 3 to 12 mm, every second one with small stones alone."""
    for number in range(count):
        generator = np.random.default_rng([11, number])
        sizes_mm = generator.uniform(3, 12 if number % 2 else 6, 4).tolist()
        densities_hu = generator.choice([300, 600, 1100], 4).tolist()
        yield make_phantom_volume(
            place_stones(sizes_mm, hu=densities_hu, generator=generator),
            generator=generator,
            slice_mm=(1.5, 2.0, 3.0, 5.0)[number % 4],
            noise_hu=(8.0, 14.0, 22.0)[number % 3],
            has_arms=number % 2 == 1,
            height_mm=120,
        )


def count_volumes(
    volumes: Iterable[tuple[str, Volume]], predictor: Predictor, *, report: Report
) -> list[tuple[str, Volume, Assessment]]:
    """Read whole volumes; of pixels and maps only the highest place of each slice is kept."""
    read = []
    for name, volume in volumes:
        report(f"reading {name}")
        seen = predictor.assess(volume)
        if seen.stone_map is not None:
            seen = replace(seen, stone_map=seen.stone_map.max(axis=(1, 2), keepdims=True))
        read.append((name, replace(volume, pixels=volume.pixels[:, :1, :1].copy()), seen))
    return read


def count_stones(
    drawn: Iterable[PhantomVolume], predictor: Predictor, *, report: Report
) -> StoneCounts:
    """Read bodies with stones; count what the network marks and what is left of it."""
    stones: list[DrawnStone] = []
    bodies = called = 0
    for body in drawn:
        bodies += 1
        report(f"reading phantom {bodies} with stones")
        seen = predictor.assess(body.volume)
        called += seen.verdict == STONE
        stones += [_seen(stone, body.volume, seen, predictor) for stone in body.stones]
    return StoneCounts(tuple(stones), bodies=bodies, called=called)


def _seen(stone: KnownStone, volume: Volume, seen: Assessment, predictor: Predictor) -> DrawnStone:
    assert volume.spacing_mm is not None
    assert seen.stone_map is not None
    spacing = np.array(volume.spacing_mm)
    place = np.linalg.inv(np.array(volume.affine_lps)) @ (*stone.centre_lps_mm, 1.0)
    at = place[2::-1]
    reach = (np.array(stone.diameters_mm[::-1]) / 2 + _NEAR_MM) / spacing
    reach[0] = stone.diameters_mm[2] / 2 / spacing[0] + 1
    scale = np.array(seen.stone_map.shape) / volume.pixels.shape
    low = np.maximum(np.floor((at - reach) * scale).astype(int), 0)
    high = np.ceil((at + reach + 1) * scale).astype(int)
    near = seen.stone_map[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    threshold = predictor.checked_rule.threshold
    return DrawnStone(
        hu=stone.hu,
        slice_mm=float(spacing[0]),
        is_marked=bool(near.max() >= threshold),
        is_listed=any(
            one.probability >= threshold and _holds(one, at, reach) for one in seen.findings
        ),
    )


def _holds(finding: Finding, at: NDArray[np.float64], reach: NDArray[np.float64]) -> bool:
    """Say whether a finding lies within reach of a place; both are (slice, row, column)."""
    x0, y0, x1, y1 = finding.box
    assert finding.slice_first is not None
    assert finding.slice_last is not None
    low = np.array([finding.slice_first, y0, x0]) - reach
    high = np.array([finding.slice_last, y1, x1]) + reach
    return bool(((low <= at) & (at <= high)).all())


def page(
    parts: Mapping[str, Sequence[Run]],
    *,
    predictor: Predictor,
    phantoms: Sequence[tuple[str, Volume, Assessment]],
    stones: StoneCounts,
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
            checked=predictor.checked_rule.threshold,
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
    networks = predictor.bundle.networks or [predictor.bundle]
    is_refit = any(one.manifest.get("training", {}).get("refit") for one in networks)
    note = _RUNS_NOTE.format(
        trained="the training and the validation part" if is_refit else "the training part",
        whose="their" if is_refit else "its",
    )
    lines += ["", note, "", "## False alarms on stone-free phantoms", ""]
    lines += [*_alarms(phantoms, predictor), "", _PHANTOM_NOTE]
    lines += ["", "## Drawn stones", "", *_stones(stones), "", _STONES_NOTE]
    if samples:
        lines += ["", "## Sample volumes, without a known diagnosis", ""]
        lines += _counts(samples, predictor.checked_rule)
        lines += ["", _SAMPLES_NOTE]
    return "\n".join(lines) + "\n"


def _alarms(read: Sequence[tuple[str, Volume, Assessment]], predictor: Predictor) -> list[str]:
    threshold = predictor.checked_rule.threshold
    total = len(read)
    marked = sum(
        one.stone_map is not None and bool(one.stone_map.max() >= threshold) for _, _, one in read
    )
    called = sum(one.verdict == STONE for _, _, one in read)
    listed = sum(len(one.findings) for _, _, one in read)
    return [
        "| what is called an alarm | volumes with one |",
        "|---|---|",
        f"| the map reaches the threshold somewhere | {_proportion(marked, total)} |",
        f"| the volume is called, after the check of the marks | {_proportion(called, total)} |",
        f"| stones listed, in all volumes together | {listed} |",
    ]


def _stones(counts: StoneCounts) -> list[str]:
    lines = [
        "| stones | drawn | marked by the network | listed | lost by the check, of the marked |",
        "|---|---:|---:|---:|---|",
    ]
    kinds = Counter((one.slice_mm, one.hu) for one in counts.stones)
    groups = [
        (f"{hu:.0f} HU, slices of {slice_mm:.1f} mm", {(slice_mm, hu)})
        for slice_mm, hu in sorted(kinds)
    ]
    for name, kind in [*groups, ("all", set(kinds))]:
        held = [one for one in counts.stones if (one.slice_mm, one.hu) in kind]
        marked = [one for one in held if one.is_marked]
        lost = sum(not one.is_listed for one in marked)
        listed = sum(one.is_listed for one in held)
        share = _proportion(lost, len(marked))
        lines.append(f"| {name} | {len(held)} | {len(marked)} | {listed} | {share} |")
    lines += ["", f"Bodies called: {_proportion(counts.called, counts.bodies)}."]
    return lines


def _counts(read: Sequence[tuple[str, Volume, Assessment]], rule: SeriesRule) -> list[str]:
    lines = [
        "| volume | slices | read | slices whose map reaches the threshold | slices at or above it "
        "| verdict | stones listed |",
        "|---|---:|---:|---:|---:|---|---:|",
    ]
    for name, volume, one in read:
        held = [p for p in one.slice_probabilities if p is not None]
        above = sum(p >= rule.threshold for p in held)
        marked = 0 if one.stone_map is None else int((one.stone_map >= rule.threshold).sum())
        shown = "" if one.probability is None else f" ({one.probability:.2f})"
        lines.append(
            f"| {name} | {volume.pixels.shape[0]} | {len(held)} | {marked} | {above} "
            f"| {one.verdict}{shown} | {len(one.findings)} |"
        )
    return lines


def _proportion(hits: int, total: int) -> str:
    if not total:
        return "0/0"
    low, high = wilson_interval(hits, total)
    return f"{hits}/{total} = {hits / total:.3f} ({low:.3f}-{high:.3f})"


_HEAD = """# The series rule

Not measured on volumes: no volume with a known diagnosis was at hand. Made with the model
`{model}`
by `python -m detection.ml series DATA_FOLDER --out docs/model-card/series.md`.

## The rule

**Volumes in Hounsfield units.** A mark counts only if it holds a compact dense object
(`detection/imaging/measure/dense.py`). The highest slice decides: its probability, pooled without
the marks that do not stand, is the score of the series. A stone is suspected from {checked:.3f} on,
the threshold of single images, so that a slice and its series give one answer.

**Stacks without Hounsfield units**, whose marks cannot be checked. The pooled, calibrated logit of
every slice is smoothed by a running median over {smooth} slices and lowered to what {run}
neighbouring slices reach together, so that one slice alone never makes a series suspicious. The
score of the series is the mean of the {top} highest values; a stone is suspected from
{threshold:.3f} on. A single image keeps the image rule.

The second threshold was set on {runs} runs of neighbouring slices ({groups} with stones) of the
training and validation parts of the fixed split: halfway, on the logit scale, between the
thresholds that keep 98 % of sensitivity and of specificity. The test part was not looked at for it.

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
people alone, takes for stones. These counts are no estimate of the false alarms in patients."""
_STONES_NOTE = """Bodies of 120 mm with a stone of 3 to 12 mm in each pole of the kidneys, every
second body with stones below 6 mm alone. "Marked": the map reaches the threshold at the stone.
Drawn stones say nothing about how often a stone in a person is found; they tell what the check
costs."""
_SAMPLES_NOTE = """Nobody has said whether these show stones: the counts are neither hits nor
false alarms."""
