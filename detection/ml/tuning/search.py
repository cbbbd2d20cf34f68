"""Runs a study for each sampler in one storage: equal budgets, and nothing is run twice."""

import fcntl
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import optuna
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from detection.ml.errors import MLError
from detection.ml.tuning.samplers import BASELINE, make_sampler
from detection.ml.tuning.space import TODAY, distributions

Report = Callable[[dict[str, Any]], None]
# The study of one trial, that of a training that is not tuned.
UNTUNED = "today"
_UNFINISHED = "unfinished"
logger = logging.getLogger(__name__)


class Objective(Protocol):
    """What a search lowers: a trial in, its value out (`proxy.Proxy`)."""

    @property
    def task(self) -> dict[str, Any]: ...

    @property
    def units(self) -> list[str]: ...

    def __call__(self, trial: Trial) -> float: ...


def run_search(
    objective: Objective,
    *,
    storage: Path,
    samplers: Sequence[str],
    trials: int,
    seed: int,
    report: Report,
) -> None:
    """Run the trials that are missing, until each sampler has `trials`, and one of today's options.

    A trial that was killed with its process is run again, a trial that failed or was pruned is
    not. Sampler and seed of a trial depend on `seed` and its number among them alone, so that a
    search in several sittings draws what one sitting would have drawn.

    Parameters
    ----------
    storage : Path
        A SQLite file, made if it is missing.
    report : callable
        Receives progress as dictionaries: stage, sampler, done and trials (of all), best (of this
        sampler), seconds_left, fraction.

    Raises
    ------
    MLError
        If another process uses the storage, or it holds a search of another task.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage.parent.mkdir(parents=True, exist_ok=True)
    budgets = {UNTUNED: 1, **dict.fromkeys(samplers, trials)}
    with _alone(storage):
        studies = {name: _open(storage, name, objective) for name in budgets}
        missing = {name: max(0, n - len(spent(studies[name]))) for name, n in budgets.items()}
        total, left = sum(budgets.values()), sum(missing.values())
        started, to_run = time.monotonic(), left
        for name, study in studies.items():
            for _ in range(missing[name]):
                _run_trial(study, objective, sampler=name, seed=seed)
                left -= 1
                spared = time.monotonic() - started
                report(
                    {
                        "stage": "tune",
                        "sampler": name,
                        "done": total - left,
                        "trials": total,
                        "best": best_value(study),
                        "seconds_left": math.ceil(spared / (to_run - left) * left),
                        "fraction": round((total - left) / total, 4),
                    }
                )


def load_studies(storage: Path) -> dict[str, Study]:
    """Load the studies of a storage by name.

    Raises
    ------
    MLError
        If there is no such file, or it holds no trial that finished.
    """
    if not storage.is_file():
        raise MLError(f"There is no search in {storage.name}.")
    held = _storage(storage)
    studies = {
        name: optuna.load_study(study_name=name, storage=held)
        for name in optuna.get_all_study_names(held)
    }
    if not any(complete(study) for study in studies.values()):
        raise MLError(f"The search in {storage.name} has no trial that came to an end.")
    return studies


def spent(study: Study) -> list[FrozenTrial]:
    """Return the trials that count against the budget: complete, pruned and failed ones."""
    return [
        trial
        for trial in study.get_trials(deepcopy=False)
        if trial.state.is_finished() and _UNFINISHED not in trial.user_attrs
    ]


def complete(study: Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def best_value(study: Study) -> float | None:
    return min((trial.value for trial in complete(study) if trial.value is not None), default=None)


def _run_trial(study: Study, objective: Objective, *, sampler: str, seed: int) -> None:
    number = len(spent(study))
    study.sampler = make_sampler(
        BASELINE if sampler == UNTUNED else sampler, seed=seed * 100_000 + number
    )
    if sampler == UNTUNED:
        study.enqueue_trial(dict(TODAY), skip_if_exists=False)
    trial = study.ask(distributions())
    try:
        value = objective(trial)
        if not math.isfinite(value):
            raise MLError("The value is not a number.")
    except optuna.TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
    except Exception as error:
        # Options that no training stands end a trial, never the search.
        logger.exception("trial %s of %s failed", trial.number, study.study_name)
        trial.set_user_attr("error", str(error))
        study.tell(trial, state=TrialState.FAIL)
    except BaseException:
        _discard(study, study.trials[trial.number])
        raise
    else:
        study.tell(trial, value)


def _open(storage: Path, name: str, objective: Objective) -> Study:
    pruner: BasePruner = NopPruner() if name == UNTUNED else MedianPruner(n_startup_trials=5)
    study = optuna.create_study(
        study_name=name,
        storage=_storage(storage),
        pruner=pruner,
        direction="minimize",
        load_if_exists=True,
    )
    if study.user_attrs.setdefault("task", objective.task) != objective.task:
        raise MLError(
            f"{storage.name} holds a search of other data or other options. "
            "Name another file with --storage."
        )
    study.set_user_attr("task", objective.task)
    study.set_user_attr("units", objective.units)
    for left in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        _discard(study, left)
    return study


def _discard(study: Study, trial: FrozenTrial) -> None:
    """End a trial that its process did not: TPE would keep away from a running one for ever."""
    study._storage.set_trial_user_attr(trial._trial_id, _UNFINISHED, True)
    study.tell(trial.number, state=TrialState.FAIL)


def _storage(path: Path) -> optuna.storages.RDBStorage:
    return optuna.storages.RDBStorage(
        f"sqlite:///{path.resolve()}", engine_kwargs={"connect_args": {"timeout": 60}}
    )


@contextmanager
def _alone(storage: Path) -> Iterator[None]:
    """Keep another search out of a storage: it would take our running trial for a dead one."""
    with storage.with_name(f"{storage.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise MLError(f"Another search is using {storage.name}.") from error
        yield
