"""Predictions on real worker processes, a real database and the real model."""

from collections import Counter
from datetime import timedelta

import numpy as np
import pytest
from django.utils import timezone

from detection.ml.serving import load_stone_map
from detection.models import Prediction
from detection.selectors.predictions import prediction_map_path
from detection.services.heartbeat import STALE_SECONDS
from detection.services.predictions import CRASHED, prediction_sweep
from tests.processes import PATIENCE_SECONDS, wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


def is_finished(*predictions):
    rows = Prediction.objects.filter(pk__in=[prediction.pk for prediction in predictions])
    return all(prediction.is_finished for prediction in rows)


def age_heartbeat(prediction):
    """In place of waiting until the heartbeat of a killed worker is old."""
    long_ago = timezone.now() - timedelta(seconds=STALE_SECONDS + 1)
    Prediction.objects.filter(pk=prediction.pk).update(heartbeat_at=long_ago)


def test_other_worker_finishes_the_prediction_of_a_killed_one(
    start_slow_workers, hold, predictions_make
):
    workers = start_slow_workers(2)
    hold.close()
    (prediction,) = predictions_make(1)
    wait_for(hold.runs)
    ((_, victim),) = hold.runs()

    workers[victim].kill()
    age_heartbeat(prediction)
    hold.open()
    wait_for(lambda: is_finished(prediction))

    prediction.refresh_from_db()
    (survivor,) = workers.keys() - {victim}
    assert hold.runs() == [(prediction.pk, victim), (prediction.pk, survivor)]
    assert prediction.status == Prediction.Status.SUCCEEDED
    assert prediction.attempts == 2
    # One set of findings: the database would not take a second one with the same ranks.
    ranks = list(prediction.findings.values_list("rank", flat=True))
    assert ranks == list(range(1, len(ranks) + 1))
    study = prediction.series.study
    study.refresh_from_db()
    assert (study.status, study.probability) == (prediction.status, prediction.probability)


def test_third_crash_ends_as_failed(start_slow_workers, hold, predictions_make):
    workers = start_slow_workers(3)
    hold.close()
    (prediction,) = predictions_make(1)
    for crash in range(1, 4):
        wait_for(lambda crash=crash: len(hold.runs()) == crash)
        workers[hold.runs()[-1][1]].kill()
        age_heartbeat(prediction)
        prediction_sweep()

    prediction.refresh_from_db()
    assert (prediction.status, prediction.message) == (Prediction.Status.FAILED, CRASHED)
    assert prediction.attempts == 3
    assert len({process for _, process in hold.runs()}) == 3


def test_stopped_worker_finishes_the_task_in_hand(start_slow_workers, hold, predictions_make):
    ((_, worker),) = start_slow_workers(1).items()
    hold.close()
    first, second = predictions_make(2)
    wait_for(hold.runs)

    worker.process.terminate()
    wait_for(lambda: "shutting down" in worker.log())
    hold.open()

    assert worker.process.wait(timeout=PATIENCE_SECONDS) == 0
    first.refresh_from_db()
    second.refresh_from_db()
    assert first.is_finished
    assert first.attempts == 1
    assert (second.status, second.attempts) == (Prediction.Status.QUEUED, 0)


def test_two_workers_never_run_the_same_prediction(start_slow_workers, hold, predictions_make):
    workers = start_slow_workers(2)
    # Held until both have taken one, so that both take part however fast one of them is.
    hold.close()
    predictions = predictions_make(20)
    wait_for(lambda: len(hold.runs()) == 2)
    hold.open()
    wait_for(lambda: is_finished(*predictions))

    times_run = Counter(pk for pk, _ in hold.runs())
    assert times_run == dict.fromkeys([prediction.pk for prediction in predictions], 1)
    assert {process for _, process in hold.runs()} == set(workers)
    for prediction in predictions:
        prediction.refresh_from_db()
        assert prediction.attempts == 1
        assert prediction.status == Prediction.Status.SUCCEEDED


def test_same_image_gets_the_same_answer_from_every_worker(start_slow_workers, predictions_make):
    start_slow_workers(2)
    predictions = predictions_make(4)
    wait_for(lambda: is_finished(*predictions))

    assert len(set(Prediction.objects.values_list("status", "verdict", "probability"))) == 1
    maps = [
        load_stone_map(prediction_map_path(prediction=prediction))
        for prediction in Prediction.objects.all()
    ]
    assert all(np.array_equal(stone_map, maps[0]) for stone_map in maps)
