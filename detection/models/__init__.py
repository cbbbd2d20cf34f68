"""What the database keeps: studies and their files, predictions, and the model registry."""

from detection.models.predictions import Finding, Prediction
from detection.models.registry import DatasetSnapshot, ModelActivation, ModelVersion, TrainingRun
from detection.models.studies import Series, SourceFile, Study, Upload

__all__ = [
    "DatasetSnapshot",
    "Finding",
    "ModelActivation",
    "ModelVersion",
    "Prediction",
    "Series",
    "SourceFile",
    "Study",
    "TrainingRun",
    "Upload",
]
