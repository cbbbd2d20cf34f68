"""Predictions: queueing them, running each once, and taking up those of dead workers."""

import logging
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from time import monotonic
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.text import Truncator
from django_tasks import task

from detection.imaging.errors import ImageError, notices_json
from detection.imaging.volume import Volume, load_volume
from detection.ml.bundle import load_bundle
from detection.ml.errors import BundleError, MLError
from detection.ml.serving import CANNOT_ASSESS, Assessment, Predictor, save_stone_map
from detection.models import Finding, ModelVersion, Prediction, Series
from detection.selectors.registry import model_version_active, model_version_path
from detection.selectors.studies import series_volume_path
from detection.services.answers import study_follow
from detection.services.claims import Work, row_claim, row_hurry, row_wait, rows_claimed, rows_sweep
from detection.services.faults import FAULTS, fault_sentence
from detection.services.findings import finding_rows
from detection.services.heartbeat import heartbeat
from detection.services.media import media_root
from detection.services.queue import task_enqueue

logger = logging.getLogger(__name__)

PROGRESS_SECONDS = 1.0
UNEXPECTED = "An unexpected error occurred while this image was read. Please tell an administrator."
CRASHED = (
    "Reading this image crashed the worker three times, so it is not tried again. "
    "Please tell an administrator."
)
_KEPT = (
    "The images are kept, and are read as soon as this is mended. "
    "An administrator finds the cause in the log."
)
Status = Prediction.Status


def load_predictor(model_version: ModelVersion) -> Predictor:
    """Return the verified, loaded model of a version; two stay loaded. Raises BundleError."""
    return _load(model_version_path(model_version=model_version), model_version.digest)


@lru_cache(maxsize=2)
def _load(path: Path, digest: str) -> Predictor:
    # Two: after an activation, readings still queued for the version before go on quickly.
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
    _study_follow(prediction)
    task_enqueue(task=prediction_task, pk=prediction.pk)
    return prediction


@task()
def prediction_task(prediction_pk: int) -> None:
    prediction = Prediction.objects.select_related("series", "model_version").get(pk=prediction_pk)
    prediction_run(prediction=prediction)


_PREDICTIONS = Work(
    model=Prediction,
    task=prediction_task,
    waiting=Status.QUEUED,
    running=Status.RUNNING,
    name="prediction",
)


def prediction_run(
    *,
    prediction: Prediction,
    load_predictor: Callable[[ModelVersion], Predictor] = load_predictor,
) -> None:
    """Run one prediction and store its outcome: success, refusal or failure.

    A prediction that has finished or runs elsewhere is left alone: a task that is delivered twice
    does nothing the second time. An outcome that comes after another worker took over is thrown
    away. A fault of the installation is none: the prediction waits and is tried again.
    """
    if not prediction_claim(prediction=prediction):
        return
    with heartbeat(rows=_claimed(prediction)):
        try:
            volume = _volume(prediction.series)
            assessment = load_predictor(prediction.model_version).assess(
                volume, progress=_progress(prediction)
            )
            prediction_store(prediction=prediction, assessment=assessment)
        except FAULTS as error:
            row_wait(
                work=_PREDICTIONS,
                row=prediction,
                error=error,
                message=f"{fault_sentence(error)} {_KEPT}",
                waited=_of_another_version if isinstance(error, BundleError) else _study_follow,
            )
        except (MLError, ImageError) as error:
            # The reader gets the sentence; the cause behind it stands in the log alone.
            logger.warning(
                "prediction not possible", extra={"prediction": prediction.pk}, exc_info=True
            )
            prediction_fail(prediction=prediction, message=str(error))
        except Exception:
            logger.exception("prediction failed", extra={"prediction": prediction.pk})
            prediction_fail(prediction=prediction, message=UNEXPECTED)


@transaction.atomic
def prediction_claim(*, prediction: Prediction) -> bool:
    """Take a queued prediction for this worker; say whether it is ours now."""
    is_ours = row_claim(
        work=_PREDICTIONS,
        row=prediction,
        started_at=timezone.now(),
        slices_done=0,
        slices_total=0,
    )
    if is_ours:
        _study_follow(prediction)
    return is_ours


