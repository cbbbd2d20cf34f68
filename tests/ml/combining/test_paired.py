import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from detection.ml.combining.paired import FoundStones, Patients, difference
from detection.ml.combining.rows import Rows
from detection.ml.training import match_stones

UNITS = {f"g{index}": f"u{index // 2}" for index in range(60)}
GROUPS = [f"g{index % 60}" for index in range(600)]
LABELS = np.arange(600) % 3 == 0


@pytest.fixture(scope="module")
def patients():
    return Patients(UNITS)


def scores(noise, *, seed=0):
    drawn = np.random.default_rng(seed).normal(0, noise, 600)
    return np.round(1 / (1 + np.exp(-(np.where(LABELS, 1.5, -1.5) + drawn))), 2)


def accuracy(patients, values):
    return patients.share((values >= 0.5) == LABELS, patients.of(GROUPS), unit="item")


def area(patients, values):
    return patients.auc(values, LABELS, patients.of(GROUPS), unit="item")


@pytest.mark.parametrize("measure", [accuracy, area])
def test_the_same_model_twice_shows_no_difference(patients, measure):
    one, again = measure(patients, scores(2)), measure(patients, scores(2))

    told = difference(one, again, is_higher_better=True)

    assert (told["value"], told["low"], told["high"], told["shows"]) == (0, 0, 0, "not shown")


@pytest.mark.parametrize("measure", [accuracy, area])
def test_an_equal_model_is_not_told_apart_and_a_worse_one_is(patients, measure):
    reference = measure(patients, scores(2))

    equal = difference(measure(patients, scores(2, seed=2)), reference, is_higher_better=True)
    worse = difference(measure(patients, scores(8)), reference, is_higher_better=True)
    better = difference(reference, measure(patients, scores(8)), is_higher_better=True)

    assert equal["low"] < 0 < equal["high"]
    assert equal["shows"] == "not shown"
    assert worse["high"] < 0
    assert worse["shows"] == "worse"
    assert better["shows"] == "better"


def test_paired_interval_is_narrower_than_the_two_alone(patients):
    base = scores(3)
    changed = base.copy()
    changed[:5] = 1 - changed[:5]
    one, other = accuracy(patients, base), accuracy(patients, changed)

    told = difference(other, one, is_higher_better=True)

    assert told["high"] - told["low"] < one.figure.high - one.figure.low


def test_area_of_each_draw_is_that_of_its_items(patients):
    values = scores(3)
    weights = patients.weights(patients.of(GROUPS))

    measured = area(patients, values)

    assert measured.figure.value == pytest.approx(roc_auc_score(LABELS, values))
    for draw in (1, 7):
        expected = roc_auc_score(LABELS, values, sample_weight=weights[draw])
        assert measured.draws[draw - 1] == pytest.approx(expected)


def test_units_are_drawn_as_a_whole(patients):
    weights = patients.weights(patients.of(["g0", "g1", "g2"]))

    assert (weights[0] == 1).all()
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 0] != weights[:, 2]).any()


def test_stones_are_found_above_the_threshold_of_each_draw(patients):
    stones = FoundStones(
        scores=np.array([0.9, 0.5, 0.0, 0.7]),
        images=np.array([0, 1, 2, 3]),
        sides=np.full(4, 4.0),
        false_scores=np.array([0.6, 0.8, 0.3]),
        false_images=np.array([0, 1, 1]),
        image_units=patients.of(["g0", "g2", "g4", "g6"]),
    )
    every = np.ones(4, bool)

    def share(allowed):
        return patients.found(stones, every, false_per_image=allowed, unit="stone")

    # None, one, two and all of the three false findings on four images are allowed.
    assert share(0.0).figure.hits == 1
    assert share(0.25).figure.hits == 2
    assert share(0.5).figure.hits == 3
    # A stone without any mark is never found.
    assert share(2.0).figure.hits == 3
    # A draw without image 1 has no false finding above 0.6.
    weights = patients.weights(stones.image_units)[1:]
    without = (weights == [1, 0, 1, 2]).all(1)
    if without.any():
        assert share(0.0).draws[without] == pytest.approx(3 / 4)


def test_no_stones_are_no_figure(patients):
    empty = match_stones([], [])
    stones = FoundStones(
        empty.scores, empty.image_index, empty.sides, empty.false_scores,
        np.zeros(0, np.int64), patients.of(["g0"]),
    )  # fmt: skip

    measured = patients.found(stones, np.zeros(0, bool), false_per_image=0.5, unit="stone")

    assert measured.figure.value is None
    assert difference(measured, measured, is_higher_better=True)["shows"] == "not judged"


def test_lower_is_better_where_it_is_said(patients):
    units = patients.of(GROUPS)
    rows = Rows(reference="a")

    rows.add(
        "Time",
        "seconds",
        {
            "a": patients.median(np.full(600, 2.0), units, unit="image"),
            "b": patients.median(np.full(600, 1.0), units, unit="image"),
        },
        is_higher_better=False,
        form="seconds",
    )

    assert (rows.rows[0].better(), rows.rows[0].worse()) == (["b"], [])


def test_slope_has_no_better_direction(patients):
    units = patients.of(GROUPS)
    few = Patients(UNITS, draws=20)
    one, other = (few.slope(scores(n), LABELS, units, unit="item") for n in (2, 8))

    assert difference(other, one, is_higher_better=None)["shows"] == "not judged"


def test_few_patients_show_nothing():
    units = {f"g{index}": f"u{index}" for index in range(6)}
    for count, shows in ((5, "not judged"), (6, "worse")):
        few = Patients(dict(list(units.items())[:count]))
        names = few.of([f"g{index % count}" for index in range(60)])
        one, other = (few.share(np.full(60, flag), names, unit="item") for flag in (True, False))

        assert difference(other, one, is_higher_better=True)["shows"] == shows


def test_a_rate_of_one_keeps_an_honest_bound(patients):
    measured = patients.rate(np.ones(600), patients.of(GROUPS), unit="item")

    assert measured.figure.high == 1
    assert 0.99 < measured.figure.low < 1
