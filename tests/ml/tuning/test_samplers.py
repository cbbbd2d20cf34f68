import optuna
import pytest

from detection.ml.tuning import SAMPLERS, SPACE, distributions, make_sampler
from detection.ml.tuning.samplers import POPULATION

optuna.logging.set_verbosity(optuna.logging.ERROR)
UNIT = {f"x{number}": optuna.distributions.FloatDistribution(-5, 5) for number in range(5)}


def sphere(params):
    return sum((value - 1.5) ** 2 for value in params.values())


def search(name, objective, space, *, trials, seed=1, study=None, direction="minimize"):
    """Search with a new sampler for every trial, as `search.run_search` does."""
    study = study or optuna.create_study(direction=direction)
    for number in range(len(study.trials), trials):
        study.sampler = make_sampler(name, seed=seed * 1000 + number)
        trial = study.ask(space)
        study.tell(trial, objective(trial.params))
    return study


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_stays_within_the_space(name):
    space = distributions()

    study = search(name, lambda params: params["dropout"], space, trials=25)

    for trial in study.trials:
        assert trial.params.keys() == space.keys()
        for dimension in SPACE:
            value = trial.params[dimension.name]
            assert dimension.low <= value <= dimension.high
            if dimension.step:
                steps = (value - dimension.low) / dimension.step
                assert steps == pytest.approx(round(steps))


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_search_that_stopped_goes_on_as_if_it_had_not(name):
    whole = search(name, sphere, UNIT, trials=30)

    stopped = search(name, sphere, UNIT, trials=17)
    resumed = search(name, sphere, UNIT, trials=30, study=stopped)

    assert [trial.params for trial in resumed.trials] == [trial.params for trial in whole.trials]


@pytest.mark.parametrize("name", ["tpe", "cmaes", "ga", "pso"])
def test_a_search_finds_the_bottom_of_a_bowl_sooner_than_chance(name):
    seeds = (1, 2, 3)

    def mean_of_best(sampler):
        found = [search(sampler, sphere, UNIT, trials=60, seed=seed).best_value for seed in seeds]
        return sum(found) / len(found)

    assert mean_of_best(name) < mean_of_best("random") / (1.2 if name == "ga" else 2)


def test_the_swarm_climbs_too():
    study = search("pso", lambda params: -sphere(params), UNIT, trials=80, direction="maximize")

    best_of_first = max(trial.value for trial in study.trials[:POPULATION])
    assert study.best_value > best_of_first / 4


def test_the_swarm_chooses_among_categories():
    space = {
        "kind": optuna.distributions.CategoricalDistribution(["a", "b", "c", None]),
        "size": optuna.distributions.IntDistribution(1, 64, log=True),
        "x": optuna.distributions.FloatDistribution(-5, 5),
    }

    def cost(params):
        return (params["kind"] != "c") * 3 + abs(params["size"] - 16) / 16 + abs(params["x"])

    study = search("pso", cost, space, trials=80)

    assert len({trial.params["kind"] for trial in study.trials}) > 2
    assert study.best_params["kind"] == "c"
    late = [trial.params["kind"] for trial in study.trials[-20:]]
    assert late.count("c") > 15


def test_pruned_and_failed_trials_do_not_stop_the_swarm():
    study = optuna.create_study()
    states = optuna.trial.TrialState
    for number in range(40):
        study.sampler = make_sampler("pso", seed=number)
        trial = study.ask(UNIT)
        if number % 3 == 0:
            study.tell(trial, state=states.FAIL)
        elif number % 3 == 1:
            trial.report(sphere(trial.params), 0)
            study.tell(trial, state=states.PRUNED)
        else:
            study.tell(trial, sphere(trial.params))

    assert len({tuple(trial.params.values()) for trial in study.trials}) == 40


def test_an_unknown_sampler_is_refused():
    with pytest.raises(ValueError, match="random, tpe"):
        make_sampler("grid", seed=1)
