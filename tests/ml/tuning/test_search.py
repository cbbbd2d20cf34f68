import fcntl
import multiprocessing
import os
import signal

import pytest
from optuna.trial import TrialState

from detection.ml.errors import MLError
from detection.ml.tuning import load_studies, run_search
from detection.ml.tuning.search import UNTUNED, spent
from detection.ml.tuning.space import TODAY
from tests.ml.tuning.bowl import Bowl


def search(storage, objective, *, trials, samplers=("random", "pso"), report=lambda told: None):
    run_search(objective, storage=storage, samplers=samplers, trials=trials, seed=1, report=report)
    return load_studies(storage)


def params_of(studies):
    return {name: [trial.params for trial in spent(study)] for name, study in studies.items()}


def test_every_sampler_gets_the_same_number_of_trials_and_no_trial_is_run_twice(tmp_path):
    objective, reports = Bowl(), []

    studies = search(tmp_path / "s.sqlite3", objective, trials=4, report=reports.append)
    first = objective.calls
    studies = search(tmp_path / "s.sqlite3", objective, trials=4, report=reports.append)

    assert {name: len(spent(study)) for name, study in studies.items()} == {
        UNTUNED: 1,
        "random": 4,
        "pso": 4,
    }
    assert first == objective.calls == 9
    assert spent(studies[UNTUNED])[0].params == TODAY
    assert [told["done"] for told in reports] == list(range(1, 10))
    assert {told["trials"] for told in reports} == {9}
    assert reports[-1]["seconds_left"] == 0
    best = [told["best"] for told in reports if told["sampler"] == "random"]
    assert best == sorted(best, reverse=True)


def _killed_later(storage, pipe):
    class Told(Bowl):
        def __call__(self, trial):
            pipe.send(trial.number)
            return super().__call__(trial)

    search(storage, Told(seconds=0.05), trials=8)


def test_a_killed_search_goes_on_and_draws_what_it_would_have_drawn(tmp_path):
    whole = params_of(search(tmp_path / "whole.sqlite3", Bowl(), trials=8))
    ours, theirs = multiprocessing.Pipe()
    # A fork shares the imported Keras and takes no time; the child uses none of it.
    process = multiprocessing.get_context("fork").Process(
        target=_killed_later, args=(tmp_path / "killed.sqlite3", theirs)
    )
    process.start()
    for _ in range(12):
        assert ours.poll(60)
        ours.recv()
    os.kill(process.pid, signal.SIGKILL)
    process.join()

    objective = Bowl()
    studies = search(tmp_path / "killed.sqlite3", objective, trials=8)

    assert params_of(studies) == whole
    assert 0 < objective.calls < 8
    for study in studies.values():
        assert all(trial.state != TrialState.RUNNING for trial in study.trials)


def test_a_search_that_is_stopped_leaves_no_trial_running(tmp_path):
    with pytest.raises(SystemExit):
        search(tmp_path / "s.sqlite3", Bowl(stops=3), trials=4)

    study = load_studies(tmp_path / "s.sqlite3")["random"]
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE, TrialState.FAIL]
    assert len(spent(study)) == 1


def test_a_trial_that_fails_is_spent_and_the_search_goes_on(tmp_path):
    study = search(tmp_path / "s.sqlite3", Bowl(fails={3}), trials=4)["random"]

    states = [trial.state for trial in spent(study)]
    assert states.count(TrialState.FAIL) == 1
    assert len(states) == 4
    assert spent(study)[1].user_attrs["error"] == "these options train nothing"


def test_a_bad_trial_is_stopped_after_its_first_fold(tmp_path):
    study = search(tmp_path / "s.sqlite3", Bowl(), trials=14, samplers=["random"])["random"]

    pruned = [trial for trial in spent(study) if trial.state == TrialState.PRUNED]
    assert pruned
    assert all(len(trial.intermediate_values) == 1 for trial in pruned)
    complete = [trial.value for trial in spent(study) if trial.state == TrialState.COMPLETE]
    assert min(trial.intermediate_values[0] for trial in pruned) > min(complete)


def test_a_storage_of_another_task_is_refused(tmp_path):
    search(tmp_path / "s.sqlite3", Bowl(), trials=1)
    other = Bowl()
    other.task = {**Bowl.task, "folds": 5}

    with pytest.raises(MLError, match="other data or other options"):
        search(tmp_path / "s.sqlite3", other, trials=1)


def test_a_storage_that_another_search_uses_is_refused(tmp_path):
    storage = tmp_path / "s.sqlite3"
    with (tmp_path / "s.sqlite3.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        with pytest.raises(MLError, match="Another search"):
            search(storage, Bowl(), trials=1)
