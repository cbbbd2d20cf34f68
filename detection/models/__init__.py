"""The tables of the reading room: studies, their files and identifiers, predictions, models."""

from detection.models.identifiers import IdentifierAccess, StudyIdentifiers
from detection.models.predictions import Finding, Prediction
from detection.models.registry import DatasetSnapshot, ModelActivation, ModelVersion, TrainingRun
from detection.models.studies import Series, SeriesAside, SourceFile, Study, Upload

__all__ = [
    "DatasetSnapshot",
    "Finding",
    "IdentifierAccess",
    "ModelActivation",
    "ModelVersion",
    "Prediction",
    "Series",
    "SeriesAside",
    "SourceFile",
    "Study",
    "StudyIdentifiers",
    "TrainingRun",
    "Upload",
]
