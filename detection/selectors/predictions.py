"""The newest reading of a study, and the file of its stone map."""

from pathlib import Path

from django.conf import settings

from detection.models import ModelVersion, Prediction, Study, Upload


def prediction_latest(*, study: Study) -> Prediction | None:
    """Return the newest prediction of a study's chosen series, with its findings, or None."""
    return (
        Prediction.objects.filter(series__study=study, series__is_chosen=True)
        .select_related("model_version", "series")
        .prefetch_related("findings")
        .order_by("-pk")
        .first()
    )


def is_read_again(*, prediction: Prediction, active: ModelVersion | None) -> bool:
    """Say whether a new reading may tell more: it failed, or another version is in service."""
    if prediction.status == Prediction.Status.FAILED:
        return True
    is_other = active is not None and active.pk != prediction.model_version_id
    return prediction.is_finished and is_other


def waits_for_installation() -> bool:
    """Say whether an upload or a reading waits for a fault of the installation to be mended."""
    waiting = {"retry_at__isnull": False}
    return (
        Upload.objects.filter(**waiting).exists() or Prediction.objects.filter(**waiting).exists()
    )


def prediction_map_path(*, prediction: Prediction) -> Path | None:
    """Return the path of the stone map, if there is one. The caller has checked the user."""
    return Path(settings.MEDIA_ROOT) / prediction.map_path if prediction.map_path else None
