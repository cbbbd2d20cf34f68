"""Retraining: asked for by an administrator, carried out by a child of the training worker."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.text import Truncator
from django_tasks import task

from accounts.models import User
from detection.models import DatasetSnapshot, ModelVersion, TrainingRun
from detection.selectors.registry import (
    model_version_active,
    model_version_path,
    training_data_folders,
)
from detection.services import training_child
from detection.services.claims import Work, row_claim, rows_claimed, rows_sweep
from detection.services.heartbeat import heartbeat
from detection.services.queue import task_enqueue
from detection.services.registry import model_version_register

logger = logging.getLogger(__name__)

MAX_EPOCHS = 100
_POLL_SECONDS = 1.0
# What a child that was asked to end may take before it is killed.
_GRACE_SECONDS = 15.0
_UNEXPECTED = "The training ended with an unexpected error. Its log may say why."
_STOPPED = "The training worker was stopped before the training ended. Please start it again."
_TOLD_NAMES = frozenset({"HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "TZ"})
_TOLD_PREFIXES = ("CUDA_", "KERAS_", "LC_", "MKL_", "NVIDIA_", "OMP_", "OPENBLAS_", "TF_", "XLA_")
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
    *, requested_by: User, data_folder: str, seed: int = 1, epochs: int = 2
) -> TrainingRun:
    """Queue a training on one of the folders below TRAINING_DATA_ROOT.

    Raises ValidationError, and queues nothing, if the folder is not one of those, if a number is
    out of range, or if no model is in service whose weights the training could start from.
    """
    if data_folder not in training_data_folders():
        raise ValidationError(
            "This is not a data folder for training. Please choose one of those offered: they lie "
            "directly below TRAINING_DATA_ROOT and hold a manifest.csv."
        )
    if not 1 <= epochs <= MAX_EPOCHS:
        raise ValidationError(f"The number of epochs must be between 1 and {MAX_EPOCHS}.")
    if not 0 <= seed < 2**31:
        raise ValidationError(f"The seed must be between 0 and {2**31 - 1}.")
    if model_version_active() is None:
        raise ValidationError(
            "No model is in service whose weights the training could start from. "
            "Please put one into service first."
        )
    training_run = TrainingRun.objects.create(
        requested_by=requested_by, data_folder=data_folder, seed=seed, epochs=epochs
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
    """Return the command that trains: the method's own, starting from the model in service."""
    active = model_version_active()
    if active is None:
        raise ValidationError("No model is in service whose weights the training could start from.")
    return [
        *(sys.executable, "-m", "detection.ml", "train"),
        str(Path(settings.TRAINING_DATA_ROOT) / training_run.data_folder),
        *("--out", str(out)),
        *("--init", str(model_version_path(model_version=active))),
        *("--seed", str(training_run.seed)),
        *("--epochs", str(training_run.epochs)),
        "--json-progress",
    ]


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
            last = _train(training_run, build_command=build_command, folder=folder)
            if last.get("stage") == "done":
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


def _train(
    training_run: TrainingRun, *, build_command: BuildCommand, folder: Path
) -> dict[str, Any]:
    """Run the child to its end and return the last thing it reported.

    Its progress goes into the row at most once a second; its standard error and what it says
    go to the log. A run that was cancelled, stopped or taken from us ends the child.
    """
    log_path = training_log_path(training_run)
    log_path.parent.mkdir(parents=True, exist_ok=True)
    command = build_command(training_run, folder / "out")
    with log_path.open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, training_child.__file__, str(os.getpid()), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=settings.BASE_DIR,
            env=_environment(folder),
            process_group=0,
        )
        lines: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        reader = threading.Thread(target=_read, args=(child.stdout, lines, log), daemon=True)
        reader.start()
        try:
            last = _follow(training_run, child=child, lines=lines)
        finally:
            _end(child)
            reader.join(timeout=_GRACE_SECONDS)
    if child.returncode != 0 and last.get("stage") == "done":
        return {}
    return last


def _environment(folder: Path) -> dict[str, str]:
    """What the child is told: where to work, and what Python and TensorFlow ask for.

    Named, not left out: a secret that is added to the environment one day stays with the worker.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _TOLD_NAMES or name.startswith(_TOLD_PREFIXES)
    }
    # Checkpoints go with the folder, whatever becomes of the child.
    return {
        **kept,
        "TMPDIR": str(folder / "tmp"),
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore",
    }


def _follow(
    training_run: TrainingRun,
    *,
    child: subprocess.Popen[bytes],
    lines: SimpleQueue[dict[str, Any] | None],
) -> dict[str, Any]:
    last: dict[str, Any] = {}
    while True:
        is_over, news = _drain(lines, seconds=_POLL_SECONDS)
        last = news or last
        if news and "fraction" in news:
            training_run.progress = news
            _running(training_run).update(progress=news)
        if is_over:
            child.wait(timeout=_GRACE_SECONDS)
            return last
        if _stop["is_requested"]:
            raise ValidationError(_STOPPED)
        row = _running(training_run).only("cancel_requested").first()
        if row is None or row.cancel_requested:
            _end(child)
            _finish(training_run, Status.CANCELLED)
            return {}


def _drain(
    lines: SimpleQueue[dict[str, Any] | None], *, seconds: float
) -> tuple[bool, dict[str, Any] | None]:
    """Wait `seconds`, or for the end of the child; return whether it ended and the latest news."""
    deadline = time.monotonic() + seconds
    news = None
    while (left := deadline - time.monotonic()) > 0:
        try:
            line = lines.get(timeout=left)
        except Empty:
            break
        if line is None:
            return True, news
        news = line
    return False, news


def _read(pipe: IO[bytes], lines: SimpleQueue[dict[str, Any] | None], log: IO[bytes]) -> None:
    """Pass on each JSON object the child prints, and tell the log what is worth reading there."""
    told = ""
    for line in pipe:
        try:
            news = json.loads(line)
        except ValueError:
            log.write(line)
            continue
        if not isinstance(news, dict):
            continue
        lines.put(news)
        text = news.get("message") or _epoch_text(news)
        if text and text != told:
            log.write(f"{timezone.now():%Y-%m-%d %H:%M:%S} {text}\n".encode())
            log.flush()
            told = text
    lines.put(None)


def _epoch_text(news: dict[str, Any]) -> str:
    if "epoch" not in news or news.get("step") != news.get("steps"):
        return ""
    return f"Epoch {news['epoch']} of {news['epochs']} ended, loss {news.get('loss')}."


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the child and whatever it started: asked first, then killed."""
    if child.poll() is not None:
        return
    os.killpg(child.pid, signal.SIGTERM)
    try:
        child.wait(timeout=_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


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
