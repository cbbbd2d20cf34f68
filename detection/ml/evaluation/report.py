"""Measures a model on one part of the split and writes its model card."""

import io
import json
import math
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from detection.ml.backbones import backbone_of
from detection.ml.bundle import open_bundle
from detection.ml.card import PUBLISHED, bar_rows, card_text
from detection.ml.data import (
    HASH_BITS,
    MAX_DISTANCE,
    PARTS,
    Dataset,
    Item,
    Sample,
    halved_sources,
    judged_items,
    load_dataset,
    near_copies,
    split,
)
from detection.ml.evaluation import gate_table
from detection.ml.evaluation.baselines import body_brightness, load_baselines
from detection.ml.evaluation.changed import deletion_of, resolution_of, robustness_of, spread
from detection.ml.evaluation.figures import draw_figures
from detection.ml.evaluation.gallery import draw_gallery, gallery_credits
from detection.ml.evaluation.levels import Judged, calibration_of, judge, judge_groups, level
from detection.ml.evaluation.metrics import (
    baseline_rows,
    brightness_of,
    data_flow,
    failures_of,
    localisation_of,
    subgroups_of,
)
from detection.ml.evaluation.readings import Reader, Reading
from detection.ml.evaluation.robustness import CORRUPTIONS, MILD, at_256_px
from detection.ml.evaluation.statistics import RESAMPLES, SEED, proportion
from detection.ml.serving import CANNOT_ASSESS, Predictor, classify_paths
from detection.ml.training import WEIGHTS_NAME, export_float32

FORMAT = 1
METRICS_NAME = "metrics.json"
GALLERY_NAME = "failures.jpg"
Report = Callable[[str], None]


@dataclass(frozen=True)
class ReportOptions:
    """The numbers of images to read; the defaults take about ten minutes on two processor cores."""

    part: str = "test"
    robustness_images: int = 40
    mild_images: int = 160
    deletion_images: int = 150
    resolution_images: int = 300
    float32_images: int = 100
    gate_per_group: int = 1
    gate_made_images: int = 20
    threads: int = 2


def write_report(
    *,
    data: Path,
    out: Path,
    model: str | Path | None,
    root: Path,
    store: Path,
    not_ct: Path | None,
    baselines: Path | None,
    ablation: Path | None,
    options: ReportOptions,
    report: Report,
) -> dict[str, Any]:
    """Measure a model on one part of the split and write card, figures and metrics to `out`.

    Parameters
    ----------
    model : Path, optional
        The folder or the name of a bundle; by default the default bundle of `root`.
    store : Path
        A folder for readings, so that a repeated report reads no image twice.
    not_ct : Path, optional
        A folder of files that are no CT, for the input gate.
    baselines, ablation : Path, optional
        What the verbs `baselines` and `ablate` wrote.

    Returns
    -------
    dict
        The metrics, as written to `metrics.json`.

    Raises
    ------
    MLError
        If the model or the data cannot be used.
    """
    started = time.monotonic()
    bundle = open_bundle(model, roots=[root])
    dataset = load_dataset(data)
    parts = split(dataset.samples, parts=PARTS)
    samples = parts[options.part]
    reader = Reader(Predictor(bundle, threads=options.threads), store=store)
    readings = _by_image(samples, reader.read(samples, report=report))
    items = judged_items(samples, halved=halved_sources(dataset.samples))
    points = bundle.manifest["operating_points"]
    threshold = float(points["balanced"]["threshold"])

    levels = _levels(items, samples, readings)
    metrics: dict[str, Any] = {
        "format": FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "part": options.part,
        "model": _model(bundle.manifest, bundle.digest),
        "data": _data(dataset, parts),
        "levels": {name: level(judged, points=points) for name, judged in levels.items()},
        "calibration": {
            name: calibration_of(judged)
            for name, judged in levels.items()
            if "finding" not in name and "group" not in name
        },
        # Of the sources whose every box is tight: the others have pages of their own.
        "localisation": localisation_of(
            [sample for sample in samples if not sample.is_tightly_boxed], readings
        ),
        "subgroups": subgroups_of(items, readings, threshold=threshold),
        "failures": failures_of(items, readings, threshold=threshold),
        "brightness": brightness_of(samples, readings, feature=body_brightness),
    }
    report("deletion test")
    metrics["deletion"] = deletion_of(
        samples,
        readings,
        threshold=threshold,
        reader=reader,
        report=report,
        limit=options.deletion_images,
    )
    report("256 px")
    drawn = spread(samples, options.resolution_images)
    reduced = _by_image(
        drawn, reader.read(drawn, condition="256 px", change=at_256_px, report=report)
    )
    held = [item for item in items if item.sample.image in reduced]
    metrics["resolution"] = resolution_of(held, readings, reduced)
    report("robustness")
    for name, count, conditions in (
        ("mild", options.mild_images, MILD),
        (
            "robustness",
            options.robustness_images,
            [(kind.name, severity) for kind in CORRUPTIONS for severity in range(1, 6)],
        ),
    ):
        chosen = {sample.image for sample in spread(samples, count)}
        metrics[name] = robustness_of(
            [item for item in items if item.sample.image in chosen],
            readings,
            threshold=threshold,
            reader=reader,
            conditions=conditions,
            report=report,
        )
    report("gate")
    metrics["gate"] = _gate(
        samples,
        readings,
        not_ct=not_ct,
        predictor=reader.predictor,
        options=options,
    )
    metrics["precision"] = _precision(
        items, samples, readings, reader=reader, store=store, options=options, report=report
    )
    metrics["baselines"] = (
        baseline_rows(
            load_baselines(baselines, keys=[item.key for item in items]),
            items,
            readings,
            threshold=threshold,
        )
        if baselines
        else []
    )
    metrics["ablation"] = json.loads(ablation.read_text("utf-8")) if ablation else {}
    metrics["bar"] = bar_rows(metrics)
    metrics["published"] = _published()
    metrics["run"] = {
        "seconds": round(time.monotonic() - started),
        "images_read": reader.images_read,
        "seconds_an_image": _speed(reader, samples),
        "threads": options.threads,
        "processor": processor(),
        "python": platform.python_version(),
        "bootstrap_resamples": RESAMPLES,
        "bootstrap_seed": SEED,
    }
    report("figures")
    out.mkdir(parents=True, exist_ok=True)
    metrics["figures"] = draw_figures(metrics, out)
    shown = draw_gallery(
        metrics["failures"],
        samples={sample.image: sample for sample in samples},
        readings=readings,
        stone_map=reader.stone_map,
        path=out / GALLERY_NAME,
    )
    if shown:
        metrics["figures"][GALLERY_NAME] = (
            f"{shown} images with a miss, a false alarm or a refusal: boxes of the reference in "
            f"green, findings in orange. {gallery_credits(samples)}"
        )
    (out / METRICS_NAME).write_text(json.dumps(rounded(metrics), indent=1) + "\n", "utf-8")
    (out / "README.md").write_text(card_text(metrics), "utf-8")
    return metrics


