"""The model in service and its log, the folders of bundles, and the folders of training data."""

from pathlib import Path

from django.conf import settings
from django.db.models import QuerySet

from detection.models import ModelActivation, ModelVersion


def model_version_active() -> ModelVersion | None:
    """Return the model version in service, which the newest activation names, or None."""
    newest = ModelActivation.objects.select_related("model_version").order_by("-pk").first()
    return newest.model_version if newest else None


def activation_list() -> QuerySet[ModelActivation]:
    """Return the activations with their version and user, newest first."""
    return ModelActivation.objects.select_related("model_version", "activated_by").order_by("-pk")


def model_version_path(*, model_version: ModelVersion) -> Path:
    """Return the bundle's folder, whether or not it is still there."""
    return model_root(origin=model_version.origin) / model_version.name


def model_root(*, origin: str) -> Path:
    """Return the folder that holds the bundles of one origin."""
    is_shipped = origin == ModelVersion.Origin.SHIPPED
    return Path(settings.SHIPPED_MODEL_ROOT if is_shipped else settings.MODEL_ROOT)


def training_data_folders() -> list[str]:
    """Return the names of the folders that can be trained on, sorted.

    Such a folder lies directly below TRAINING_DATA_ROOT and holds a manifest. A link that leads
    out of the root is not listed.
    """
    root = Path(settings.TRAINING_DATA_ROOT)
    if not root.is_dir():
        return []
    resolved = root.resolve()
    return sorted(
        folder.name
        for folder in root.iterdir()
        if folder.resolve().parent == resolved and (folder / "manifest.csv").is_file()
    )
