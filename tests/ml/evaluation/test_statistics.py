import math

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from detection.ml.calibration import wilson_interval
from detection.ml.evaluation.statistics import (
    Figure,
    auc,
    best_accuracy,
    bootstrap,
    calibration,
    calibration_line,
    difference,
    group_weights,
    predictive_values,
    proportion,
    rank_correlation,
    roc_curve,
    weighted_auc,
)


def groups_of(count, *, each):
    return np.array([f"g{index // each}" for index in range(count)])


def figure(value, low, high, n=100):
    return Figure(value, low, high, n, 10, "image", "test")


def scored(n=300, seed=3):
    generator = np.random.default_rng(seed)
    labels = generator.random(n) < 0.4
    scores = np.round(np.clip(generator.normal(0.35 + 0.25 * labels, 0.2), 0.01, 0.99), 2)
    return scores, labels


def test_wilson_interval_of_the_published_share():
    low, high = wilson_interval(335, 346)

    assert (round(100 * low, 1), round(100 * high, 1)) == (94.4, 98.2)


def test_share_of_independent_items_has_at_least_wilsons_interval():
    flags = np.arange(200) < 190
    measured = proportion(flags, groups_of(200, each=1), unit="image")

    low, high = wilson_interval(190, 200)
    assert (measured.hits, measured.n, measured.groups) == (190, 200, 200)
    assert measured.low <= low
    assert measured.high >= high


def test_share_whose_errors_lie_in_one_group_has_a_wider_interval():
    flags = np.arange(200) >= 20
    alone = proportion(flags, groups_of(200, each=1), unit="image")
    together = proportion(flags, groups_of(200, each=20), unit="image")

    assert alone.value == together.value
    assert together.low < alone.low - 0.03


def test_share_of_one_keeps_wilsons_lower_bound():
    measured = proportion(np.ones(50, bool), groups_of(50, each=5), unit="image")

    assert measured.low == pytest.approx(wilson_interval(50, 50)[0])
    assert measured.high == 1.0


def test_share_of_nothing_is_not_measured():
    measured = proportion(np.zeros(0, bool), np.zeros(0, str), unit="image")

    assert measured.value is None
    assert measured.n == 0


def test_resample_draws_whole_groups_and_as_many_as_there_are():
    groups = groups_of(30, each=3)

    weights = group_weights(groups, seed=1, resamples=50)

    assert (weights.sum(1) == 30).all()
    assert (weights.reshape(50, 10, 3).std(2) == 0).all()
    assert weights.max() > 1


def test_bootstrap_interval_of_a_mean_is_that_of_theory():
    values = np.random.default_rng(0).normal(0, 1, 400)

    measured = bootstrap(
        lambda w: float((w * values).sum() / w.sum()), groups_of(400, each=1), unit="image"
    )

    half = 1.96 * values.std() / math.sqrt(400)
    assert measured.high - measured.low == pytest.approx(2 * half, rel=0.1)
    assert measured.low < measured.value < measured.high


def test_bootstrap_repeats_itself():
    values = np.random.default_rng(0).normal(0, 1, 40)

    def mean(weights):
        return float((weights * values).sum() / weights.sum())

    one, other = (bootstrap(mean, groups_of(40, each=2), unit="image") for _ in range(2))

    assert one == other


def test_weighted_auc_is_that_of_repeated_items():
    scores, labels = scored()
    weights = np.random.default_rng(1).integers(0, 4, len(labels)).astype(float)
    drawn = np.repeat(np.arange(len(labels)), weights.astype(int))

    assert weighted_auc(scores, labels, np.ones(len(labels))) == pytest.approx(
        roc_auc_score(labels, scores)
    )
    assert weighted_auc(scores, labels, weights) == pytest.approx(
        roc_auc_score(labels[drawn], scores[drawn])
    )


def test_auc_of_one_class_is_not_measured():
    measured = auc(np.ones(5), np.ones(5, bool), groups_of(5, each=1), unit="image")

    assert measured.value is None


