"""The way into the task queue, and the search for rows whose task got lost."""

from collections.abc import Iterable
from datetime import timedelta
from functools import partial

from django.db import transaction
from django.utils import timezone
from django_tasks import TaskResultStatus
from django_tasks.base import Task
from django_tasks_db import DatabaseBackend
from django_tasks_db.models import DBTaskResult

# A row that has waited longer must have a task that will still run.
LOST_SECONDS = 60.0


def task_enqueue(*, task: Task[[int], None], pk: int) -> None:
    """Enqueue the task of a row, so that no worker gets it before the row is committed.

    A queue in this database commits together with the row. Any other gets the task after the
    commit.
    """
    if isinstance(task.get_backend(), DatabaseBackend):
        task.enqueue(pk)
    else:
        transaction.on_commit(partial(task.enqueue, pk))


def pks_without_task(*, task: Task[[int], None], pks: Iterable[int]) -> set[int]:
    """Return those of these long-waiting rows that no task will run any more.

    A task that was taken up long ago and left its row waiting belongs to a dead worker.
    """
    wanted = set(pks)
    if not wanted or not isinstance(task.get_backend(), DatabaseBackend):
        return set()
    just_now = timezone.now() - timedelta(seconds=LOST_SECONDS)
    tasks = DBTaskResult.objects.filter(
        task_path=task.module_path,
        status__in=[TaskResultStatus.READY, TaskResultStatus.RUNNING],
    )
    for status, started_at, arguments in tasks.values_list("status", "started_at", "args_kwargs"):
        is_alive = status == TaskResultStatus.READY or (started_at and started_at > just_now)
        if is_alive:
            wanted.discard(arguments["args"][0])
    return wanted
