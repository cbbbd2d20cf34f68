import numpy as np
import pytest

from detection.ml.calibration import apply_platt, wilson_interval
from detection.ml.training import choose_operating_points, expected_calibration_error
from detection.ml.training.operating_points import fit_platt


def test_platt_recovers_a_known_scale():
    generator = np.random.default_rng(1)
    logits = generator.normal(0, 3, 20000)
    labels = generator.random(20000) < 1 / (1 + np.exp(-(0.5 * logits - 1)))

    calibration = fit_platt(logits, labels)

    assert calibration["slope"] == pytest.approx(0.5, abs=0.03)
    assert calibration["intercept"] == pytest.approx(-1, abs=0.06)
    assert expected_calibration_error(apply_platt(logits, calibration), labels) < 0.02


def test_platt_of_a_separated_set_stays_finite():
    calibration = fit_platt(np.array([-9.0, -8, 8, 9]), np.array([False, False, True, True]))

    probabilities = apply_platt(np.array([-9.0, 9]), calibration)

    assert 0 < probabilities[0] < 0.5 < probabilities[1] < 1


def test_wilson_interval_of_the_published_result():
    # 335 of 346 (Yildirim et al. 2021): 94.4 to 98.2 %.
    low, high = wilson_interval(335, 346)

    assert (round(low, 3), round(high, 3)) == (0.944, 0.982)


def test_operating_points_keep_their_promise_and_their_order():
    generator = np.random.default_rng(2)
    labels = generator.random(400) < 0.5
    probabilities = np.clip(np.where(labels, 0.7, 0.3) + generator.normal(0, 0.15, 400), 0, 1)

    points = choose_operating_points(probabilities, labels, unit="image")

    assert points["rule_out"]["sensitivity"] >= 0.98
    assert points["rule_in"]["specificity"] >= 0.98
    assert points["rule_out"]["threshold"] <= points["balanced"]["threshold"]
    assert points["balanced"]["threshold"] <= points["rule_in"]["threshold"]
    assert points["balanced"]["n_positive"] == labels.sum()


def test_promises_are_kept_by_the_lower_bound_where_there_are_enough_groups():
    generator = np.random.default_rng(3)
    labels = np.arange(2000) % 2 == 0
    probabilities = np.clip(np.where(labels, 0.8, 0.2) + generator.normal(0, 0.12, 2000), 0, 1)
    groups = (np.arange(2000) // 4).astype(str)

    points = choose_operating_points(probabilities, labels, unit="image", groups=groups)

    assert points["rule_out"]["chosen_by"] == "lower interval bound"
    low, _ = wilson_interval(round(points["rule_out"]["sensitivity"] * 1000), 1000, z=1.644854)
    assert low >= 0.98


def test_one_missed_group_of_few_leaves_the_point_estimate():
    # 200 stone items of 10 groups; the items of one group lie among the stone-free ones.
    labels = np.arange(400) < 200
    probabilities = np.where(labels, 0.9, 0.1)
    probabilities[:3] = 0.05
    groups = np.where(np.arange(400) < 3, "missed", (np.arange(400) // 20).astype(str))

    points = choose_operating_points(probabilities, labels, unit="image", groups=groups)

    assert points["rule_in"]["chosen_by"] == "lower interval bound"
    assert points["rule_out"]["sensitivity"] >= 0.98


def test_few_items_cannot_keep_a_promise_by_the_bound():
    labels = np.array([True] * 20 + [False] * 20)
    probabilities = np.where(labels, 0.9, 0.1)

    points = choose_operating_points(probabilities, labels, unit="image")

    # 20 of 20 has a lower bound of 0.88.
    assert points["rule_out"]["chosen_by"] == "point estimate"
    assert points["rule_out"]["sensitivity"] == 1.0


def test_the_balanced_point_does_not_hang_on_one_item():
    # Classes with a wide gap, and one stone-free item far into it.
    labels = np.array([True] * 300 + [False] * 300)
    generator = np.random.default_rng(4)
    logits = np.where(labels, 6.0, -6.0) + generator.normal(0, 1, 600)
    probabilities = apply_platt(logits, {"slope": 1.0, "intercept": 0.0})
    one_off = probabilities.copy()
    one_off[-1] = 0.9

    points = [
        choose_operating_points(each, labels, unit="image")["balanced"]
        for each in (probabilities, one_off)
    ]

    assert all(0.2 < point["threshold"] < 0.8 for point in points)
    assert points[0]["sensitivity"] == points[0]["specificity"] == 1.0
