"""The detection app: studies, predictions and the models that made them."""

from django.apps import AppConfig


class DetectionConfig(AppConfig):
    name = "detection"
