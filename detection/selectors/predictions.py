"""The newest reading of a study, and the file of its stone map."""

from pathlib import Path

from django.conf import settings

from detection.models import Prediction, Study


def prediction_latest(*, study: Study) -> Prediction | None:
    """Return the newest prediction of a study's chosen series, with its findings, or None."""
    return (
        Prediction.objects.filter(series__study=study, series__is_chosen=True)
        .select_related("model_version", "series")
        .prefetch_related("findings")
        .order_by("-pk")
        .first()
    )


def prediction_map_path(*, prediction: Prediction) -> Path | None:
    """Return the path of the stone map, if there is one. The caller has checked the user."""
    return Path(settings.MEDIA_ROOT) / prediction.map_path if prediction.map_path else None
