"""The ways to search, by name, all behind Optuna's sampler interface."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from optuna._transform import _SearchSpaceTransform
from optuna.distributions import BaseDistribution
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    NSGAIISampler,
    RandomSampler,
    TPESampler,
)
from optuna.search_space import intersection_search_space
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

# TPE (Bergstra et al. 2011), CMA-ES (Hansen and Ostermeier 2001), NSGA-II (Deb et al. 2002) as the
# genetic algorithm, particle swarm (Kennedy and Eberhart 1995).
SAMPLERS = ("random", "tpe", "cmaes", "ga", "pso")
BASELINE = "random"
# Particles of a swarm, members of a generation, and random trials before TPE models anything: few,
# because a search has tens of trials, not thousands.
POPULATION = 10
# Inertia and acceleration of the constricted swarm (Clerc and Kennedy 2002, IEEE Transactions on
# Evolutionary Computation 6(1):58-73): phi = 4.1 gives chi = 0.7298, and chi * phi / 2 = 1.4962.
INERTIA, ACCELERATION = 0.7298, 1.4962


def make_sampler(name: str, *, seed: int) -> BaseSampler:
    """Make a sampler by its name. Raises ValueError for another name."""
    if name == "random":
        return RandomSampler(seed=seed)
    if name == "tpe":
        return TPESampler(seed=seed, n_startup_trials=POPULATION)
    if name == "cmaes":
        return CmaEsSampler(seed=seed, warn_independent_sampling=False)
    if name == "ga":
        return NSGAIISampler(seed=seed, population_size=POPULATION)
    if name == "pso":
        return ParticleSwarmSampler(seed=seed)
    raise ValueError(f"There is no sampler {name!r}. Choose one of: {', '.join(SAMPLERS)}.")


class ParticleSwarmSampler(BaseSampler):
    """A particle swarm whose places are the finished trials of a study, in turn.

    It keeps nothing: trial n is the next place of particle n modulo their number, whose velocity is
    the step between its last two places. A search therefore goes on in another process as if it had
    never stopped. Categories are corners of a cube, of which the largest coordinate counts. Failed
    trials are left out, as by Optuna's own samplers; a pruned one moved its particle, but is no
    best place.
    """

    def __init__(self, *, seed: int | None = None, particles: int = POPULATION) -> None:
        self._particles = particles
        self._generator = np.random.default_rng(seed)
        self._random = RandomSampler(seed=seed)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return intersection_search_space(study.get_trials(deepcopy=False), include_pruned=True)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if not search_space:
            return {}
        cube = _SearchSpaceTransform(search_space, transform_0_1=True)
        finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        own = finished[len(finished) % self._particles :: self._particles]
        anywhere = self._generator.uniform(size=len(cube.bounds))
        if not own:
            return cube.untransform(anywhere)

        def place(of: FrozenTrial) -> Any:
            return cube.transform({name: of.params[name] for name in search_space})

        here = place(own[-1])
        # The first step leads half way to anywhere (standard PSO, Clerc 2012, hal-00764996).
        velocity = here - place(own[-2]) if len(own) > 1 else (anywhere - here) / 2
        to_own, to_all = (
            place(_best(trials, study) or own[-1]) - here for trials in (own, finished)
        )
        pull_own, pull_all = self._generator.uniform(size=(2, len(here)))
        pull = pull_own * to_own + pull_all * to_all
        return cube.untransform(np.clip(here + INERTIA * velocity + ACCELERATION * pull, 0, 1))

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._random.sample_independent(study, trial, param_name, param_distribution)


def _best(trials: Sequence[FrozenTrial], study: Study) -> FrozenTrial | None:
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    sign = -1 if study.direction == StudyDirection.MAXIMIZE else 1
    return min(complete, key=lambda trial: sign * (trial.value or 0.0), default=None)
