"""Reads untrusted files into series of volumes, with a report on every file."""

from detection.imaging.formats import HEAD_BYTES, PICTURE_KINDS, Kind, sniff
from detection.imaging.ingest.entry import ingest
from detection.imaging.ingest.result import (
    OF_NO_CONCERN,
    FileReport,
    IngestedSeries,
    IngestResult,
    choose_series,
)
from detection.imaging.ingest.sandbox import Sandbox

__all__ = [
    "HEAD_BYTES",
    "OF_NO_CONCERN",
    "PICTURE_KINDS",
    "FileReport",
    "IngestResult",
    "IngestedSeries",
    "Kind",
    "Sandbox",
    "choose_series",
    "ingest",
    "sniff",
]
