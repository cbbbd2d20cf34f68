"""What was read of a study."""

from pathlib import Path

from django.conf import settings

from detection.models import Prediction, Study


def prediction_latest(*, study: Study) -> Prediction | None:
    """Return the newest prediction of the series that speaks for a study, with all it found."""
    return (
        Prediction.objects.filter(series__study=study, series__is_chosen=True)
        .select_related("model_version", "series")
        .prefetch_related("findings")
        .order_by("-pk")
        .first()
    )


def prediction_map_path(*, prediction: Prediction) -> Path | None:
    """Return where the stone map lies, if there is one. Only after the user was checked."""
    return Path(settings.MEDIA_ROOT) / prediction.map_path if prediction.map_path else None
