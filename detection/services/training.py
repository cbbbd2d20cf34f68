"""Retraining: asked for by an administrator, carried out by a child of the training worker."""

import logging
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.text import Truncator
from django_tasks import task

from accounts.models import User
from detection.ml.backbones import (
    BACKBONES,
    BUNDLE,
    CROP,
    DEFAULT_BACKBONE,
    TRAINED,
    check_bounds,
)
from detection.ml.errors import MLError
from detection.models import DatasetSnapshot, ModelVersion, TrainingRun
from detection.selectors.registry import model_version_active, training_data_folders
from detection.selectors.training import STARTS, bundle_path, training_plan, training_start
from detection.services.claims import Work, row_claim, rows_claimed, rows_sweep
from detection.services.heartbeat import heartbeat
from detection.services.queue import task_enqueue
from detection.services.registry import model_version_register
from detection.services.training_process import child_run

logger = logging.getLogger(__name__)

MAX_SEED = 2**31 - 1
# What the form says too: it and the service must refuse the same.
WRONG_FOLDER = (
    "This is not a data folder for training. Please choose one of those offered: they lie directly "
    "below TRAINING_DATA_ROOT and hold a manifest.csv."
)
WRONG_ARCHITECTURE = (
    "This is not an architecture that can be trained. Please choose one of those offered."
)
WRONG_SEED = f"The seed must be between 0 and {MAX_SEED}."
WRONG_START = "This is not a start of a training. Please choose one of those offered."
WRONG_TRAINED = "This is not a part that can be trained. Please choose one of those offered."
_UNEXPECTED = "The training ended with an unexpected error. Its log may say why."
_STOPPED = "The training worker was stopped before the training ended. Please start it again."
Status = TrainingRun.Status
# What the child is to run, for a run and the folder it may write to.
BuildCommand = Callable[[TrainingRun, Path], list[str]]
_stop = {"is_requested": False}


def training_stop() -> None:
    """Ask the training of this process to end soon. Safe in a signal handler: takes no lock."""
    _stop["is_requested"] = True


def training_log_path(training_run: TrainingRun) -> Path:
    """Return where the log of a training is written; the file may not be there yet."""
    return Path(settings.LOG_ROOT) / f"training-{training_run.uuid}.log"


@transaction.atomic
def training_run_create(
    *,
    requested_by: User,
    data_folder: str,
    architecture: str = DEFAULT_BACKBONE,
    seed: int = 1,
    epochs: int | None = None,
    start: str = "",
    learning_rate: float | None = None,
    trained: str = "",
    crop: bool = False,
    refit: bool = False,
    teacher: bool = True,
) -> TrainingRun:
    """Queue a training on one of the folders below TRAINING_DATA_ROOT.

    An empty value stands for the advised one (`training_plan`); the run keeps what it became.

    Raises ValidationError, and queues nothing, if the folder is not one of those, if there is no
    such architecture, start or part to train, if a number is out of range, or if no model is in
    service.
    """
    if data_folder not in training_data_folders():
        raise ValidationError(WRONG_FOLDER)
    _check_architecture(architecture)
    if start not in ("", *STARTS):
        raise ValidationError(WRONG_START)
    if trained not in ("", *TRAINED):
        raise ValidationError(WRONG_TRAINED)
    try:
        check_bounds(epochs=epochs, learning_rate=learning_rate)
    except MLError as error:
        raise ValidationError(str(error)) from error
    if not 0 <= seed <= MAX_SEED:
        raise ValidationError(WRONG_SEED)
    if model_version_active() is None:
        raise ValidationError(
            "No model is in service whose weights the training could start from. "
            "Please put one into service first."
        )
    plan = training_plan(
        architecture=architecture,
        start=start,
        epochs=epochs,
        learning_rate=learning_rate,
        trained=trained,
        crop=crop,
        refit=refit,
        teacher=teacher,
    )
    training_run = TrainingRun.objects.create(
        requested_by=requested_by,
        data_folder=data_folder,
        architecture=architecture,
        seed=seed,
        epochs=plan.epochs,
        options=plan.options,
    )
    task_enqueue(task=training_task, pk=training_run.pk)
    return training_run


