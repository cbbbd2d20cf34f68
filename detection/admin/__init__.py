"""The administration: predictions, models, trainings, and the logs of looks and set-asides."""

from detection.admin.identifiers import IdentifierAccessAdmin
from detection.admin.predictions import PredictionAdmin
from detection.admin.registry import ModelActivationAdmin, ModelVersionAdmin
from detection.admin.series import SeriesAsideAdmin
from detection.admin.training import TrainingRunAdmin

__all__ = [
    "IdentifierAccessAdmin",
    "ModelActivationAdmin",
    "ModelVersionAdmin",
    "PredictionAdmin",
    "SeriesAsideAdmin",
    "TrainingRunAdmin",
]
