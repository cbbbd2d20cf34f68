"""Rows that workers claim: each is taken once, and taken up again when its worker has died.

Uploads, predictions and training runs wait in their tables for a task. The worker that gets the
task claims the row, and the row carries a heartbeat for as long as it is worked on. A row that
the installation keeps from being worked on waits again, with growing pauses.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone
from django_tasks.base import Task

from detection.services.faults import fault_name
from detection.services.heartbeat import stale_before
from detection.services.queue import LOST_SECONDS, pks_without_task, task_enqueue

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
# How long a row waits after the first, second, ... fault in a row; the last holds from then on.
PAUSES_SECONDS = (10, 30, 60, 120, 300, 600)
# So long the database has to come back for a row to be put back properly. A row that is not is
# taken up by the sweep, which must count that as a crash.
DATABASE_PAUSES_SECONDS = (1, 2, 5, 10, 20, 30)


@dataclass(frozen=True)
class Work:
    """The rows of one table that workers claim, and the task that works on one of them.

    Every row has `status`, `heartbeat_at` and `created_at`. Rows of repeated work have `attempts`
    too, the number of the claim that owns the row, and `faults`, `retry_at` and `message`, which
    tell of a fault of the installation.
    """

    model: type[Any]
    task: Task[[int], None]
    waiting: str
    running: str
    # How the log calls a row.
    name: str
    is_repeated: bool = True


def row_claim(*, work: Work, row: Any, **fields: Any) -> bool:
    """Take a waiting row for this worker; say whether it is ours now.

    `fields` are written with the claim, and `row` knows them afterwards.
    """
    changed = {"status": work.running, "heartbeat_at": timezone.now(), **fields}
    waiting = work.model.objects.filter(pk=row.pk, status=work.waiting)
    if work.is_repeated:
        changed |= {"attempts": F("attempts") + 1, "retry_at": None, "message": ""}
        # A second task of a row that waits for the installation comes too early.
        waiting = waiting.filter(Q(retry_at=None) | Q(retry_at__lte=timezone.now()))
    if not waiting.update(**changed):
        return False
    row.refresh_from_db(fields=list(changed))
    return True


def rows_claimed(*, work: Work, row: Any) -> QuerySet[Any]:
    """Return the row as a queryset, empty once this claim no longer owns it."""
    claimed = work.model.objects.filter(pk=row.pk, status=work.running)
    return claimed.filter(attempts=row.attempts) if work.is_repeated else claimed


def row_requeue(*, work: Work, row: Any, **fields: Any) -> bool:
    """Let a row of ours wait again and enqueue its task; say whether it was ours.

    `attempts` counts the crashes in a row and stays unless `fields` sets it. The caller holds the
    transaction.
    """
    rows = rows_claimed(work=work, row=row)
    if not rows.update(status=work.waiting, heartbeat_at=None, **fields):
        return False
    task_enqueue(task=work.task, pk=row.pk)
    return True


def row_wait(
    *,
    work: Work,
    row: Any,
    error: BaseException,
    message: str,
    waited: Callable[[Any], None] | None = None,
) -> None:
    """Let a row of ours wait for the installation, which failed and not the row's files.

    The log gets an error. The sweep goes on with the row after a pause, which grows with the faults
    in a row. A fault is no crash: `attempts` does not count it. `waited` is called within the
    transaction. Nothing happens to a row that is no longer ours.
    """
    logger.error(
        "row waits for the installation",
        extra={work.name: row.pk, "fault": fault_name(error)},
        exc_info=error,
    )
    pause = PAUSES_SECONDS[min(row.faults, len(PAUSES_SECONDS) - 1)]
    for patience in (*DATABASE_PAUSES_SECONDS, None):
        try:
            with transaction.atomic():
                is_ours = rows_claimed(work=work, row=row).update(
                    status=work.waiting,
                    heartbeat_at=None,
                    attempts=F("attempts") - 1,
                    faults=row.faults + 1,
                    retry_at=timezone.now() + timedelta(seconds=pause),
                    message=message,
                )
                if is_ours and waited:
                    waited(row)
            return
        except (OperationalError, InterfaceError):
            if patience is None:
                raise
            if not connection.in_atomic_block:
                connection.close_if_unusable_or_obsolete()
            time.sleep(patience)


def waited_seconds(*, row: Any) -> int:
    """Return how long a row has waited, at least, for its faults in a row."""
    grown = PAUSES_SECONDS[: row.faults]
    return sum(grown) + (row.faults - len(grown)) * PAUSES_SECONDS[-1]


@transaction.atomic
def row_hurry(*, work: Work, row: Any) -> bool:
    """Let a row that waits for the installation go on at once; say whether it did wait."""
    waiting = work.model.objects.filter(pk=row.pk, status=work.waiting, retry_at__isnull=False)
    if not waiting.update(retry_at=None, faults=0):
        return False
    task_enqueue(task=work.task, pk=row.pk)
    return True


def rows_sweep(
    *,
    work: Work,
    give_up: Callable[[Any], None],
    requeued: Callable[[Any], None] | None = None,
) -> None:
    """Take up the rows that dead workers left, and the waiting ones that no task will run.

    These have lost their task, or their pause after a fault is over. The row of a dead worker
    waits again, and `requeued` is told of it. After the third crash in a row, or the first if the
    work is not repeated, `give_up` ends it instead. Both are called within the transaction that
    holds the row. Two sweeps at once do it once.
    """
    running = work.model.objects.filter(status=work.running)
    for row in running.filter(heartbeat_at__lt=stale_before()):
        _take_up(work, row, give_up, requeued)
    long_ago = timezone.now() - timedelta(seconds=LOST_SECONDS)
    waiting = work.model.objects.filter(status=work.waiting)
    is_old = Q(created_at__lt=long_ago)
    if work.is_repeated:
        is_old = is_old & Q(retry_at=None) | Q(retry_at__lte=timezone.now())
    pks = waiting.filter(is_old).values_list("pk", flat=True)
    for pk in sorted(pks_without_task(task=work.task, pks=pks)):
        logger.warning("waiting row gets a task", extra={work.name: pk})
        task_enqueue(task=work.task, pk=pk)


@transaction.atomic
def _take_up(
    work: Work,
    row: Any,
    give_up: Callable[[Any], None],
    requeued: Callable[[Any], None] | None,
) -> None:
    # A worker that was only slow, and has given a sign of life since, keeps its claim.
    rows = rows_claimed(work=work, row=row).filter(heartbeat_at=row.heartbeat_at)
    if rows.select_for_update().first() is None:
        return
    if not work.is_repeated or row.attempts >= MAX_ATTEMPTS:
        logger.error("row had lost its worker, not tried again", extra={work.name: row.pk})
        give_up(row)
        return
    row_requeue(work=work, row=row)
    logger.warning("row taken up again", extra={work.name: row.pk})
    if requeued:
        requeued(row)
