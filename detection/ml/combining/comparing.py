"""Compares models with one of them on the same patients of the test part."""

import io
import json
import platform
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from detection.imaging.volume import Volume
from detection.ml.bundle import Bundle, open_bundle
from detection.ml.combining.maps import STORE_NAME, MapStore
from detection.ml.combining.measures import (
    COST,
    Readings,
    add_deletion,
    add_refusals,
    add_robustness,
    add_stones,
    add_verdicts,
    title,
)
from detection.ml.combining.page import write_page
from detection.ml.combining.paired import Flags, Patients
from detection.ml.combining.progress import Progress, Report
from detection.ml.combining.rows import Rows
from detection.ml.data import (
    PARTS,
    Sample,
    halved_sources,
    judged_items,
    load_dataset,
    split,
    split_units,
)
from detection.ml.errors import MLError
from detection.ml.evaluation import (
    CLEAN,
    CORRUPTIONS,
    FILLS,
    RESAMPLES,
    SEED,
    Change,
    Reader,
    Reading,
    processor,
    rounded,
    spread,
    without_other_patch,
    without_stone,
)
from detection.ml.serving import (
    NO_STONE,
    STONE,
    EnsembleNetwork,
    Predictor,
    classify_paths,
    peak_memory,
)

FORMAT = 1
# Images that are read between two lines of progress.
_CHUNK = 20
_PAUSE_SECONDS = 0.05
# What an ensemble costs whose members have been read already, in networks.
_MERGING = 0.05


@dataclass(frozen=True)
class CompareOptions:
    """How many images are read for what, and how often the patients are drawn.

    `images` limits the test part, for a first look.
    """

    images: int | None = None
    robustness_images: int = 16
    severities: tuple[int, ...] = (3, 5)
    fills: tuple[str, ...] = ("inpainting", "local median")
    deletion_images: int = 24
    timing_images: int = 20
    threads: int = 2
    draws: int = RESAMPLES


@dataclass(frozen=True, eq=False)
class _Model:
    """One model of the comparison; `cost` is the number of networks that only it has run."""

    label: str
    bundle: Bundle
    reader: Reader
    cost: float

    @property
    def threshold(self) -> float:
        return float(self.bundle.operating_point["threshold"])


class _Readers:
    """Reads the same images with every model, and tells how long it will take."""

    def __init__(self, models: Sequence[_Model], *, report: Report) -> None:
        self._models = models
        self._report = report
        self._progress: Progress | None = None
        self.images_read = 0

    def plan(self, readings: int) -> None:
        """Announce how many images every model will read."""
        total = readings * sum(model.cost for model in self._models)
        self._progress = Progress("images read", total=total, report=self._report)

    def read(
        self, samples: Sequence[Sample], *, condition: str = CLEAN, change: Change | None = None
    ) -> dict[str, dict[str, Reading]]:
        """Return the readings of each model, by its label, by image."""
        return {
            model.label: self._read(model, samples, condition, change) for model in self._models
        }

    def _read(
        self, model: _Model, samples: Sequence[Sample], condition: str, change: Change | None
    ) -> dict[str, Reading]:
        readings: dict[str, Reading] = {}
        for start in range(0, len(samples), _CHUNK):
            chunk = samples[start : start + _CHUNK]
            found = model.reader.read(chunk, condition=condition, change=change)
            readings |= {one.image: read for one, read in zip(chunk, found, strict=True)}
            if self._progress:
                self._progress.tick(model.cost * len(chunk))
        return readings


