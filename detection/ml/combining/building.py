"""Builds an ensemble of members: fits its weights, judges the methods, writes its bundle."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.ml.backbones import BACKBONES
from detection.ml.bundle import Bundle, building, publish
from detection.ml.calibration import apply_platt
from detection.ml.combining.evidence import Evidence, evidence_of
from detection.ml.combining.fitting import (
    METHODS,
    CrossValidated,
    Problem,
    cross_validated,
    fit_weights,
)
from detection.ml.combining.maps import STORE_NAME, MapStore, RememberedNetwork
from detection.ml.combining.members import check_beside, judged_members
from detection.ml.combining.predictions import (
    Predictions,
    check_fold,
    load_predictions,
    predicted,
)
from detection.ml.combining.progress import Progress, Report
from detection.ml.data import PARTS, UNIT, Dataset, Sample, halved_sources, load_dataset, split
from detection.ml.errors import MLError
from detection.ml.serving import EnsembleNetwork
from detection.ml.serving import combine as combined_map
from detection.ml.training import (
    Judged,
    check_parts,
    choose_operating_points,
    fit_platt,
    measure,
    provenance,
    score,
)

BEST = "best"
DEFAULT_OPERATING_POINT = "balanced"
# Of logits that are calibrated already.
_NO_CALIBRATION = {"slope": 1.0, "intercept": 0.0}
_HOW = {
    "mean": "the mean",
    "stacking": "the mean, weighted by stacking,",
    "pso": "the mean, weighted by particle swarm,",
    "ga": "the mean, weighted by a genetic algorithm,",
}
# Log-losses that agree to so many digits are equal.
_LOSS_DIGITS = 4
_Manifest = dict[str, Any]


@dataclass(frozen=True)
class CombineOptions:
    """How an ensemble is made.

    `trials` is the number of weights that each search tries, `folds` the number of parts of the
    patients for cross-validation. `gate` names the member whose gate judges; without it that is
    the member of the highest weight.
    """

    method: str = BEST
    trials: int = 200
    folds: int = 5
    seed: int = 1
    gate: str = ""
    threads: int = 2


@dataclass(frozen=True, eq=False)
class _Judgement:
    """A method's weights, and what it says of patients on whom they were not fitted."""

    method: str
    weights: NDArray[np.float64]
    held: CrossValidated
    told: dict[str, Any]


