"""The newest reading of a study, and the file of its stone map."""

import datetime
from pathlib import Path

from django.conf import settings
from django.db.models import Min

from detection.models import ModelVersion, Prediction, Study, Upload


def prediction_latest(*, study: Study) -> Prediction | None:
    """Return the reading that a study shows, with its findings, or None if there is none.

    It is the one that decided, else the newest one of the series to look at first.
    """
    readings = Prediction.objects.select_related("model_version", "series")
    readings = readings.prefetch_related("findings").order_by("-pk")
    if study.prediction_id is not None:
        return readings.get(pk=study.prediction_id)
    return readings.filter(series__study=study, series__is_first=True).first()


def waiting_since(*, upload: Upload) -> dict[int, datetime.datetime]:
    """Return the studies of an upload of which a reading has not ended.

    Each primary key of a study leads to when the oldest such reading was asked for.
    """
    waiting = Prediction.objects.filter(series__study__upload=upload)
    waiting = waiting.exclude(status__in=Prediction.FINAL_STATUSES).order_by()
    return dict(waiting.values_list("series__study").annotate(Min("created_at")))


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
