"""Predictions: queueing them, running each of them once, and finding those of dead workers."""

import logging
from collections.abc import Callable
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone
from django.utils.text import Truncator
from django_tasks import task

from detection.imaging.errors import ImageError
from detection.imaging.volume import Volume, load_volume
from detection.ml.bundle import load_bundle
from detection.ml.errors import MLError
from detection.ml.predictor import CANNOT_ASSESS, Assessment, Predictor, save_stone_map
from detection.models import Finding, ModelVersion, Prediction, Series, Study
from detection.selectors.registry import model_version_active, model_version_path
from detection.selectors.studies import series_volume_path
from detection.services.heartbeat import heartbeat, stale_before
from detection.services.queue import LOST_SECONDS, pks_without_task, task_enqueue

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
UNEXPECTED = "An unexpected error occurred while this image was read. Please tell an administrator."
CRASHED = (
    "Reading this image crashed the worker three times, so it is not tried again. "
    "Please tell an administrator."
)
Status = Prediction.Status


def load_predictor(model_version: ModelVersion) -> Predictor:
    """Return the loaded model of a version, verified once in each process. Raises BundleError."""
    return _load(model_version_path(model_version=model_version), model_version.digest)


@lru_cache(maxsize=2)
def _load(path: Path, digest: str) -> Predictor:
    # Two: after an activation, what is still queued for the version before goes on quickly.
    return Predictor(load_bundle(path, expected_digest=digest))


@transaction.atomic
def prediction_create(*, series: Series) -> Prediction:
    """Queue a reading of a series by the model version in service.

    The row and its task are stored together. Raises ValidationError if no model is in service.
    """
    model_version = model_version_active()
    if model_version is None:
        raise ValidationError("No detection model is in service. Please contact an administrator.")
    prediction = Prediction.objects.create(
        series=series,
        model_version=model_version,
        operating_point=model_version.operating_point,
    )
    _study_follow(prediction=prediction, status=Study.Status.QUEUED)
    task_enqueue(task=prediction_task, pk=prediction.pk)
    return prediction


@task()
def prediction_task(prediction_pk: int) -> None:
    prediction = Prediction.objects.select_related("series", "model_version").get(pk=prediction_pk)
    prediction_run(prediction=prediction)


def prediction_run(
    *,
    prediction: Prediction,
    load_predictor: Callable[[ModelVersion], Predictor] = load_predictor,
) -> None:
    """Run one prediction and store its outcome: success, refusal or failure.

    A prediction that is not ours to run (already finished, or running elsewhere) is left alone,
    so a task delivered twice does nothing the second time. An outcome that comes after another
    worker took over is thrown away.
    """
    if not prediction_claim(prediction=prediction):
        return
    with heartbeat(rows=_claimed(prediction)):
        try:
            volume = load_volume(series_volume_path(series=prediction.series))
            assessment = load_predictor(prediction.model_version).assess(volume)
            prediction_store(prediction=prediction, volume=volume, assessment=assessment)
        except (MLError, ImageError) as error:
            prediction_fail(prediction=prediction, message=str(error))
        except Exception:
            logger.exception("prediction failed", extra={"prediction": prediction.pk})
            prediction_fail(prediction=prediction, message=UNEXPECTED)


@transaction.atomic
def prediction_claim(*, prediction: Prediction) -> bool:
    """Take a queued prediction for this worker; say whether it is ours now."""
    now = timezone.now()
    claimed = Prediction.objects.filter(pk=prediction.pk, status=Status.QUEUED).update(
        status=Status.RUNNING, attempts=F("attempts") + 1, started_at=now, heartbeat_at=now
    )
    if claimed:
        prediction.refresh_from_db(fields=["status", "attempts", "started_at", "heartbeat_at"])
        _study_follow(prediction=prediction, status=Study.Status.RUNNING)
    return bool(claimed)


