"""What uploads, predictions and training runs share: each test runs for the three."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from django_tasks_db.models import DBTaskResult

from detection.services import claims, imports, predictions, training
from detection.services.claims import row_claim, row_requeue, rows_claimed, rows_sweep
from detection.services.predictions import prediction_create
from detection.services.training import training_run_create
from tests.factories import png_upload, series_make

pytestmark = pytest.mark.usefixtures("model_version")


def upload(send, **_):
    return imports._IMPORTS, send(png_upload())


def prediction(radiologist, **_):
    return predictions._PREDICTIONS, prediction_create(series=series_make(uploaded_by=radiologist))


def training_run(administrator, settings, **_):
    folder = Path(settings.TRAINING_DATA_ROOT) / "some"
    folder.mkdir(parents=True)
    (folder / "manifest.csv").touch()
    return training._TRAININGS, training_run_create(requested_by=administrator, data_folder="some")


@pytest.fixture(params=[upload, prediction, training_run], ids=lambda make: make.__name__)
def waiting(request, send, radiologist, administrator, settings):
    """A waiting row of each table, with the work that it is."""
    return request.param(
        send=send, radiologist=radiologist, administrator=administrator, settings=settings
    )


def make_stale(work, row):
    long_ago = timezone.now() - timedelta(seconds=30)
    work.model.objects.filter(pk=row.pk).update(heartbeat_at=long_ago)


def swept(work):
    """Which rows were given up and which wait again, after two sweeps."""
    ended, again = [], []
    for _ in range(2):
        rows_sweep(work=work, give_up=ended.append, requeued=again.append)
    return ended, again


def test_row_is_claimed_once(waiting):
    work, row = waiting
    other = work.model.objects.get(pk=row.pk)

    assert row_claim(work=work, row=row)
    assert not row_claim(work=work, row=other)
    assert row.status == work.running
    assert rows_claimed(work=work, row=row).exists()


def test_row_of_a_dead_worker_waits_again_or_is_given_up(waiting):
    work, row = waiting
    row_claim(work=work, row=row)
    make_stale(work, row)
    tasks = DBTaskResult.objects.count()

    ended, again = swept(work)

    row.refresh_from_db()
    if work.is_repeated:
        assert (ended, again) == ([], [row])
        assert (row.status, row.heartbeat_at, row.attempts) == (work.waiting, None, 1)
        assert DBTaskResult.objects.count() == tasks + 1
    else:
        # Given up twice, for here nothing ends it.
        assert (ended, again) == ([row, row], [])
        assert DBTaskResult.objects.count() == tasks


def test_row_of_a_living_worker_is_left_alone(waiting):
    work, row = waiting
    row_claim(work=work, row=row)

    assert swept(work) == ([], [])


def test_worker_that_was_slow_and_has_beaten_since_keeps_its_claim(waiting, monkeypatch):
    work, row = waiting
    row_claim(work=work, row=row)
    make_stale(work, row)
    take_up = claims._take_up

    def beaten(*arguments):
        work.model.objects.filter(pk=row.pk).update(heartbeat_at=timezone.now())
        take_up(*arguments)

    monkeypatch.setattr(claims, "_take_up", beaten)

    assert swept(work) == ([], [])
    assert rows_claimed(work=work, row=row).exists()


def test_claim_of_a_row_that_waits_again_is_over(waiting):
    work, row = waiting
    assert not row_requeue(work=work, row=row)
    row_claim(work=work, row=row)
    tasks = DBTaskResult.objects.count()

    assert row_requeue(work=work, row=row)
    assert not row_requeue(work=work, row=row)
    assert DBTaskResult.objects.count() == tasks + 1


def test_waiting_row_without_a_task_gets_one(waiting):
    work, row = waiting
    work.model.objects.filter(pk=row.pk).update(created_at=timezone.now() - timedelta(minutes=5))
    DBTaskResult.objects.all().delete()

    assert swept(work) == ([], [])
    queued = DBTaskResult.objects.get()
    assert queued.task_path == work.task.module_path
    assert queued.args_kwargs["args"] == [row.pk]