@dataclass(frozen=True, eq=False)
class _Ensemble:
    """The members that are left with their weights, and their networks with memory."""

    members: tuple[Judged, ...]
    weights: NDArray[np.float64]
    store: MapStore
    threads: int

    def judge(self, canvases: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the combined map by the networks that do not know the validation part."""
        bundles = [one.stand_in for one in self.members]
        return combined_map(
            [network.map_logits(canvases) for network in self.networks(bundles)],
            calibrations=[bundle.calibration for bundle in bundles],
            weights=self.weights.tolist(),
        )

    def networks(self, bundles: Sequence[Bundle]) -> list[RememberedNetwork]:
        return [self.store.network(bundle, threads=self.threads) for bundle in bundles]


def combine(
    *,
    data: Path,
    members: Sequence[str],
    held_out: Mapping[str, str],
    folds: Sequence[tuple[str, Path]],
    out: Path,
    root: Path,
    work: Path,
    options: CombineOptions,
    report: Report,
) -> Path:
    """Make the bundle of an ensemble; its folder appears in `out`, beside its members.

    Weights are fitted on the validation part, and on what `folds` adds to it. The test part is
    measured once, at the end, with exactly what is served.

    Parameters
    ----------
    members, held_out
        As for `members.judged_members`.
    folds : sequence of (str, Path)
        Name of a member, and a file of predictions by a training like its own without these images.
    root : Path
        The folder in which bundles are found by name.
    work : Path
        A folder for maps, so that a repeated run reads no image twice.

    Returns
    -------
    Path
        The bundle's folder.

    Raises
    ------
    MLError
        If members, predictions or data cannot be used, if an image of the test part is among the
        predictions, or if the weights leave one member alone.
    """
    judged = judged_members(members, held_out=held_out, root=root)
    check_beside([one.member for one in judged], out=out)
    dataset = load_dataset(data)
    parts = split(dataset.samples, parts=PARTS)
    sizes = {name: len(held) for name, held in parts.items()}
    for one in judged:
        for bundle in (one.member, one.stand_in):
            check_parts(bundle, parts=sizes, fingerprint=dataset.fingerprint)
    added = _fold_predictions(judged, folds, dataset=dataset, parts=parts)
    store = MapStore(work / STORE_NAME)
    progress = Progress("read", total=len(judged) * len(parts["validation"]), report=report)
    seen = [
        [
            predicted(
                parts["validation"],
                network=store.network(one.stand_in, threads=options.threads),
                bundle=one.stand_in,
                fingerprint=dataset.fingerprint,
                progress=progress,
            ),
            *added[one.name],
        ]
        for one in judged
    ]
    preprocessing = judged[0].member.preprocessing
    evidence = evidence_of(seen, dataset=dataset, parts=parts, preprocessing=preprocessing)
    judgements = [_judge(method, evidence, options=options, report=report) for method in METHODS]
    chosen = _chosen(judgements, method=options.method)
    ensemble = _ensemble(judged, chosen, store=store, threads=options.threads)
    manifest = {
        **_head(ensemble, method=chosen.method, dataset=dataset, sizes=sizes, gate=options.gate),
        **_measured(ensemble, chosen, evidence, dataset=dataset, validation=parts["validation"]),
    }
    manifest["combination"] = {
        "method": chosen.method,
        "chosen_by": "lowest cross-validated log-loss" if options.method == BEST else "name",
        "fitted_on": {**evidence.counts(), "folds": options.folds},
        "methods": [one.told for one in judgements],
        "members": [one.name for one in judged],
        "alone": _alone(evidence, judged),
        "stand_ins": {
            one.name: {"name": one.stand_in.name, "digest": one.stand_in.digest}
            for one in judged
            if one.stand_in is not one.member
        },
        "predictions": [one.about for several in added.values() for one in several],
        "trials": options.trials,
        "seed": options.seed,
    }
    return _written(
        manifest, ensemble, out=out, tested=parts["test"], dataset=dataset, report=report
    )


def _fold_predictions(
    judged: Sequence[Judged],
    folds: Sequence[tuple[str, Path]],
    *,
    dataset: Dataset,
    parts: Mapping[str, Sequence[Sample]],
) -> dict[str, list[Predictions]]:
    added: dict[str, list[Predictions]] = {one.name: [] for one in judged}
    for name, path in folds:
        if name not in added:
            raise MLError(f"--folds names {name}, which is no member.")
        predictions = load_predictions(path)
        check_fold(predictions, dataset=dataset, parts=parts)
        added[name].append(predictions)
    return added


def _judge(
    method: str, evidence: Evidence, *, options: CombineOptions, report: Report
) -> _Judgement:
    """Fit a method's weights, and fit them again without each fold of the patients."""
    started = time.monotonic()

    def fit(problem: Problem) -> NDArray[np.float64]:
        return fit_weights(problem, method=method, trials=options.trials, seed=options.seed)

    problem = evidence.problem
    weights = fit(problem)
    held = cross_validated(problem, folds=evidence.folds(options.folds), fit=fit)
    pooled = problem.pooled(weights)
    scaling = fit_platt(pooled, problem.labels)
    told = {
        "method": method,
        "weights": weights.round(6).tolist(),
        "weights_by_fold": held.weights.round(6).tolist(),
        "fitted": evidence.figures(scaling["slope"] * pooled + scaling["intercept"]),
        "cross_validated": evidence.figures(held.calibrated),
        "seconds": round(time.monotonic() - started, 1),
    }
    judgement = _Judgement(method=method, weights=weights, held=held, told=told)
    report(
        f"{method}: weights {weights.round(3).tolist()}, cross-validated log-loss "
        f"{_held_out_loss(judgement):.5f}"
    )
    return judgement


def _chosen(judgements: Sequence[_Judgement], *, method: str) -> _Judgement:
    if method == BEST:
        # One member alone is no ensemble, however good it is; the table of methods tells.
        several = [one for one in judgements if np.count_nonzero(one.weights) > 1]
        # Of equals the first is taken, which is the simplest.
        return min(several, key=lambda one: round(_held_out_loss(one), _LOSS_DIGITS))
    return next(one for one in judgements if one.method == method)


def _held_out_loss(judgement: _Judgement) -> float:
    return float(judgement.told["cross_validated"]["log_loss"]["value"])


def _alone(evidence: Evidence, judged: Sequence[Judged]) -> dict[str, Any]:
    """Measure each member by itself, with the calibration of its own bundle."""
    return {
        one.name: evidence.figures(evidence.problem.pooled(weights))
        for one, weights in zip(judged, np.eye(len(judged)), strict=True)
    }


def _ensemble(
    judged: Sequence[Judged], chosen: _Judgement, *, store: MapStore, threads: int
) -> _Ensemble:
    """Leave out members without weight. Raises MLError if one is left."""
    kept = np.flatnonzero(chosen.weights).tolist()
    if len(kept) < 2:
        raise MLError(
            f"The weights by {chosen.method} leave {judged[kept[0]].name} alone: serve that "
            "instead, or name another method."
        )
    return _Ensemble(
        members=tuple(judged[index] for index in kept),
        weights=chosen.weights[kept] / chosen.weights[kept].sum(),
        store=store,
        threads=threads,
    )


def _head(
    ensemble: _Ensemble, *, method: str, dataset: Dataset, sizes: dict[str, int], gate: str
) -> _Manifest:
    """Return what `model.json` says of the members, the data and the making."""
    members = [one.member for one in ensemble.members]
    names = [one.name for one in members]
    if gate and gate not in names:
        raise MLError(f"--gate names {gate}, which is not among the members: {', '.join(names)}.")
    titles = [
        BACKBONES[one.backbone].title if one.backbone in BACKBONES else one.backbone
        for one in members
    ]
    return {
        "kind": "ensemble",
        "backbone": "ensemble",
        "architecture": (
            f"Ensemble of {', '.join(titles[:-1])} and {titles[-1]}: {_HOW[method]} of their "
            "calibrated maps, cell by cell"
        ),
        "preprocessing": members[0].preprocessing.to_dict(),
        "members": [
            {"name": one.name, "digest": one.digest, "weight": float(weight)}
            for one, weight in zip(members, ensemble.weights, strict=True)
        ],
        "gate": {"member": gate or names[int(ensemble.weights.argmax())]},
        "data": dataset.snapshot(),
        "split": sizes,
        "provenance": provenance(),
    }


def _measured(
    ensemble: _Ensemble,
    chosen: _Judgement,
    evidence: Evidence,
    *,
    dataset: Dataset,
    validation: Sequence[Sample],
) -> _Manifest:
    """Return calibration, operating points and the metrics of the validation part.

    Every logit comes from weights that were fitted on other patients.
    """
    is_judged, samples = evidence.among(validation)
    logits, labels = chosen.held.pooled[is_judged], evidence.problem.labels[is_judged]
    calibration = fit_platt(logits, labels)
    points = choose_operating_points(
        apply_platt(logits, calibration), labels, unit=UNIT, groups=evidence.groups[is_judged]
    )
    scores = score(
        samples,
        map_logits=ensemble.judge,
        preprocessing=ensemble.members[0].member.preprocessing,
        halved=halved_sources(dataset.samples),
    )
    metrics = measure(
        replace(scores, logits=chosen.held.calibrated[is_judged]),
        calibration=_NO_CALIBRATION,
        threshold=points[DEFAULT_OPERATING_POINT]["threshold"],
    )
    return {
        "calibration": calibration,
        "operating_points": points,
        "default_operating_point": DEFAULT_OPERATING_POINT,
        "metrics": {"validation": metrics},
    }


def _written(
    manifest: _Manifest,
    ensemble: _Ensemble,
    *,
    out: Path,
    tested: Sequence[Sample],
    dataset: Dataset,
    report: Report,
) -> Path:
    """Measure the test part with exactly what is served, and write the bundle."""
    members = [one.member for one in ensemble.members]
    with building(out) as folder:
        network = EnsembleNetwork(
            Bundle(path=folder, digest="", manifest=manifest, networks=tuple(members)),
            networks=ensemble.networks(members),
        )
        progress = Progress("test part", total=len(tested), report=report)

        def map_logits(canvases: NDArray[np.uint8]) -> NDArray[np.float32]:
            progress.tick(len(canvases))
            return network.map_logits(canvases)

        if tested:
            manifest["metrics"]["test"] = measure(
                score(
                    tested,
                    map_logits=map_logits,
                    preprocessing=network.preprocessing,
                    halved=halved_sources(dataset.samples),
                ),
                calibration=manifest["calibration"],
                threshold=manifest["operating_points"][DEFAULT_OPERATING_POINT]["threshold"],
            )
        return publish(folder, manifest, kind="ensemble")