def prediction_store(*, prediction: Prediction, assessment: Assessment) -> None:
    """Store an assessment with its findings if the claim still holds; its map file in any case."""
    map_path = ""
    if assessment.stone_map is not None:
        # Named after the prediction: a second attempt replaces what a first one left behind.
        map_path = f"maps/{prediction.uuid}.npz"
        save_stone_map(assessment.stone_map, media_root() / map_path)
    is_refused = assessment.verdict == CANNOT_ASSESS
    extent = assessment.extent
    _finish(
        prediction=prediction,
        status=Status.REFUSED if is_refused else Status.SUCCEEDED,
        verdict=assessment.verdict,
        probability=assessment.probability,
        message=assessment.reason,
        findings=finding_rows(prediction=prediction, findings=assessment.findings),
        notices=notices_json(assessment.notices),
        slice_probabilities=list(assessment.slice_probabilities),
        slices_read=extent.slices_read if extent else 0,
        slices_given=extent.slices if extent else prediction.series.slices,
        height_mm=extent.height_mm if extent else None,
        key_slices=list(assessment.key_slices),
        map_path=map_path,
        # A series has an operating point of its own.
        operating_point=dict(assessment.operating_point) or prediction.operating_point,
    )


def prediction_fail(*, prediction: Prediction, message: str) -> None:
    """End a prediction as failed, with a sentence for the reader, if the claim still holds."""
    _finish(prediction=prediction, status=Status.FAILED, message=message)


def prediction_hurry(*, prediction: Prediction) -> bool:
    """Read a series that waits for the installation at once; say whether it did wait."""
    return row_hurry(work=_PREDICTIONS, row=prediction)


def prediction_sweep() -> None:
    """Take up the predictions that dead workers left, and the queued ones whose task is gone.

    The third crash of one prediction ends it as failed. Two sweeps at once do it once.
    """
    rows_sweep(work=_PREDICTIONS, give_up=_give_up, requeued=_study_follow)


def _volume(series: Series) -> Volume:
    """Return the volume of a series.

    Raises OSError if the disk does not give it now, ImageError if it is damaged or gone for good.
    """
    media_root()
    path = series_volume_path(series=series)
    # Where the whole folder is missing, the disk is not mounted.
    path.parent.stat()
    try:
        return load_volume(path)
    except ImageError:
        logger.error("stored image is missing or damaged", extra={"series": series.pk})
        raise


def _of_another_version(prediction: Prediction) -> None:
    """Let a prediction whose model cannot be loaded be made by the one in service, if another."""
    active = model_version_active()
    if active is not None and active.pk != prediction.model_version_id:
        Prediction.objects.filter(pk=prediction.pk).update(
            model_version=active, operating_point=active.operating_point, retry_at=timezone.now()
        )
    _study_follow(prediction)


def _progress(prediction: Prediction) -> Callable[[int, int], None]:
    """Return a callback that stores how far the reading is, at most once a second."""
    next_at = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal next_at
        now = monotonic()
        if now >= next_at:
            next_at = now + PROGRESS_SECONDS
            _claimed(prediction).update(slices_done=done, slices_total=total)

    return progress


def _give_up(prediction: Prediction) -> None:
    _finish(prediction=prediction, status=Status.FAILED, message=CRASHED)


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
    _study_follow(prediction)
    if status == Status.REFUSED:
        _read_on(prediction.series)


def _read_on(series: Series) -> None:
    """Queue another reconstruction of a scan of which none could be assessed so far."""
    if not series.scan or series.is_aside or model_version_active() is None:
        return
    same = Series.objects.filter(study_id=series.study_id, scan=series.scan, is_aside=False)
    unread = same.filter(predictions__isnull=True).order_by("pk").first()
    hopeful = (Status.QUEUED, Status.RUNNING, Status.SUCCEEDED)
    if unread and not same.filter(predictions__status__in=hopeful).exists():
        prediction_create(series=unread)


def _claimed(prediction: Prediction) -> QuerySet[Prediction]:
    """Return the row as a queryset, empty once this attempt no longer owns it."""
    return rows_claimed(work=_PREDICTIONS, row=prediction)


def _study_follow(prediction: Prediction) -> None:
    study_follow(study_pk=prediction.series.study_id)
