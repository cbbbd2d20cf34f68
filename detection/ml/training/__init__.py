"""Trains a network on a data folder and makes a bundle of it; importing it imports Keras."""

from detection.ml.training.augmentation import OFF, Augmentation, augment, strengthened, without
from detection.ml.training.batches import TrainingBatches, canvas_boxes, crop_canvas
from detection.ml.training.evaluate import measure, score
from detection.ml.training.export import export_float32, provenance, quantise_bundle
from detection.ml.training.gate_fit import WRONG_WAYS
from detection.ml.training.lineage import Judged, check_parts, judged
from detection.ml.training.localisation import (
    FALSE_FINDINGS,
    Stones,
    froc_curve,
    match_stones,
    points_at_stone,
    size_classes,
    threshold_at,
)
from detection.ml.training.network import build_network, map_logits_of, set_trainable
from detection.ml.training.operating_points import (
    choose_operating_points,
    expected_calibration_error,
    fit_platt,
    operating_point,
)
from detection.ml.training.options import TrainingOptions
from detection.ml.training.pretrained import RANDOM, WEIGHTS_NAME, initialise, trained_network
from detection.ml.training.trainer import (
    Report,
    bundle_trained,
    compile_network,
    fit,
    network_of,
    train,
)

__all__ = [
    "Augmentation",
    "FALSE_FINDINGS",
    "Judged",
    "OFF",
    "RANDOM",
    "Report",
    "Stones",
    "TrainingBatches",
    "TrainingOptions",
    "WEIGHTS_NAME",
    "WRONG_WAYS",
    "augment",
    "build_network",
    "bundle_trained",
    "canvas_boxes",
    "check_parts",
    "choose_operating_points",
    "compile_network",
    "crop_canvas",
    "expected_calibration_error",
    "export_float32",
    "fit",
    "fit_platt",
    "froc_curve",
    "initialise",
    "judged",
    "map_logits_of",
    "match_stones",
    "measure",
    "network_of",
    "operating_point",
    "points_at_stone",
    "provenance",
    "quantise_bundle",
    "score",
    "set_trainable",
    "size_classes",
    "strengthened",
    "threshold_at",
    "train",
    "trained_network",
    "without",
]
