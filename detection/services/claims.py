"""Rows that workers claim: each is taken once, and taken up again when its worker has died.

Uploads, predictions and training runs wait in their tables for a task. The worker that gets the
task claims the row, and the row carries a heartbeat for as long as it is worked on.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone
from django_tasks.base import Task

from detection.services.heartbeat import stale_before
from detection.services.queue import LOST_SECONDS, pks_without_task, task_enqueue

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 3


@dataclass(frozen=True)
class Work:
    """The rows of one table that workers claim, and the task that works on one of them.

    Every row has `status`, `heartbeat_at` and `created_at`. Rows of repeated work have `attempts`
    too: the number of the claim that owns the row.
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
    if work.is_repeated:
        changed["attempts"] = F("attempts") + 1
    waiting = work.model.objects.filter(pk=row.pk, status=work.waiting)
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


def rows_sweep(
    *,
    work: Work,
    give_up: Callable[[Any], None],
    requeued: Callable[[Any], None] | None = None,
) -> None:
    """Take up the rows that dead workers left, and the waiting ones whose task is gone.

    The row of a dead worker waits again, and `requeued` is told of it. After the third crash in a
    row, or the first if the work is not repeated, `give_up` ends it instead. Both are called
    within the transaction that holds the row. Two sweeps at once do it once.
    """
    running = work.model.objects.filter(status=work.running)
    for row in running.filter(heartbeat_at__lt=stale_before()):
        _take_up(work, row, give_up, requeued)
    long_ago = timezone.now() - timedelta(seconds=LOST_SECONDS)
    waiting = work.model.objects.filter(status=work.waiting, created_at__lt=long_ago)
    pks = waiting.values_list("pk", flat=True)
    for pk in sorted(pks_without_task(task=work.task, pks=pks)):
        logger.warning("row had lost its task", extra={work.name: pk})
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
