"""`manage.py worker`: run the tasks of one queue and look after the rows of dead workers."""

import logging
import os
import socket
import threading
from collections.abc import Callable
from types import FrameType

from django.core.management.base import BaseCommand
from django.db import connections
from django.utils.crypto import get_random_string
from django_tasks import DEFAULT_TASK_BACKEND_ALIAS
from django_tasks_db.management.commands.db_worker import Worker

from detection.ml.errors import MLError
from detection.selectors.registry import model_version_active
from detection.services.faults import fault_name
from detection.services.imports import leftovers_delete, upload_sweep
from detection.services.media import media_prepare
from detection.services.predictions import load_predictor, prediction_sweep
from detection.services.training import training_run_sweep, training_stop

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.3
SWEEP_SECONDS = 5.0
SWEEPS: dict[str, list[Callable[[], None]]] = {
    "default": [prediction_sweep, upload_sweep],
    "training": [training_run_sweep],
}


class Command(BaseCommand):
    help = "Run the tasks of one queue. SIGTERM lets the task in hand finish, but ends a training."

    def add_arguments(self, parser):
        parser.add_argument("--queue", choices=sorted(SWEEPS), default="default")

    def handle(self, *, queue, **options):
        if queue == "default":
            _tidy()
            _warm_up()
        threading.Thread(target=_sweep, args=(SWEEPS[queue],), name="sweep", daemon=True).start()
        worker = Worker(
            queue_names=[queue],
            interval=POLL_SECONDS,
            batch=False,
            backend_name=DEFAULT_TASK_BACKEND_ALIAS,
            startup_delay=False,
            max_tasks=None,
            worker_id=f"{socket.gethostname()[:24]}-{os.getpid()}-{get_random_string(8)}",
            excluded_queue_names=[],
        )
        worker.shutdown = _shutdown(worker.shutdown)
        worker.configure_signals()
        logger.info("worker ready", extra={"queue": queue})
        worker.run()


def _tidy() -> None:
    try:
        media_prepare()
        leftovers_delete()
    except OSError as error:
        # Tidying can wait for the next start.
        logger.error("leftovers not deleted", extra={"fault": fault_name(error)}, exc_info=error)


def _warm_up() -> None:
    """Load the model in service now, so that the first prediction does not wait for it."""
    active = model_version_active()
    if active is None:
        logger.warning("no model is in service; see manage.py register_model")
        return
    try:
        load_predictor(active)
    except (MLError, OSError) as error:
        # Each prediction will wait; the worker goes on, for the bundle may be restored.
        logger.error("model not loaded", extra={"fault": fault_name(error)}, exc_info=error)


def _sweep(sweeps: list[Callable[[], None]]) -> None:
    ended = threading.Event()
    while not ended.wait(SWEEP_SECONDS):
        try:
            for sweep in sweeps:
                sweep()
        except Exception:
            # The boundary of this thread: a database that is away for a moment comes back.
            logger.exception("sweep failed")
        finally:
            connections.close_all()


def _shutdown(
    shutdown: Callable[[int, FrameType | None], None],
) -> Callable[[int, FrameType | None], None]:
    def stop(number: int, frame: FrameType | None) -> None:
        # A training takes hours and is ended; an import or a reading is finished.
        training_stop()
        shutdown(number, frame)

    return stop
