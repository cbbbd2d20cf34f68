"""The errors and the codes of notices of the model code."""

from enum import StrEnum


class ReadingCode(StrEnum):
    """The codes of the notices that must stand beside a reading."""

    SERIES_RULE = "series_rule"
    PLANES_DISAGREE = "planes_disagree"
    COARSE_PIXELS = "coarse_pixels"
    SLICES_UNREAD = "slices_unread"


class MLError(Exception):
    """A reading or a training failed; `str(error)` is a sentence for the user."""


class BundleError(MLError):
    """A model bundle is missing, damaged, or does not match its manifest."""


class DatasetError(MLError):
    """A training data folder cannot be used as it is."""
