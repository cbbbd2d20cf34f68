"""What can go wrong in the model code; the text of each error is a sentence for the user."""

from enum import StrEnum


class ReadingCode(StrEnum):
    """What must stand beside a reading: the codes of its notices."""

    SERIES_RULE = "series_rule"
    PLANES_DISAGREE = "planes_disagree"
    COARSE_PIXELS = "coarse_pixels"


class MLError(Exception):
    """A prediction or a training could not be carried out. `str(error)` says why."""


class BundleError(MLError):
    """A model bundle is missing, damaged, or not what it is said to be."""


class DatasetError(MLError):
    """A training data folder cannot be used as it is."""