@transaction.atomic
def training_run_cancel(*, training_run: TrainingRun, cancelled_by: User) -> None:
    """Cancel a training: at once if it still waits, else as soon as its child has ended.

    Raises ValidationError if it has finished already.
    """
    message = Truncator(f"Cancelled by {cancelled_by}.").chars(255)
    rows = TrainingRun.objects.filter(pk=training_run.pk)
    if rows.filter(status=Status.QUEUED).update(
        status=Status.CANCELLED, message=message, finished_at=timezone.now()
    ):
        return
    if not rows.filter(status=Status.RUNNING).update(cancel_requested=True, message=message):
        raise ValidationError("This training has finished already: there is nothing to cancel.")


@task(queue_name="training")
def training_task(training_run_pk: int) -> None:
    training_run_execute(training_run=TrainingRun.objects.get(pk=training_run_pk))


# A training that was cut off is not repeated by itself: hours of work are a person's decision.
_TRAININGS = Work(
    model=TrainingRun,
    task=training_task,
    waiting=Status.QUEUED,
    running=Status.RUNNING,
    name="training_run",
    is_repeated=False,
)


def training_command(training_run: TrainingRun, out: Path) -> list[str]:
    """Return the command that trains: the method's own, from the weights that suit the run."""
    # The code may have changed while the run waited.
    _check_architecture(training_run.architecture)
    if model_version_active() is None:
        raise ValidationError("No model is in service whose weights the training could start from.")
    architecture = training_run.architecture
    # A run that waited while the choice came has none.
    options = training_run.options or training_plan(architecture=architecture).options
    # What people confirmed holds, whatever went into service while the run waited.
    if options["start"] == BUNDLE:
        init = str(bundle_path(name=options["bundle"]))
    else:
        init = training_start(architecture=architecture, wanted=options["start"]).init
    command = [
        *(sys.executable, "-m", "detection.ml", "train"),
        str(Path(settings.TRAINING_DATA_ROOT) / training_run.data_folder),
        *("--out", str(out)),
        *("--architecture", architecture),
        *("--init", init),
        *("--seed", str(training_run.seed)),
        *("--epochs", str(training_run.epochs)),
        *("--learning-rate", str(options["learning_rate"])),
        *("--unfreeze", options["trained"]),
        "--json-progress",
    ]
    if options["crop"]:
        command += ["--crop", "{}x{}".format(*CROP)]
    if options["refit"]:
        command += ["--refit"]
    if options["teacher"]:
        command += ["--teacher", str(bundle_path(name=options["teacher"]))]
    return command


def training_run_execute(
    *, training_run: TrainingRun, build_command: BuildCommand = training_command
) -> None:
    """Train in a child process, and register what comes out as a candidate model version.

    Nothing is put into service. A run that is not ours to execute (finished, cancelled, or while
    another one trains) is left alone. Every other end is stored with a sentence.
    """
    if not training_run_claim(training_run=training_run):
        return
    folder = _run_folder(training_run)
    try:
        with heartbeat(rows=_running(training_run)):
            shutil.rmtree(folder, ignore_errors=True)
            (folder / "tmp").mkdir(mode=0o700, parents=True)
            last = child_run(
                build_command(training_run, folder / "out"),
                scratch=folder / "tmp",
                log_path=training_log_path(training_run),
                tell=partial(_tell, training_run),
                is_wanted=partial(_is_wanted, training_run),
            )
            if last is None:
                _finish(training_run, Status.CANCELLED)
            elif last.get("stage") == "done":
                training_run_succeed(training_run=training_run, done=last)
            else:
                _finish(training_run, Status.FAILED, message=last.get("message") or _UNEXPECTED)
    except ValidationError as error:
        _finish(training_run, Status.FAILED, message=" ".join(error.messages))
    except Exception:
        logger.exception("training failed", extra={"training_run": training_run.pk})
        _finish(training_run, Status.FAILED, message=_UNEXPECTED)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@transaction.atomic
