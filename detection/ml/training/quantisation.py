"""The precision that a network is served in: int8 where it costs nothing, else float16 weights."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process
from sklearn.metrics import roc_auc_score

from detection.ml.calibration import apply_platt
from detection.ml.data import UNIT, Sample
from detection.ml.preprocess import Preprocessing, letterbox, network_input
from detection.ml.training.evaluate import Scores, stones_found
from detection.ml.training.operating_points import choose_operating_points, fit_platt

# int8 is served if AUC and FROC fall by no more than this against float32.
MAX_LOSS = 0.002
FALSE_PER_IMAGE = 0.25
_CALIBRATION_STRIDE = 8


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


def compare(
    reference: Scores, quantised: Scores, *, preprocessing: Preprocessing
) -> dict[str, Any]:
    """Say what int8 costs against float32: `serving.int8` of `model.json`.

    Each network is read with the calibration and the operating points of its own logits. int8 is
    accepted if neither the AUC, of all items and of each source, nor the share of the boxed stones
    that are found at `FALSE_PER_IMAGE` false findings an image falls by more than `MAX_LOSS`. The
    shift of the operating points decides nothing.

    Parameters
    ----------
    reference, quantised : Scores
        Of the same samples, which neither network was trained on.
    """
    pair = (reference, quantised)
    calibrations = [fit_platt(scores.logits, scores.labels) for scores in pair]
    chosen = {"all": np.ones(len(reference.labels), bool)}
    chosen |= {name: reference.sources == name for name in sorted(set(reference.sources.tolist()))}
    aucs = {name: _aucs(pair, members) for name, members in chosen.items()}
    losses = [
        told["auc_float32"] - told["auc_int8"] for told in aucs.values() if "auc_int8" in told
    ]
    frocs = [
        stones_found(
            scores,
            calibration=calibration,
            preprocessing=preprocessing,
            false_per_image=FALSE_PER_IMAGE,
        )
        for scores, calibration in zip(pair, calibrations, strict=True)
    ]
    found = [froc["value"] if froc else None for froc in frocs]
    if found[0] is not None and found[1] is not None:
        losses.append(found[0] - found[1])
    return {
        **aucs.pop("all"),
        "sources": aucs,
        "froc_float32": found[0],
        "froc_int8": found[1],
        "false_per_image": FALSE_PER_IMAGE,
        "stones": frocs[0]["n"] if frocs[0] else 0,
        "largest_operating_point_shift": _largest_shift(pair, calibrations),
        # A loss of exactly the limit is none too many, whatever the last bit of a float says.
        "accepted": bool(losses) and max(losses) <= MAX_LOSS + 1e-9,
    }


def _aucs(pair: tuple[Scores, Scores], members: NDArray[np.bool_]) -> dict[str, Any]:
    """Count the items and measure both AUCs; items of one kind alone have none."""
    labels = pair[0].labels[members]
    told: dict[str, Any] = {"n": len(labels)}
    if 0 < labels.sum() < len(labels):
        for name, scores in zip(("float32", "int8"), pair, strict=True):
            told[f"auc_{name}"] = float(roc_auc_score(labels, scores.logits[members]))
    return told


def _largest_shift(pair: tuple[Scores, Scores], calibrations: list[dict[str, float]]) -> float:
    """Return by how much sensitivity or specificity of a point differs, each at its threshold."""
    before, after = (
        choose_operating_points(
            apply_platt(scores.logits, calibration), scores.labels, unit=UNIT, groups=scores.groups
        )
        for scores, calibration in zip(pair, calibrations, strict=True)
    )
    return max(
        abs(after[name][side] - before[name][side])
        for name in before
        for side in ("sensitivity", "specificity")
    )
