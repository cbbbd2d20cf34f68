"""Having what waits or has failed done again, because somebody asks for it."""

from dataclasses import dataclass

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from detection.models import Prediction, Study, Upload
from detection.selectors.predictions import is_read_again
from detection.selectors.registry import model_version_active
from detection.services.imports import upload_hurry
from detection.services.predictions import prediction_create, prediction_hurry


@dataclass(frozen=True)
class Requeued:
    """How many imports go on at once, and how many readings go on or begin anew."""

    uploads: int = 0
    readings: int = 0

    def __add__(self, other: "Requeued") -> "Requeued":
        return Requeued(self.uploads + other.uploads, self.readings + other.readings)


def requeue_waiting() -> Requeued:
    """Let all that waits for the installation go on at once."""
    uploads = Upload.objects.filter(retry_at__isnull=False)
    predictions = Prediction.objects.filter(retry_at__isnull=False)
    return Requeued(
        uploads=sum(upload_hurry(upload=upload) for upload in uploads),
        readings=sum(prediction_hurry(prediction=prediction) for prediction in predictions),
    )


def requeue_failed() -> Requeued:
    """Have each series read anew whose newest reading failed.

    Raises ValidationError if no model is in service.
    """
    failed = newest_predictions().filter(status=Prediction.Status.FAILED)
    return Requeued(readings=sum(_read_again(prediction) for prediction in failed))


def upload_requeue(*, upload: Upload) -> Requeued:
    """Import an upload at once if it waits for the installation."""
    return Requeued(uploads=int(upload_hurry(upload=upload)))


def study_read_again(*, study: Study) -> Requeued:
    """Have the series of a study read that wait, have failed, or were read by another version.

    A series that nobody has asked to be read stays so. Raises ValidationError if no model is in
    service.
    """
    predictions = newest_predictions().filter(series__study=study)
    return Requeued(readings=sum(_read_again(prediction) for prediction in predictions))


def newest_predictions() -> QuerySet[Prediction]:
    """Return the newest prediction of each series that has any and was not set aside."""
    newer = Prediction.objects.filter(series=OuterRef("series"), pk__gt=OuterRef("pk"))
    newest = Prediction.objects.filter(~Exists(newer), series__is_aside=False)
    return newest.select_related("series").order_by("pk")


@transaction.atomic
def _read_again(prediction: Prediction) -> bool:
    if prediction.retry_at is not None:
        return prediction_hurry(prediction=prediction)
    # The lock keeps two people who ask at once from getting two readings.
    Study.objects.select_for_update().filter(pk=prediction.series.study_id).first()
    if prediction.series.predictions.filter(pk__gt=prediction.pk).exists():
        return False
    if not is_read_again(prediction=prediction, active=model_version_active()):
        return False
    prediction_create(series=prediction.series)
    return True
