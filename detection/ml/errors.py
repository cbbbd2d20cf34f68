"""The errors and the codes of notices of the model code."""

from enum import StrEnum


class ReadingCode(StrEnum):
    """The codes of the notices that must stand beside a reading."""

    SERIES_RULE = "series_rule"
    COARSE_PIXELS = "coarse_pixels"
    SLICES_UNREAD = "slices_unread"
    MARKS_WITHOUT_OBJECT = "marks_without_object"


class MLError(Exception):
    """A reading or a training failed; `str(error)` is a sentence for the user."""


class BundleError(MLError):
    """A model bundle is missing, damaged, or does not match its manifest."""


class DatasetError(MLError):
    """A training data folder cannot be used as it is."""