def test_roc_curve_encloses_the_area():
    scores, labels = scored()

    false, true, thresholds = roc_curve(scores, labels)

    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert len(false) == len(thresholds)
    assert np.trapezoid(true, false) == pytest.approx(roc_auc_score(labels, scores))


@pytest.mark.parametrize("label", [True, False])
def test_roc_curve_of_one_class_has_no_rate_of_the_other(label):
    false, true, _ = roc_curve(np.array([0.2, 0.2, 0.7]), np.full(3, label))

    assert (false[-1], true[-1]) == ((0, 1) if label else (1, 0))
    assert np.isfinite([false, true]).all()


def test_best_accuracy_is_the_best_of_all_thresholds():
    scores, labels = scored()

    accuracy, threshold = best_accuracy(scores, labels)

    assert ((scores >= threshold) == labels).mean() == accuracy
    assert accuracy >= max(((scores >= t) == labels).mean() for t in np.linspace(0, 1, 101))


def test_predictive_values_follow_bayes_rule():
    values = predictive_values(figure(0.9, 0.8, 0.95), figure(0.8, 0.7, 0.9), prevalence=0.1)

    # Of 1,000: 90 true and 180 false alarms; 720 rightly and 10 wrongly cleared.
    assert values["ppv"].value == pytest.approx(90 / 270)
    assert values["npv"].value == pytest.approx(720 / 730)
    assert values["ppv"].low < values["ppv"].value < values["ppv"].high


def test_calibration_line_is_the_logistic_regression():
    scores, labels = scored()
    logits = np.log(scores / (1 - scores))

    slope, intercept = calibration_line(scores, labels, np.ones(len(labels)))

    model = LogisticRegression(C=1e9, tol=1e-10).fit(logits[:, None], labels)
    assert slope == pytest.approx(model.coef_[0, 0], rel=1e-3)
    assert intercept == pytest.approx(model.intercept_[0], rel=1e-3, abs=1e-3)


def test_calibration_line_of_separated_classes_is_not_defined():
    assert calibration_line(np.array([0.1, 0.9]), np.array([False, True]), np.ones(2)) is None


def test_overconfident_probabilities_have_a_calibration_error_and_a_flat_slope():
    generator = np.random.default_rng(5)
    true = generator.uniform(0.2, 0.8, 2000)
    labels = generator.random(2000) < true
    logits = 3 * np.log(true / (1 - true))
    groups = groups_of(2000, each=10)

    honest = calibration(true, labels, groups, unit="image")
    bold = calibration(1 / (1 + np.exp(-logits)), labels, groups, unit="image")

    assert honest["ece"].value < 0.05 < 0.1 < bold["ece"].value
    assert bold["ece"].low < bold["ece"].value < bold["ece"].high
    assert bold["slope"].value == pytest.approx(1 / 3, abs=0.08)
    assert bold["brier"].value > honest["brier"].value


def test_rank_correlation_is_spearmans():
    generator = np.random.default_rng(2)
    x = generator.integers(0, 12, 150).astype(float)
    y = x + generator.normal(0, 8, 150)

    measured = rank_correlation(x, y, groups_of(150, each=3), unit="image")

    assert measured.value == pytest.approx(spearmanr(x, y).statistic)
    assert measured.low < measured.value < measured.high


def test_rank_correlation_with_what_never_changes_is_not_measured():
    measured = rank_correlation(np.arange(9.0), np.ones(9), groups_of(9, each=1), unit="image")

    assert measured.value is None


def test_paired_difference_is_that_of_the_means():
    one = np.array([1.0, 1.0, 1.0, 0.0])
    other = np.array([1.0, 0.0, 1.0, 0.0])

    measured = difference(one, other, groups_of(4, each=1), unit="image")

    assert measured.value == pytest.approx(-0.25)
    assert measured.low <= -0.25 <= measured.high <= 0
