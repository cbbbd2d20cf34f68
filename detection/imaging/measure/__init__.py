"""Measures stones in millimetres and Hounsfield units."""

from detection.imaging.measure.stone import (
    NO_COMPOSITION,
    UNKNOWN,
    Measurement,
    bright_seeds,
    measure_stone,
    side_of,
    size_class,
    to_lps,
)

__all__ = [
    "Measurement",
    "NO_COMPOSITION",
    "UNKNOWN",
    "bright_seeds",
    "measure_stone",
    "side_of",
    "size_class",
    "to_lps",
]