def prediction_store(*, prediction: Prediction, volume: Volume, assessment: Assessment) -> None:
    """Store what the model said, with its findings and its map, if the claim still holds."""
    map_path = ""
    if assessment.stone_map is not None:
        # Named after the prediction: a second attempt replaces what a first one left behind.
        map_path = f"maps/{prediction.uuid}.npz"
        save_stone_map(assessment.stone_map, Path(settings.MEDIA_ROOT) / map_path)
    is_refused = assessment.verdict == CANNOT_ASSESS
    _finish(
        prediction=prediction,
        status=Status.REFUSED if is_refused else Status.SUCCEEDED,
        verdict=assessment.verdict,
        probability=assessment.probability,
        message=assessment.reason,
        findings=[
            Finding(
                prediction=prediction,
                rank=rank,
                plane=candidate.plane,
                slice_index=candidate.slice_index,
                x0=candidate.box[0],
                y0=candidate.box[1],
                x1=candidate.box[2],
                y1=candidate.box[3],
                probability=candidate.probability,
                extent_mm=candidate.extent_mm,
            )
            for rank, candidate in enumerate(assessment.findings, start=1)
        ],
        caveats=list(dict.fromkeys([*volume.caveats, *assessment.caveats])),
        map_path=map_path,
    )


def prediction_fail(*, prediction: Prediction, message: str) -> None:
    """End a prediction without a verdict, with a sentence for the reader."""
    _finish(prediction=prediction, status=Status.FAILED, message=message)


def prediction_sweep() -> None:
    """Take up the predictions that dead workers left, and the queued ones whose task is gone.

    The third crash of one prediction ends it as failed. Two sweeps at once do it once.
    """
    stale = Prediction.objects.filter(status=Status.RUNNING, heartbeat_at__lt=stale_before())
    for prediction in stale.select_related("series"):
        _take_up(prediction)
    long_ago = timezone.now() - timedelta(seconds=LOST_SECONDS)
    waiting = Prediction.objects.filter(status=Status.QUEUED, created_at__lt=long_ago)
    pks = waiting.values_list("pk", flat=True)
    for pk in sorted(pks_without_task(task=prediction_task, pks=pks)):
        logger.warning("prediction had lost its task", extra={"prediction": pk})
        task_enqueue(task=prediction_task, pk=pk)


@transaction.atomic
def _take_up(prediction: Prediction) -> None:
    # A worker that was only slow and has beaten since keeps its claim.
    rows = _claimed(prediction).filter(heartbeat_at=prediction.heartbeat_at)
    if rows.select_for_update().first() is None:
        return
    if prediction.attempts >= MAX_ATTEMPTS:
        _finish(prediction=prediction, status=Status.FAILED, message=CRASHED)
        logger.error("prediction crashed its worker", extra={"prediction": prediction.pk})
        return
    rows.update(status=Status.QUEUED, heartbeat_at=None)
    _study_follow(prediction=prediction, status=Study.Status.QUEUED)
    task_enqueue(task=prediction_task, pk=prediction.pk)
    logger.warning("prediction taken up again", extra={"prediction": prediction.pk})


@transaction.atomic
def _finish(
    *,
    prediction: Prediction,
    status: str,
    message: str,
    verdict: str = "",
    probability: float | None = None,
    findings: list[Finding] | None = None,
    **fields: Any,
) -> None:
    """Write the final state, unless the claim was lost; then nothing is stored."""
    outcome = {
        "status": status,
        "verdict": verdict,
        "probability": probability,
        "message": Truncator(message).chars(255),
    }
    if not _claimed(prediction).update(**outcome, **fields, finished_at=timezone.now()):
        logger.warning("prediction belongs to another worker", extra={"prediction": prediction.pk})
        return
    Finding.objects.bulk_create(findings or [])
    # The names of the final states and of the verdicts are the same in both tables.
    _study_follow(prediction=prediction, **outcome)


def _claimed(prediction: Prediction) -> QuerySet[Prediction]:
    """The row, as long as this attempt owns it."""
    return Prediction.objects.filter(
        pk=prediction.pk, status=Status.RUNNING, attempts=prediction.attempts
    )


def _study_follow(
    *,
    prediction: Prediction,
    status: str,
    verdict: str = "",
    probability: float | None = None,
    message: str = "",
) -> None:
    """Copy a prediction's state to its study, if no newer prediction speaks for the study."""
    study_pk = prediction.series.study_id
    newer = Prediction.objects.filter(series__study_id=study_pk, pk__gt=prediction.pk)
    if not newer.exists():
        Study.objects.filter(pk=study_pk).update(
            status=status, verdict=verdict, probability=probability, message=message
        )
