"""Measures stones in millimetres and Hounsfield units."""

from detection.imaging.measure.dense import DenseObject, Lack, dense_object
from detection.imaging.measure.stone import (
    NO_COMPOSITION,
    UNKNOWN,
    Measurement,
    measure_stone,
    side_of,
    size_class,
    to_lps,
)

__all__ = [
    "DenseObject",
    "Lack",
    "Measurement",
    "NO_COMPOSITION",
    "UNKNOWN",
    "dense_object",
    "measure_stone",
    "side_of",
    "size_class",
    "to_lps",
]
