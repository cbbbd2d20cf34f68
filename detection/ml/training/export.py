"""From trained weights to a model bundle: calibrated, measured, and exported to ONNX."""

import importlib.metadata
import multiprocessing
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
from onnx import helper

from detection.ml.backbones import Backbone, backbone_of
from detection.ml.bundle import Bundle, building, publish
from detection.ml.calibration import apply_platt
from detection.ml.data import (
    PARTS,
    UNIT,
    Dataset,
    Sample,
    halved_sources,
    load_dataset,
    split,
    thin,
)
from detection.ml.errors import MLError
from detection.ml.preprocess import Preprocessing
from detection.ml.serving import open_network
from detection.ml.training.evaluate import MapLogits, Scores, measure, score
from detection.ml.training.gate_fit import fit_gate
from detection.ml.training.lineage import check_parts, judged
from detection.ml.training.network import (
    MAP_LAYER,
    feature_outputs,
    serving_network,
)
from detection.ml.training.operating_points import choose_operating_points, fit_platt
from detection.ml.training.pretrained import WEIGHTS_NAME, head_of, trained_network
from detection.ml.training.quantisation import MAX_LOSS, compare, quantise, store_as_float16

Report = Callable[[dict[str, Any]], None]
SERVING_NAME = "model.onnx"
DEFAULT_OPERATING_POINT = "balanced"
_CALIBRATION_IMAGES = 64


def export_bundle(
    *,
    weights: Path,
    out: Path,
    parts: dict[str, list[Sample]],
    dataset: Dataset,
    backbone: Backbone,
    preprocessing: Preprocessing,
    training: dict[str, Any],
    report: Report,
    held_out_weights: Path | None = None,
    parent: Bundle | None = None,
) -> Path:
    """Make a bundle of trained weights; its folder appears below `out` when it is complete.

    The validation part sets calibration, operating points, the precision that is served and the
    limits of the input gate; the test part is scored once, at the end, with exactly what is
    served.

    Parameters
    ----------
    weights : Path
        What `pretrained.save_weights` wrote.
    held_out_weights : Path, optional
        Where `weights` have seen the validation part: the same training without it. Precision,
        calibration and operating points are then set by these, whose logits of the validation
        part are those of unknown patients.
    parts : dict
        "train", "validation" and "test" samples.
    training : dict
        How the weights were trained, for the record.
    parent : Bundle, optional
        The bundle whose weights these are, if the new one is made to serve them in int8.

    Returns
    -------
    Path
        The bundle's folder.

    Raises
    ------
    MLError
        If the network cannot be exported, or if int8 loses too much for a bundle with a parent.
    """
    out.mkdir(parents=True, exist_ok=True)
    with building(out) as folder:
        shutil.copyfile(weights, folder / WEIGHTS_NAME)
        halved = halved_sources(dataset.samples)
        precision, served, comparison = _choose_precision(
            folder,
            held_out_weights=held_out_weights,
            parts=parts,
            halved=halved,
            backbone=backbone,
            preprocessing=preprocessing,
            report=report,
        )
        if parent and precision != "int8":
            raise MLError(_refused(comparison))
        calibration = fit_platt(served.logits, served.labels)
        probabilities = apply_platt(served.logits, calibration)
        points = choose_operating_points(
            probabilities, served.labels, unit=UNIT, groups=served.groups
        )
        threshold = points[DEFAULT_OPERATING_POINT]["threshold"]
        report({"stage": "calibrate", "fraction": 0.97, "message": "Measuring on the test part."})
        metrics: dict[str, Any] = {
            "validation": measure(served, calibration=calibration, threshold=threshold)
        }
        if parts["test"]:
            tested = _score(folder / SERVING_NAME, parts["test"], preprocessing, halved)
            metrics["test"] = measure(tested, calibration=calibration, threshold=threshold)
        report({"stage": "gate", "fraction": 0.98, "message": "Fitting the input gate."})
        gate = fit_gate(
            outputs=open_network(folder / SERVING_NAME),
            parts=parts,
            preprocessing=preprocessing,
            folder=folder,
        )
        data: dict[str, Any] = parent.manifest["data"] if parent else dataset.snapshot()
        made_with = provenance()
        if parent:
            made_with["parent"] = {"name": parent.name, "digest": parent.digest}
        return publish(
            folder,
            {
                "backbone": backbone.name,
                "architecture": architecture_text(backbone),
                "preprocessing": preprocessing.to_dict(),
                "calibration": calibration,
                "operating_points": points,
                "default_operating_point": DEFAULT_OPERATING_POINT,
                "metrics": metrics,
                "serving": {"file": SERVING_NAME, "precision": precision, "int8": comparison},
                "gate": gate,
                "training": {**training, **head_of(folder / WEIGHTS_NAME)},
                "data": data,
                "split": {part: len(held) for part, held in parts.items()},
                "provenance": made_with,
            },
            kind=backbone.name,
        )