def _levels(
    items: list[Item], samples: list[Sample], readings: dict[str, Reading]
) -> dict[str, Judged]:
    """Return the levels by name: each source by image or half, all images, all items, groups."""
    levels = {}
    for source in sorted({item.sample.source for item in items}):
        held = [item for item in items if item.sample.source == source]
        if any(item.half for item in held):
            unit = "half image"
            levels[f"{source}, half, pooled map"] = judge(held, readings, unit=unit)
            levels[f"{source}, half, highest finding"] = judge(
                held, readings, unit=unit, score=Reading.highest_finding
            )
        else:
            levels[f"{source}, image"] = judge(held, readings, unit="image")
    whole = [Item(sample=s, half="", is_stone=s.is_stone) for s in samples]
    if any(item.half for item in items):
        levels["all sources, image"] = judge(whole, readings, unit="image")
    levels["all sources, image or half"] = judge(items, readings, unit="image or half image")
    levels["all sources, patient group"] = judge_groups(judge(whole, readings, unit="image"))
    return levels


def _by_image(samples: list[Sample], readings: list[Reading]) -> dict[str, Reading]:
    return {sample.image: reading for sample, reading in zip(samples, readings, strict=True)}


def _model(manifest: dict[str, Any], digest: str) -> dict[str, Any]:
    """Copy from `model.json` what the card says of the model."""
    names = (
        "name", "architecture", "preprocessing", "calibration", "operating_points",
        "default_operating_point", "serving", "training", "split", "provenance", "data", "gate",
        "kind", "members", "combination",
    )  # fmt: skip
    return {"digest": digest, **{n: manifest[n] for n in names if n in manifest}}


def _data(dataset: Dataset, parts: dict[str, list[Sample]]) -> dict[str, Any]:
    return {
        **dataset.snapshot(),
        "flow": data_flow(parts),
        "parts": {
            name: {"images": len(held), "groups": len({s.group for s in held})}
            for name, held in parts.items()
        },
        # `split` raises if a patient group stands on two sides, so the check has passed here.
        "leak_check": "passed",
        "near_copies": {
            "found": len(near_copies(parts)),
            "bits": HASH_BITS,
            "most": MAX_DISTANCE,
        },
    }


