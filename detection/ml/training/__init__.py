"""Trains a network on a data folder and makes a bundle of it; importing it imports Keras."""

from detection.ml.training.augmentation import OFF, Augmentation, augment, without
from detection.ml.training.evaluate import measure, score
from detection.ml.training.export import export_float32
from detection.ml.training.gate_fit import WRONG_WAYS
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
    "OFF",
    "RANDOM",
    "TrainingOptions",
    "WEIGHTS_NAME",
    "WRONG_WAYS",
    "augment",
    "build_network",
    "bundle_trained",
    "choose_operating_points",
    "expected_calibration_error",
    "export_float32",
    "initialise",
    "measure",
    "operating_point",
    "score",
    "train",
    "without",
]
