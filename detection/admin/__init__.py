"""The administration: predictions, looks at identifiers, model versions and retrainings."""

from detection.admin.identifiers import IdentifierAccessAdmin
from detection.admin.predictions import PredictionAdmin
from detection.admin.registry import ModelActivationAdmin, ModelVersionAdmin
from detection.admin.training import TrainingRunAdmin

__all__ = [
    "IdentifierAccessAdmin",
    "ModelActivationAdmin",
    "ModelVersionAdmin",
    "PredictionAdmin",
    "TrainingRunAdmin",
]