def training_run_claim(*, training_run: TrainingRun) -> bool:
    """Take a queued run for this worker; say whether it is ours now. One trains at a time."""
    if TrainingRun.objects.filter(status=Status.RUNNING).exists():
        return False
    return row_claim(work=_TRAININGS, row=training_run, started_at=timezone.now())


def training_run_succeed(*, training_run: TrainingRun, done: dict[str, Any]) -> ModelVersion | None:
    """Move the new bundle to the others and register it as a candidate, if the run still counts.

    Raises ValidationError if what the training left is no sound bundle.
    """
    built = Path(done["bundle"])
    if built.resolve().parent != (_run_folder(training_run) / "out").resolve():
        raise ValidationError("The training left its bundle at an unexpected place.")
    with transaction.atomic():
        is_ours = _running(training_run).select_for_update().filter(cancel_requested=False)
        if is_ours.first() is None:
            _finish(training_run, Status.CANCELLED)
            return None
        snapshot = done["snapshot"]
        training_run.snapshot, _ = DatasetSnapshot.objects.get_or_create(
            fingerprint=snapshot["fingerprint"],
            defaults={
                "folder": training_run.data_folder,
                **{key: snapshot[key] for key in ("images", "stone_images", "groups")},
            },
        )
        path = built.rename(Path(settings.MODEL_ROOT) / built.name)
        try:
            model_version = model_version_register(
                path=path, origin=ModelVersion.Origin.SITE, training_run=training_run
            )
        except ValidationError:
            shutil.rmtree(path)
            raise
        _finish(
            training_run,
            Status.SUCCEEDED,
            snapshot=training_run.snapshot,
            progress={"stage": "done", "fraction": 1.0, "seconds_left": 0},
        )
    return model_version


def training_run_sweep() -> None:
    """End the runs whose worker died, and enqueue the waiting ones whose task is gone."""
    rows_sweep(work=_TRAININGS, give_up=_give_up)


def _give_up(training_run: TrainingRun) -> None:
    _finish(training_run, Status.FAILED, message=_STOPPED)
    # The child died with its worker and could not tidy up.
    shutil.rmtree(_run_folder(training_run), ignore_errors=True)


def _check_architecture(name: str) -> None:
    if name not in BACKBONES:
        raise ValidationError(WRONG_ARCHITECTURE)


def _tell(training_run: TrainingRun, news: dict[str, Any]) -> None:
    training_run.progress = news
    _running(training_run).update(progress=news)


def _is_wanted(training_run: TrainingRun) -> bool:
    """Whether the run is still ours and not cancelled. Raises ValidationError if we are to stop."""
    if _stop["is_requested"]:
        raise ValidationError(_STOPPED)
    row = _running(training_run).only("cancel_requested").first()
    return row is not None and not row.cancel_requested


def _finish(training_run: TrainingRun, status: str, **fields: Any) -> None:
    # A cancelled run keeps the sentence that says who cancelled it.
    if "message" in fields:
        fields["message"] = Truncator(fields["message"]).chars(255)
    _running(training_run).update(status=status, finished_at=timezone.now(), **fields)


def _running(training_run: TrainingRun) -> QuerySet[TrainingRun]:
    """The row, as long as the run is under way."""
    return rows_claimed(work=_TRAININGS, row=training_run)


def _run_folder(training_run: TrainingRun) -> Path:
    """Where the child works; on the file system of the bundles, so that one move publishes."""
    return Path(settings.MODEL_ROOT) / f".training-{training_run.uuid}"
