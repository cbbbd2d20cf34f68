"""Trains a network on a data folder and makes a bundle of it; importing it imports Keras."""

from detection.ml.training.augmentation import OFF, Augmentation, augment, without
from detection.ml.training.evaluate import measure, score
from detection.ml.training.export import export_float32, quantise_bundle
from detection.ml.training.gate_fit import WRONG_WAYS
from detection.ml.training.localisation import (
    FALSE_FINDINGS,
    Stones,
    froc_curve,
    match_stones,
    points_at_stone,
    size_classes,
    threshold_at,
)
from detection.ml.training.network import build_network
from detection.ml.training.operating_points import (
    choose_operating_points,
    expected_calibration_error,
    operating_point,
)
from detection.ml.training.pretrained import RANDOM, WEIGHTS_NAME, initialise
from detection.ml.training.trainer import TrainingOptions, bundle_trained, train

__all__ = [
    "Augmentation",
    "FALSE_FINDINGS",
    "OFF",
    "RANDOM",
    "Stones",
    "TrainingOptions",
    "WEIGHTS_NAME",
    "WRONG_WAYS",
    "augment",
    "build_network",
    "bundle_trained",
    "choose_operating_points",
    "expected_calibration_error",
    "export_float32",
    "froc_curve",
    "initialise",
    "match_stones",
    "measure",
    "operating_point",
    "points_at_stone",
    "quantise_bundle",
    "score",
    "size_classes",
    "threshold_at",
    "train",
    "without",
]
