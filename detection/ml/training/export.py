"""From trained weights to a model bundle: calibrated, measured, and exported to ONNX."""

import importlib.metadata
import math
import multiprocessing
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process

from detection.ml.backbones import Backbone
from detection.ml.bundle import load_bundle, write_manifest
from detection.ml.calibration import apply_platt
from detection.ml.data import UNIT, Dataset, Sample, halved_sources, thin
from detection.ml.errors import MLError
from detection.ml.preprocess import Preprocessing, letterbox, network_input
from detection.ml.serving import open_network
from detection.ml.training.evaluate import MapLogits, Scores, measure, score
from detection.ml.training.gate_fit import fit_gate
from detection.ml.training.network import (
    MAP_LAYER,
    build_network,
    feature_outputs,
    serving_network,
)
from detection.ml.training.operating_points import (
    choose_operating_points,
    fit_platt,
    operating_point,
)
from detection.ml.training.pretrained import WEIGHTS_NAME, assign_weights, load_arrays

Report = Callable[[dict[str, Any]], None]
SERVING_NAME = "model.onnx"
DEFAULT_OPERATING_POINT = "balanced"
# int8 is served if, on the validation part, it costs no more than this against float32.
_MAX_AUC_LOSS = 0.002
_MAX_POINT_SHIFT = 0.005
_CALIBRATION_IMAGES = 64
_CALIBRATION_STRIDE = 8


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

    Returns
    -------
    Path
        The bundle's folder.
    """
    out.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=".building-", dir=out))
    try:
        shutil.copyfile(weights, building / WEIGHTS_NAME)
        report({"stage": "export", "fraction": 0.9, "message": "Exporting the network to ONNX."})
        chosen = thin(parts["train"], per_group=1, seed=0)[:_CALIBRATION_IMAGES]
        judged = held_out_weights or building / WEIGHTS_NAME
        float32, int8 = building / "float32.onnx", building / "int8.onnx"
        _export_apart(judged, float32, backbone=backbone, preprocessing=preprocessing)
        report({"stage": "calibrate", "fraction": 0.92, "message": "Calibrating."})
        halved = halved_sources(dataset.samples)
        reference = _score(float32, parts["validation"], preprocessing, halved)
        report({"stage": "export", "fraction": 0.95, "message": "Quantising to int8."})
        quantise(float32, int8, samples=chosen, preprocessing=preprocessing)
        quantised = _score(int8, parts["validation"], preprocessing, halved)
        comparison = _compare(reference, quantised)
        if held_out_weights:
            _export_apart(
                building / WEIGHTS_NAME, float32, backbone=backbone, preprocessing=preprocessing
            )
        if comparison["accepted"]:
            precision, served = "int8", quantised
            if held_out_weights:
                quantise(float32, int8, samples=chosen, preprocessing=preprocessing)
            os.replace(int8, building / SERVING_NAME)
        else:
            precision, served = "float16", reference
            int8.unlink()
            store_as_float16(float32, building / SERVING_NAME)
        float32.unlink()
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
            tested = _score(building / SERVING_NAME, parts["test"], preprocessing, halved)
            metrics["test"] = measure(tested, calibration=calibration, threshold=threshold)
        report({"stage": "gate", "fraction": 0.98, "message": "Fitting the input gate."})
        gate = fit_gate(
            outputs=open_network(building / SERVING_NAME),
            parts=parts,
            preprocessing=preprocessing,
            folder=building,
        )
        made = time.strftime("%Y%m%d-%H%M%S")
        name = f"{backbone.name}-{made}-{dataset.fingerprint[:6]}"
        write_manifest(
            building,
            {
                "name": name,
                "backbone": backbone.name,
                "architecture": architecture_text(backbone),
                "preprocessing": preprocessing.to_dict(),
                "calibration": calibration,
                "operating_points": points,
                "default_operating_point": DEFAULT_OPERATING_POINT,
                "metrics": metrics,
                "serving": {"file": SERVING_NAME, "precision": precision, "int8": comparison},
                "gate": gate,
                "training": training,
                "data": dataset.snapshot(),
                "split": {part: len(held) for part, held in parts.items()},
                "provenance": _provenance(),
            },
        )
        os.chmod(building, 0o755)
        os.rename(building, out / name)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    load_bundle(out / name)
    return out / name


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
    network = build_network(backbone, height=preprocessing.height, width=preprocessing.width)
    assign_weights(network, load_arrays(weights))
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


def quantise(
    source: Path, target: Path, *, samples: list[Sample], preprocessing: Preprocessing
) -> None:
    """Quantise to int8: static, per channel, ranges from training images.

    The last convolutions of the head stay float32: the logits of small stones hang on them. So
    do the averages that are the gate's features: 256 levels are too few for a distance.
    """

    class Canvases(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self._inputs = self._read(samples)

        def __len__(self) -> int:
            return len(samples)

        def set_range(self, start_index: int, end_index: int) -> None:
            self._inputs = self._read(samples[start_index:end_index])

        def _read(self, chosen: list[Sample]) -> Iterator[dict[str, NDArray[np.float32]]]:
            for sample in chosen:
                canvas, _ = letterbox(sample.read(), preprocessing)
                yield {name: network_input(canvas[None])}

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            return next(self._inputs, None)

    prepared = target.with_suffix(".prepared.onnx")
    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    model = onnx.load(str(prepared))
    name = model.graph.input[0].name
    exact = [node.name for node in model.graph.node if node.op_type == "Conv"][-2:]
    averages = ("GlobalAveragePool", "ReduceMean", "Squeeze", "Identity")
    exact += [node.name for node in model.graph.node if node.op_type in averages]
    try:
        quantization.quantize_static(
            str(prepared),
            str(target),
            Canvases(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            # Seven bits for a weight: processors without VNNI add the products of eight in 16
            # bits and saturate, so that the same file would read otherwise there.
            reduce_range=True,
            nodes_to_exclude=exact,
            # What is collected of a few images at a time; of all of them it is gigabytes.
            extra_options={"CalibStridedMinMax": math.gcd(_CALIBRATION_STRIDE, len(samples))},
        )
    finally:
        prepared.unlink(missing_ok=True)


def store_as_float16(source: Path, target: Path) -> None:
    """Store large weights as float16 with a cast in front: half the file, float32 arithmetic."""
    model = onnx.load(str(source))
    graph = model.graph
    casts = []
    for initializer in list(graph.initializer):
        if initializer.data_type != TensorProto.FLOAT or len(initializer.raw_data) < 4096:
            continue
        array = numpy_helper.to_array(initializer)
        name = initializer.name
        graph.initializer.remove(initializer)
        graph.initializer.append(numpy_helper.from_array(array.astype(np.float16), f"{name}_f16"))
        casts.append(helper.make_node("Cast", [f"{name}_f16"], [name], to=TensorProto.FLOAT))
    for cast in reversed(casts):
        graph.node.insert(0, cast)
    onnx.save(model, str(target))


def _score(
    path: Path, samples: list[Sample], preprocessing: Preprocessing, halved: frozenset[str]
) -> Scores:
    return score(samples, map_logits=map_logits(path), preprocessing=preprocessing, halved=halved)


def _compare(reference: Scores, quantised: Scores) -> dict[str, Any]:
    """Say what int8 costs against float32, each read with the float32 calibration."""
    calibration = fit_platt(reference.logits, reference.labels)
    labels = reference.labels
    points = choose_operating_points(
        apply_platt(reference.logits, calibration), labels, unit=UNIT, groups=reference.groups
    )
    shift = 0.0
    for point in points.values():
        moved = operating_point(
            apply_platt(quantised.logits, calibration),
            labels,
            name=point["name"],
            threshold=point["threshold"],
            unit=UNIT,
        )
        for side in ("sensitivity", "specificity"):
            shift = max(shift, abs(moved[side] - point[side]))
    aucs = [
        measure(scores, calibration=calibration, threshold=0.5)["all"]["auc"]
        for scores in (reference, quantised)
    ]
    loss = aucs[0] - aucs[1]
    return {
        "auc_float32": aucs[0],
        "auc_int8": aucs[1],
        "largest_operating_point_shift": shift,
        "accepted": bool(loss <= _MAX_AUC_LOSS and shift <= _MAX_POINT_SHIFT),
    }


def _provenance() -> dict[str, Any]:
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