def compare(
    *,
    data: Path,
    models: Sequence[str],
    reference: str,
    out: Path,
    root: Path,
    work: Path,
    not_ct: Path | None,
    options: CompareOptions,
    report: Report,
) -> dict[str, Any]:
    """Measure models on the test part and write a page, its figure and its numbers.

    Parameters
    ----------
    models : sequence of str
        Names or folders of bundles, single networks or ensembles.
    reference : str
        The one of them with which the others are compared.
    out : Path
        The page; its figure and its numbers get the same name with another ending.
    work : Path
        A folder for maps and readings: no network reads the same picture twice.
    not_ct : Path, optional
        A folder of files that are no CT.

    Returns
    -------
    dict
        What is written to the JSON file.

    Raises
    ------
    MLError
        If a model or the data cannot be used.
    """
    started = time.monotonic()
    bundles = _bundles(models, reference=reference, root=root)
    store = MapStore(work / STORE_NAME)
    compared = _models(bundles, store=store, work=work, threads=options.threads)
    ours = compared[0].label
    dataset = load_dataset(data)
    samples = split(dataset.samples, parts=PARTS)["test"]
    if options.images is not None:
        samples = spread(samples, options.images)
    items = judged_items(samples, halved=halved_sources(dataset.samples))
    units = split_units(dataset.samples)
    patients = Patients(
        {sample.group: units[sample.group] for sample in samples}, draws=options.draws
    )
    thresholds = {model.label: model.threshold for model in compared}
    files = sorted(path for path in not_ct.rglob("*") if path.is_file()) if not_ct else []
    drawn = spread(samples, options.robustness_images)
    boxed = Counter(sample.source for sample in _boxed(samples))

    readers = _Readers(compared, report=report)
    readers.plan(
        len(samples)
        + len(drawn) * len(CORRUPTIONS) * len(options.severities)
        + sum(
            2 * len(options.fills) * min(options.deletion_images, count) for count in boxed.values()
        )
    )
    rows = Rows(reference=ours)
    readings = readers.read(samples)
    add_verdicts(rows, items, readings, thresholds=thresholds, patients=patients)
    add_stones(rows, samples, readings, patients=patients)
    chosen = {sample.image for sample in drawn}
    add_robustness(
        rows,
        [item for item in items if item.sample.image in chosen],
        _corrupted(drawn, readers, severities=options.severities),
        thresholds=thresholds,
        patients=patients,
    )
    report("files that are no CT")
    add_refusals(
        rows,
        samples,
        readings,
        {model.label: _without_verdict(model.reader.predictor, files) for model in compared}
        if files
        else {},
        patients=patients,
    )
    _deletion(rows, samples, readings, readers, thresholds, patients, options)
    report("time")
    _time(rows, compared, spread(samples, options.timing_images), patients, options)
    report("figures")
    metrics: dict[str, Any] = {
        "format": FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "part": "test",
        "reference": ours,
        "models": [_told(model, threads=options.threads) for model in compared],
        "data": {
            **dataset.snapshot(),
            "images_read": len(samples),
            "units": len({units[sample.group] for sample in samples}),
        },
        "options": asdict(options),
        "bootstrap": {"draws": options.draws, "seed": SEED},
        "rows": [asdict(row) for row in rows.rows],
        "run": {
            "seconds": round(time.monotonic() - started),
            "processor": processor(),
            "python": platform.python_version(),
        },
    }
    metrics = rounded(metrics)
    write_page(metrics, rows=rows.rows, out=out)
    return metrics


def _bundles(models: Sequence[str], *, reference: str, root: Path) -> list[Bundle]:
    """Load the models, the reference first."""
    found = {text: open_bundle(text, roots=[root]) for text in dict.fromkeys(models)}
    matching = [one for text, one in found.items() if reference in (text, one.name, one.backbone)]
    if len({one.name for one in matching}) != 1:
        raise MLError(f"--reference must name one of the models; {reference} does not.")
    others = {one.name: one for one in found.values() if one.name != matching[0].name}
    if not others:
        raise MLError("A comparison needs a model beside the reference.")
    return [matching[0], *others.values()]


def _models(
    bundles: Sequence[Bundle], *, store: MapStore, work: Path, threads: int
) -> list[_Model]:
    """Open the models with memory; an ensemble shares the networks of its members."""
    labels = _labels(bundles)
    run: set[str] = set()
    models = []
    for bundle, label in zip(bundles, labels, strict=True):
        members = bundle.networks or [bundle]
        networks = [store.network(member, threads=threads) for member in members]
        network = EnsembleNetwork(bundle, networks=networks) if bundle.is_ensemble else networks[0]
        digests = {member.digest for member in members}
        models.append(
            _Model(
                label=label,
                bundle=bundle,
                reader=Reader(Predictor(bundle, network=network), store=work),
                cost=len(digests - run) or _MERGING,
            )
        )
        run |= digests
    return models


