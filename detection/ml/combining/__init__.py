"""Builds ensembles of trained networks and compares models on the same patients."""

from detection.ml.combining.building import BEST, CombineOptions, combine
from detection.ml.combining.comparing import CompareOptions, compare
from detection.ml.combining.fitting import METHODS
from detection.ml.combining.folds import crossfit
from detection.ml.combining.predictions import predict

__all__ = [
    "BEST",
    "METHODS",
    "CombineOptions",
    "CompareOptions",
    "combine",
    "compare",
    "crossfit",
    "predict",
]