def _gate(
    samples: list[Sample],
    readings: dict[str, Reading],
    *,
    not_ct: Path | None,
    predictor: Predictor,
    options: ReportOptions,
) -> dict[str, Any]:
    """Measure the shares of CT images and of files that are no CT that `classify` refuses.

    `kinds` counts refusals by kind: of the files, of made pictures, and of CT changed or turned.
    """
    refused = np.array([bool(readings[s.image].refusal) for s in samples], bool)
    groups = np.array([s.group for s in samples], str)
    result: dict[str, Any] = {
        "ct_refused": proportion(refused, groups, unit="CT image").to_dict(),
        "not_ct_refused": None,
    }
    files = sorted(path for path in not_ct.rglob("*") if path.is_file()) if not_ct else []
    if files:
        answers = _classified([str(path) for path in files], predictor=predictor)
        flags = np.array([answer["status"] == CANNOT_ASSESS for answer in answers], bool)
        # The patients behind these files are not known, so each file is a group of its own.
        names = np.array([str(index) for index in range(len(files))], str)
        result["not_ct_refused"] = proportion(flags, names, unit="file that is no CT").to_dict()
    per_group, made = options.gate_per_group, options.gate_made_images
    changed = gate_table.changed_rows(samples, predictor=predictor, per_group=per_group)
    result["kinds"] = [
        row.to_dict()
        for row in (
            *gate_table.file_rows(files, predictor=predictor),
            *gate_table.made_rows(predictor=predictor, count=made),
            *changed,
        )
    ]
    return result


def _precision(
    items: list[Item],
    samples: list[Sample],
    readings: dict[str, Reading],
    *,
    reader: Reader,
    store: Path,
    options: ReportOptions,
    report: Report,
) -> dict[str, Any]:
    """Compare the served network with its float32 weights on a draw of the same images.

    An ensemble has no precision of its own: the cards of its members tell theirs.
    """
    bundle = reader.predictor.bundle
    if bundle.manifest.get("serving", {}).get("precision") != "int8" or not options.float32_images:
        return {}
    report("float32")
    store.mkdir(parents=True, exist_ok=True)
    file = store / f"float32-{bundle.digest[:16]}.onnx"
    if not file.is_file():
        export_float32(
            bundle.path / WEIGHTS_NAME,
            file,
            backbone=backbone_of(bundle.backbone),
            preprocessing=bundle.preprocessing,
        )
    serving = {**bundle.manifest["serving"], "file": str(file.resolve())}
    exact = replace(bundle, manifest={**bundle.manifest, "serving": serving})
    exact_reader = Reader(Predictor(exact, threads=options.threads), store=store)
    drawn = spread(samples, options.float32_images)
    answers = exact_reader.read(drawn, condition="float32 weights", report=report)
    float32 = _by_image(drawn, answers)
    held = [item for item in items if item.sample.image in float32]
    served = judge(held, readings, unit="image or half image")
    full = judge(held, float32, unit="image or half image")
    result: dict[str, Any] = {
        "images": len(drawn),
        "items": len(held),
        "largest_probability_gap": float(np.abs(served.scores - full.scores).max()),
        "points": {},
    }
    for name, judged in (("int8", served), ("float32", full)):
        measured = level(judged, points=bundle.manifest["operating_points"])
        result[name] = {"auc": measured["auc"]}
        for point, row in measured["points"].items():
            result["points"].setdefault(point, {})[name] = {
                "sensitivity": row["sensitivity"]["value"],
                "specificity": row["specificity"]["value"],
            }
    return result


def _published() -> dict[str, Any]:
    right, total = PUBLISHED
    # The patients behind these images are not known, so each image is a group of its own.
    flags = np.arange(total) < right
    share = proportion(flags, np.arange(total).astype(str), unit="image")
    return {"yildirim2021": share.to_dict(), "islam2022_best_accuracy": 0.993}


def _speed(reader: Reader, samples: list[Sample]) -> float:
    """Return the median time from file to answer in seconds, over a few images after a first."""
    seconds = []
    for sample in samples[:9]:
        started = time.monotonic()
        _classified([str(sample.path)], predictor=reader.predictor)
        seconds.append(time.monotonic() - started)
    return round(float(np.median(seconds[1:] or seconds)), 3)


def _classified(paths: list[str], *, predictor: Predictor) -> list[dict[str, Any]]:
    """Return the objects that the verb `classify` prints."""
    printed = io.StringIO()
    classify_paths(paths, predictor=predictor, out=printed)
    return [json.loads(line) for line in printed.getvalue().splitlines()]


def processor() -> str:
    """Name the processor of this machine, as far as it is known."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if "model name" in line), "")


def rounded(value: Any) -> Any:
    """Round numbers to six significant digits, which keeps the file small."""
    if isinstance(value, dict):
        return {name: rounded(held) for name, held in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(held) for held in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