def quantise_bundle(
    bundle: Bundle, *, data: Path, out: Path, report: Report, held_out: Bundle | None = None
) -> Path:
    """Make a new bundle of the same weights that is served in int8.

    Calibration, operating points, metrics and input gate are those of its own outputs. It has no
    series rule: that of the old bundle was set on other logits.

    Parameters
    ----------
    data : Path
        The folder of the data that the bundle was trained on.
    held_out : Bundle, optional
        A bundle of the same architecture that was trained on the training part alone. It decides
        where `bundle` has seen the validation part.

    Raises
    ------
    MLError
        If int8 loses too much, the parts of the folder are not those that the bundle was trained
        with, or the validation part is known to all the weights that are given.
    """
    report({"stage": "prepare", "fraction": 0.0, "message": "Reading the data folder."})
    dataset = load_dataset(data)
    parts = split(dataset.samples, parts=PARTS)
    sizes = {part: len(held) for part, held in parts.items()}
    for one in filter(None, (bundle, held_out)):
        check_parts(one, parts=sizes, fingerprint=dataset.fingerprint)
    judged(bundle, held_out, root=bundle.path.resolve().parent)
    training = {**bundle.manifest.get("training", {})}
    if held_out:
        training["calibrated_by"] = held_out.name
    return export_bundle(
        weights=bundle.path / WEIGHTS_NAME,
        held_out_weights=held_out.path / WEIGHTS_NAME if held_out else None,
        out=out,
        parts=parts,
        dataset=dataset,
        backbone=backbone_of(bundle.backbone),
        preprocessing=bundle.preprocessing,
        training=training,
        report=report,
        parent=bundle,
    )


def architecture_text(backbone: Backbone) -> str:
    """Say in a few words what a network with this backbone is: `architecture` of model.json."""
    *finer, deepest = [str(stage.stride) for stage in backbone.stages]
    return (
        f"{backbone.title} stone map, strides {', '.join(finer)} and {deepest} "
        f"joined at stride {Preprocessing.stride}"
    )


def export_float32(
    weights: Path, target: Path, *, backbone: Backbone, preprocessing: Preprocessing
) -> None:
    """Rebuild the float32 ONNX file from a bundle's float16 weights."""
    network = trained_network(
        weights, backbone=backbone, height=preprocessing.height, width=preprocessing.width
    )
    # Keras exports only a model that has been called.
    served = serving_network(network, backbone)
    served(np.zeros((1, preprocessing.height, preprocessing.width, 3), np.float32))
    served.export(str(target), format="onnx", verbose=False)
    _name_outputs(target, [MAP_LAYER, *feature_outputs(backbone)])


def _export_apart(
    weights: Path, target: Path, *, backbone: Backbone, preprocessing: Preprocessing
) -> None:
    """Run `export_float32` in a process of its own: its gigabytes go back when it ends.

    Raises
    ------
    MLError
        If it fails; the log then holds its last words.
    """
    process = multiprocessing.get_context("spawn").Process(
        target=export_float32,
        args=(weights, target),
        kwargs={"backbone": backbone, "preprocessing": preprocessing},
        daemon=True,
    )
    process.start()
    try:
        process.join()
    finally:
        # A stop that came while it ran must not leave it behind.
        process.kill()
    if process.exitcode != 0:
        raise MLError("The network could not be exported to ONNX: see the training's log.")


