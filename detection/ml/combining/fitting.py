"""Fits the weights of an ensemble's members, and judges a method on patients it has not seen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logsumexp

from detection.ml.serving import SHARPNESS
from detection.ml.training import fit_platt
from detection.ml.tuning import make_sampler

Floats = NDArray[np.float64]
METHODS = ("mean", "stacking", "pso", "ga")
# A member that weighs less would cost its time and change next to nothing.
MIN_WEIGHT = 0.02


@dataclass(frozen=True, eq=False)
class Problem:
    """Judged items, and the map that every member has of their images.

    Attributes
    ----------
    cells : np.ndarray
        float32 `(members, images, rows, columns)`: logits, calibrated by each member's own scaling.
    images : np.ndarray
        int `(n,)`: the image of each item.
    columns : np.ndarray
        int `(n, 2)`: where the item begins and ends on the map.
    labels : np.ndarray
        bool `(n,)`: whether the item shows a stone.
    """

    cells: NDArray[np.float32]
    images: NDArray[np.int64]
    columns: NDArray[np.int64]
    labels: NDArray[np.bool_]

    @property
    def members(self) -> int:
        return len(self.cells)

    def pooled(self, weights: Floats) -> Floats:
        """Return the logit of each item, pooled over the combined map: float64 `(n,)`.

        It is `serving.pool` of the item's cells, for all items at once.
        """
        merged = SHARPNESS * np.tensordot(np.asarray(weights, np.float32), self.cells, axes=1)
        highest = merged.max(axis=1, keepdims=True)
        # Column by column first: a half of an image is a range of columns.
        by_column = highest[:, 0] + np.log(np.exp(merged - highest).sum(axis=1))
        place = np.arange(merged.shape[2])
        inside = (place >= self.columns[:, :1]) & (place < self.columns[:, 1:])
        held = np.where(inside, by_column[self.images].astype(np.float64), -np.inf)
        return np.asarray(logsumexp(held, axis=1), np.float64) / SHARPNESS

    def only(self, chosen: NDArray[np.bool_]) -> "Problem":
        """Return the items that `chosen` marks, bool `(n,)`, with their images alone."""
        kept, images = np.unique(self.images[chosen], return_inverse=True)
        return Problem(
            cells=self.cells[:, kept],
            images=images,
            columns=self.columns[chosen],
            labels=self.labels[chosen],
        )


@dataclass(frozen=True, eq=False)
class CrossValidated:
    """What a method says of each item with weights that were fitted on other patients.

    Attributes
    ----------
    pooled, calibrated : np.ndarray
        float64 `(n,)`: logits before and after a Platt scaling that was fitted on the others too.
    weights : np.ndarray
        float64 `(folds, members)`.
    """

    pooled: Floats
    calibrated: Floats
    weights: Floats


def fit_weights(problem: Problem, *, method: str, trials: int, seed: int) -> Floats:
    """Return the convex weights of the members by one of `METHODS`.

    The searches minimise the log-loss of the combined, pooled and Platt-scaled maps. Stacking
    minimises that of the members' pooled logits, which is convex. Every item counts the same.

    Parameters
    ----------
    trials : int
        Number of weights that a search tries.
    """
    if method == "mean":
        return _uniform(problem)
    if method == "stacking":
        return pruned(_stacked(problem))
    sampler = make_sampler(method, seed=seed)
    return pruned(searched(problem, sampler=sampler, trials=trials))


def searched(problem: Problem, *, sampler: optuna.samplers.BaseSampler, trials: int) -> Floats:
    """Search weights with a sampler of Optuna; the first ones that it tries are uniform."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(sampler=sampler)
        names = [f"weight {index}" for index in range(problem.members)]
        study.enqueue_trial(dict.fromkeys(names, 1.0))

        def objective(trial: optuna.trial.Trial) -> float:
            drawn = [trial.suggest_float(name, 0.0, 1.0) for name in names]
            return fitted_loss(problem, _convex(drawn))

        study.optimize(objective, n_trials=trials)
    finally:
        optuna.logging.set_verbosity(verbosity)
    return _convex([study.best_params[name] for name in names])


def fitted_loss(problem: Problem, weights: Floats) -> float:
    """Return the log-loss of weights on the items themselves, after Platt scaling."""
    pooled = problem.pooled(weights)
    scaling = fit_platt(pooled, problem.labels)
    calibrated = scaling["slope"] * pooled + scaling["intercept"]
    return float(losses(calibrated, problem.labels).mean())


def losses(logits: Floats, labels: NDArray[np.bool_]) -> Floats:
    """Return the log-loss of each item, `(n,)`, from calibrated logits."""
    return np.logaddexp(0.0, np.where(labels, -logits, logits))


def cross_validated(
    problem: Problem, *, folds: NDArray[np.int64], fit: Callable[[Problem], Floats]
) -> CrossValidated:
    """Fit weights and Platt scaling without each fold, and read the fold with them.

    Parameters
    ----------
    folds : np.ndarray
        int `(n,)`: the fold of each item. All items of a patient unit must share one.
    fit : callable
        From the items of the other folds to the weights.
    """
    pooled, calibrated = np.zeros(len(folds)), np.zeros(len(folds))
    weights = []
    for fold in np.unique(folds):
        outside = folds == fold
        others = problem.only(~outside)
        fitted = fit(others)
        scaling = fit_platt(others.pooled(fitted), others.labels)
        pooled[outside] = problem.only(outside).pooled(fitted)
        calibrated[outside] = scaling["slope"] * pooled[outside] + scaling["intercept"]
        weights.append(fitted)
    return CrossValidated(pooled=pooled, calibrated=calibrated, weights=np.array(weights))


def pruned(weights: Floats) -> Floats:
    """Leave out members below `MIN_WEIGHT`; the others share what they had."""
    return _convex(np.where(weights >= MIN_WEIGHT, weights, 0.0))


def _uniform(problem: Problem) -> Floats:
    return np.full(problem.members, 1 / problem.members)


def _convex(weights: Sequence[float] | Floats) -> Floats:
    array = np.asarray(weights, np.float64)
    total = array.sum()
    return array / total if total > 0 else np.full(len(array), 1 / len(array))


def _stacked(problem: Problem) -> Floats:
    """Fit a logistic regression with no negative coefficient on the members' pooled logits.

    The targets are those of `fit_platt`, with which separated classes keep coefficients finite.
    """
    alone = np.eye(problem.members)
    features = np.stack([problem.pooled(one) for one in alone] + [np.ones(len(problem.labels))])
    positives = int(problem.labels.sum())
    negatives = len(problem.labels) - positives
    targets = np.where(problem.labels, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def loss(coefficients: Floats) -> tuple[float, Floats]:
        logits = coefficients @ features
        value = np.logaddexp(0.0, logits) - targets * logits
        gradient = features @ (expit(logits) - targets) / len(targets)
        return float(value.mean()), gradient

    start = np.append(_uniform(problem), 0.0)
    bounds = [(0.0, None)] * problem.members + [(None, None)]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return _convex(found.x[:-1])