def _labels(bundles: Sequence[Bundle]) -> list[str]:
    """Name each model by its backbone or its combination, and by its name where two are alike."""
    short = [
        f"ensemble, {bundle.manifest['combination']['method']}"
        if bundle.is_ensemble
        else bundle.backbone
        for bundle in bundles
    ]
    return [
        one if short.count(one) == 1 else bundle.name
        for one, bundle in zip(short, bundles, strict=True)
    ]


def _corrupted(
    samples: Sequence[Sample], readers: _Readers, *, severities: Sequence[int]
) -> dict[str, dict[int, Readings]]:
    return {
        kind.name: {
            severity: readers.read(
                samples, condition=kind.condition(severity), change=kind.change(severity)
            )
            for severity in severities
        }
        for kind in CORRUPTIONS
    }


def _deletion(
    rows: Rows,
    samples: Sequence[Sample],
    readings: Readings,
    readers: _Readers,
    thresholds: Mapping[str, float],
    patients: Patients,
    options: CompareOptions,
) -> None:
    """Blank stones, and equal patches elsewhere, on images that every model calls positive."""

    def is_stone(label: str, reading: Reading) -> bool:
        return not reading.refusal and reading.probability >= thresholds[label]

    agreed = [
        sample
        for sample in _boxed(samples)
        if all(is_stone(label, one[sample.image]) for label, one in readings.items())
    ]
    for source in sorted({sample.source for sample in agreed}):
        held = spread([one for one in agreed if one.source == source], options.deletion_images)
        for fill in options.fills:
            for what, change, is_stone_blanked in (
                ("boxed stone", without_stone(FILLS[fill]), True),
                ("equal patch elsewhere", without_other_patch(FILLS[fill]), False),
            ):
                condition = f"{what} blanked by {fill}"
                answers = readers.read(held, condition=condition, change=change)
                add_deletion(
                    rows,
                    f"{title(source)}: still positive with {condition}",
                    {
                        label: np.array([is_stone(label, one[s.image]) for s in held], bool)
                        for label, one in answers.items()
                    },
                    [sample.group for sample in held],
                    is_stone_blanked=is_stone_blanked,
                    patients=patients,
                )


def _boxed(samples: Sequence[Sample]) -> list[Sample]:
    return [one for one in samples if one.boxes and not one.has_loose_boxes]


def _without_verdict(predictor: Predictor, files: Sequence[Path]) -> Flags:
    """Mark the files that get no verdict from the verb `classify`."""
    printed = io.StringIO()
    classify_paths([str(path) for path in files], predictor=predictor, out=printed)
    answered = {
        told["path"]
        for told in map(json.loads, printed.getvalue().splitlines())
        if told["status"] in (STONE, NO_STONE)
    }
    return np.array([str(path) not in answered for path in files], bool)


def _time(
    rows: Rows,
    models: Sequence[_Model],
    samples: Sequence[Sample],
    patients: Patients,
    options: CompareOptions,
) -> None:
    """Add the median time from decoded image to answer, the models taking turns on each image."""
    predictors = {m.label: Predictor(m.bundle, threads=options.threads) for m in models}
    seconds: dict[str, list[float]] = {label: [] for label in predictors}
    order = list(predictors)
    for place, sample in enumerate(samples):
        volume = Volume(pixels=sample.read()[None], is_hu=False)
        for label in order[place % len(order) :] + order[: place % len(order)]:
            if place == 0:
                # The first image costs what is set up once.
                predictors[label].assess(volume)
            # The threads of the model before it still wait for work, and would take the processor.
            time.sleep(_PAUSE_SECONDS)
            began = time.perf_counter()
            predictors[label].assess(volume)
            seconds[label].append(time.perf_counter() - began)
    units = patients.of([sample.group for sample in samples])
    rows.add(
        COST,
        "seconds an image",
        {
            label: patients.median(np.array(taken), units, unit="image")
            for label, taken in seconds.items()
        },
        is_higher_better=False,
        form="seconds",
    )


def _told(model: _Model, *, threads: int) -> dict[str, Any]:
    bundle = model.bundle
    return {
        "label": model.label,
        "name": bundle.name,
        "digest": bundle.digest,
        "architecture": bundle.manifest.get("architecture", ""),
        "members": [asdict(member) for member in bundle.members],
        "threshold": model.threshold,
        "bytes": sum(one.serving_path.stat().st_size for one in bundle.networks or [bundle]),
        "memory": peak_memory(bundle, threads=threads),
    }
