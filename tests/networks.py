"""Bundles with real networks of a few operations, and ensembles of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from detection.ml.bundle import load_bundle, write_manifest
from detection.ml.preprocess import Preprocessing
from detection.ml.serving import GATE_NAME, Depth, Gate, write_gate

POINT = {
    "name": "balanced",
    "threshold": 0.5,
    "sensitivity": 0.9,
    "specificity": 0.8,
    "unit": "image",
}
CANVAS = Preprocessing()
CALIBRATION = {"slope": 1.0, "intercept": 0.0}


def network_bundle(
    root: Path,
    name: str,
    *,
    gain: float = 0.1,
    offset: float = -10.0,
    calibration: dict[str, float] = CALIBRATION,
    threshold: float = 0.5,
    gate_passes: bool | None = None,
    preprocessing: Preprocessing = CANVAS,
    **told: Any,
) -> Path:
    """Write a bundle whose network marks what is bright: gain * (brightest - mean) + offset.

    `gate_passes` gives it an input gate that passes, or refuses, every picture.
    """
    folder = root / name
    folder.mkdir(parents=True)
    onnx.save(_network(gain, offset), folder / "model.onnx")
    gate: dict[str, Any] = {}
    if gate_passes is not None:
        gate = {"file": GATE_NAME, **write_gate(_gate(gate_passes), folder / GATE_NAME)}
    write_manifest(
        folder,
        {
            "name": name,
            "backbone": name.partition("-")[0],
            "architecture": f"{name.partition('-')[0]} of a few operations",
            "preprocessing": preprocessing.to_dict(),
            "calibration": calibration,
            "operating_points": {"balanced": POINT | {"threshold": threshold}},
            "default_operating_point": "balanced",
            "serving": {"file": "model.onnx", "precision": "float32"},
            "metrics": {},
            "gate": gate,
            **told,
        },
    )
    return folder


def ensemble_bundle(
    root: Path,
    members: Sequence[Path],
    *,
    name: str = "ensemble-1",
    weights: Sequence[float] | None = None,
    **told: Any,
) -> Path:
    """Write an ensemble of bundles that lie below `root`."""
    weights = weights or [1 / len(members)] * len(members)
    bundles = [load_bundle(member) for member in members]
    folder = root / name
    folder.mkdir(parents=True)
    write_manifest(
        folder,
        {
            "kind": "ensemble",
            "name": name,
            "backbone": "ensemble",
            "architecture": f"Ensemble of {len(members)} networks",
            "preprocessing": bundles[0].manifest["preprocessing"],
            "calibration": CALIBRATION,
            "operating_points": {"balanced": POINT},
            "default_operating_point": "balanced",
            "metrics": {},
            "members": [
                {"name": bundle.name, "digest": bundle.digest, "weight": weight}
                for bundle, weight in zip(bundles, weights, strict=True)
            ],
            "combination": {"method": "mean"},
            **told,
        },
    )
    return folder


def _network(gain: float, offset: float) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("MaxPool", ["planes"], ["tops"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("ReduceMean", ["tops"], ["bright"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["bright", "gain"], ["gained"]),
        helper.make_node("Add", ["gained", "offset"], ["cells"]),
        helper.make_node("Transpose", ["cells"], ["map"], perm=[0, 2, 3, 1]),
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2], keepdims=0),
    ]
    numbers = {"gain": gain, "offset": offset}
    graph = helper.make_graph(
        nodes,
        "bright",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", "h", "w", 3])],
        [
            helper.make_tensor_value_info("map", TensorProto.FLOAT, ["n", "hc", "wc", 1]),
            helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["n", 3]),
        ],
        [numpy_helper.from_array(np.float32(value), name) for name, value in numbers.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def _gate(passes: bool) -> Gate:
    depth = Depth(
        mean=np.zeros(3, np.float32),
        components=np.eye(1, 3, dtype=np.float32),
        whitening=np.ones((1, 1), np.float32),
        memory=np.eye(3, dtype=np.float32),
    )
    limit = 1e6 if passes else -1e6
    return Gate(
        depths={"mean": depth},
        center=np.zeros(3, np.float32),
        scale=np.ones(3, np.float32),
        weights=np.zeros((3, 4), np.float32),
        bias=np.array([5, 0, 0, 0], np.float32),
        far=np.full(4, limit, np.float32),
        max_score=limit,
        min_upright=0.5,
    )
