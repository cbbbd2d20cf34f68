"""Signs of life: a row in work carries the time at which its worker was last alive."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.db import DatabaseError, connections
from django.db.models import QuerySet
from django.utils import timezone

logger = logging.getLogger(__name__)

BEAT_SECONDS = 3.0
# Six missed beats: the worker is dead, or was held for so long that it counts as dead.
STALE_SECONDS = 20.0


def stale_before() -> datetime:
    """Return the time since which a living worker must have written a heartbeat."""
    return timezone.now() - timedelta(seconds=STALE_SECONDS)


@contextmanager
def heartbeat(*, rows: QuerySet[Any]) -> Iterator[None]:
    """Keep `heartbeat_at` of a claimed row fresh for as long as the block runs.

    `rows` names the row together with the claim (status, attempt): a row that another worker has
    taken over is left alone. The claim itself writes the first beat.
    """
    ended = threading.Event()
    thread = threading.Thread(target=_beat, args=(rows, ended), name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _beat(rows: QuerySet[Any], ended: threading.Event) -> None:
    # A thread has database connections of its own, and nobody else would close them.
    try:
        while not ended.wait(BEAT_SECONDS):
            try:
                rows.update(heartbeat_at=timezone.now())
            except DatabaseError as error:
                # The next beat may get through; if none does, another worker takes over.
                logger.warning("heartbeat not written: %s", type(error).__name__)
                connections.close_all()
    finally:
        connections.close_all()
