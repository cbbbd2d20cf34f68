import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from detection.ml.combining.fitting import (
    MIN_WEIGHT,
    Problem,
    cross_validated,
    fit_weights,
    fitted_loss,
    losses,
    pruned,
)
from detection.ml.serving import pool

TRUE_WEIGHTS = np.array([0.6, 0.3, 0.1])


def problem_of(cells, labels, *, columns=None, images=None):
    n = len(labels)
    width = cells.shape[-1]
    return Problem(
        cells=cells.astype(np.float32),
        images=np.arange(n) if images is None else images,
        columns=np.tile([0, width], (n, 1)) if columns is None else columns,
        labels=labels,
    )


@pytest.fixture(scope="module")
def toy():
    """Items of one cell, whose chance of a stone follows the weighted sum of three members."""
    generator = np.random.default_rng(1)
    cells = generator.normal(0, 4, (3, 4000, 1, 1))
    chance = 1 / (1 + np.exp(-(TRUE_WEIGHTS @ cells[..., 0, 0])))
    return problem_of(cells, generator.random(4000) < chance)


@pytest.mark.parametrize("method", ["stacking", "pso", "ga"])
def test_fitted_weights_are_those_that_made_the_labels(toy, method):
    weights = fit_weights(toy, method=method, trials=150, seed=1)

    assert weights == pytest.approx(TRUE_WEIGHTS, abs=0.08)
    assert weights.sum() == pytest.approx(1)
    assert fitted_loss(toy, weights) <= fitted_loss(toy, np.full(3, 1 / 3))


def test_mean_weighs_all_alike(toy):
    assert fit_weights(toy, method="mean", trials=1, seed=1) == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize("method", ["pso", "ga"])
def test_search_is_repeatable(toy, method):
    few = toy.only(np.arange(4000) < 200)

    one, other = (fit_weights(few, method=method, trials=20, seed=3) for _ in range(2))

    assert (one == other).all()


def test_weights_of_separated_classes_stay_finite():
    labels = np.arange(40) % 2 == 0
    perfect = np.where(labels, 5.0, -5.0)
    noise = np.random.default_rng(0).normal(0, 5, 40)

    weights = fit_weights(
        problem_of(np.stack([perfect, noise])[..., None, None], labels),
        method="stacking",
        trials=1,
        seed=1,
    )

    assert np.isfinite(weights).all()
    assert weights[0] > 0.8


def test_pooled_logits_are_those_of_the_served_pooling():
    generator = np.random.default_rng(2)
    cells = generator.normal(-8, 6, (2, 3, 6, 5))
    halves = problem_of(
        cells,
        np.array([True, False, True, False]),
        images=np.array([0, 1, 1, 2]),
        columns=np.array([[0, 5], [0, 2], [2, 5], [0, 5]]),
    )
    merged = np.tensordot([0.7, 0.3], cells, axes=1)

    expected = [pool(merged[0]), pool(merged[1][:, :2]), pool(merged[1][:, 2:]), pool(merged[2])]

    assert halves.pooled(np.array([0.7, 0.3])) == pytest.approx(expected, rel=1e-4)
    chosen = np.array([False, True, True, False])
    assert halves.only(chosen).pooled(np.array([0.7, 0.3])) == pytest.approx(
        expected[1:3], rel=1e-4
    )


def test_a_member_that_is_perfect_on_the_fitting_folds_alone_gets_no_credit():
    # Member k knows every label outside fold k, and nothing of fold k: whoever fits without fold k
    # believes in it, and is judged on fold k.
    folds = np.arange(600) % 4
    generator = np.random.default_rng(3)
    labels = generator.random(600) < 0.5
    perfect = np.where(labels, 4.0, -4.0)
    cells = np.stack([np.where(folds == k, generator.normal(0, 4, 600), perfect) for k in range(4)])
    problem = problem_of(cells[..., None, None], labels)

    def best_member(items):
        return min(np.eye(4), key=lambda weights: fitted_loss(items, weights))

    held = cross_validated(problem, folds=folds, fit=best_member)

    assert (held.weights == np.eye(4)).all()
    assert roc_auc_score(labels, held.pooled) == pytest.approx(0.5, abs=0.08)
    assert losses(held.calibrated, labels).mean() > 0.6
    # On the items that it was fitted on, the same choice looks nearly perfect.
    assert fitted_loss(problem, best_member(problem)) < 0.45


def test_members_of_next_to_no_weight_are_left_out():
    assert pruned(np.array([0.7, 0.29, 0.01])) == pytest.approx([0.7 / 0.99, 0.29 / 0.99, 0])
    assert MIN_WEIGHT == 0.02