def _name_outputs(path: Path, names: list[str]) -> None:
    """Name the outputs of an ONNX file: the exporter numbers them."""
    model = onnx.load(str(path))
    for output, name in zip(model.graph.output, names, strict=True):
        node = helper.make_node("Identity", [output.name], [name], name=f"{name}_output")
        model.graph.node.append(node)
        output.name = name
    onnx.save(model, str(path))


def map_logits(path: Path) -> MapLogits:
    """Return an ONNX file as a function: uint8 `(n, h, w)` -> logits float32 `(n, h/8, w/8)`."""
    outputs = open_network(path)
    return lambda canvases: outputs(canvases)[0]


def _choose_precision(
    building: Path,
    *,
    held_out_weights: Path | None,
    parts: dict[str, list[Sample]],
    halved: frozenset[str],
    backbone: Backbone,
    preprocessing: Preprocessing,
    report: Report,
) -> tuple[str, Scores, dict[str, Any]]:
    """Write the file that is served to a folder that holds the weights.

    Returns
    -------
    precision : str
        "int8" or "float16".
    scores : Scores
        The validation part as the held-out weights, or else these, read it in this precision.
    comparison : dict
        As `quantisation.compare` makes it.
    """
    report({"stage": "export", "fraction": 0.9, "message": "Exporting the network to ONNX."})
    float32, int8 = building / "float32.onnx", building / "int8.onnx"
    weights = building / WEIGHTS_NAME
    chosen = thin(parts["train"], per_group=1, seed=0)[:_CALIBRATION_IMAGES]

    def export(source: Path) -> None:
        _export_apart(source, float32, backbone=backbone, preprocessing=preprocessing)

    export(held_out_weights or weights)
    report({"stage": "calibrate", "fraction": 0.92, "message": "Calibrating."})
    reference = _score(float32, parts["validation"], preprocessing, halved)
    report({"stage": "export", "fraction": 0.95, "message": "Quantising to int8."})
    quantise(float32, int8, samples=chosen, preprocessing=preprocessing)
    quantised = _score(int8, parts["validation"], preprocessing, halved)
    comparison = compare(reference, quantised, preprocessing=preprocessing)
    if held_out_weights:
        export(weights)
    if comparison["accepted"]:
        if held_out_weights:
            quantise(float32, int8, samples=chosen, preprocessing=preprocessing)
        os.replace(int8, building / SERVING_NAME)
    else:
        int8.unlink()
        store_as_float16(float32, building / SERVING_NAME)
    float32.unlink()
    if comparison["accepted"]:
        return "int8", quantised, comparison
    return "float16", reference, comparison


def _refused(comparison: dict[str, Any]) -> str:
    told = [
        f"AUC of {name} {figures['auc_float32']:.4f} to {figures['auc_int8']:.4f}"
        for name, figures in {"all": comparison, **comparison["sources"]}.items()
        if "auc_int8" in figures
    ]
    if comparison["froc_float32"] is not None:
        told.append(
            f"boxed stones found {comparison['froc_float32']:.4f} to {comparison['froc_int8']:.4f}"
        )
    return (
        f"int8 is not accepted, for it may lose {MAX_LOSS} of each: {'; '.join(told)}. "
        "No bundle was made."
    )


def _score(
    path: Path, samples: list[Sample], preprocessing: Preprocessing, halved: frozenset[str]
) -> Scores:
    return score(samples, map_logits=map_logits(path), preprocessing=preprocessing, halved=halved)


def provenance() -> dict[str, Any]:
    """Return what a bundle is made with: commit, time, Python, packages and backend."""
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        commit = ""
    packages = ("tensorflow-cpu", "keras", "onnxruntime", "numpy", "opencv-python-headless")
    versions = {}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "commit": commit,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "packages": versions,
        "backend": keras.config.backend(),
    }
