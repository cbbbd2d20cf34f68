"""Real trainings of some configurations: does the order of the proxy hold for them?"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial

from detection.ml.backbones import backbone_of
from detection.ml.data import PARTS, halved_sources, load_dataset, split
from detection.ml.errors import MLError
from detection.ml.training import fit, map_logits_of, score, trained_network
from detection.ml.tuning.proxy import ProxyOptions, calibrated_losses
from detection.ml.tuning.search import UNTUNED, complete
from detection.ml.tuning.space import training_options

Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class ConfirmOptions:
    """The size of a real training: longer than a trial, and on larger parts of images."""

    epochs: int = 3
    per_group: int = 12
    crop: tuple[int, int] = (288, 352)


def spread_over(studies: Mapping[str, Study], count: int) -> list[tuple[str, FrozenTrial]]:
    """Choose configurations evenly over the order of the proxy, best and worst among them.

    Only complete trials are chosen, of all samplers together, and each configuration once.
    """
    distinct: dict[str, tuple[str, FrozenTrial]] = {}
    for name, study in studies.items():
        if name != UNTUNED:
            for trial in complete(study):
                distinct.setdefault(json.dumps(trial.params, sort_keys=True), (name, trial))
    ranked = sorted(distinct.values(), key=lambda held: held[1].value or 0.0)
    if len(ranked) < count:
        raise MLError(f"The search has {len(ranked)} complete trials, fewer than {count}.")
    return [ranked[round(place)] for place in np.linspace(0, len(ranked) - 1, count)]


def run_confirmation(
    *,
    data: Path,
    studies: Mapping[str, Study],
    count: int,
    out: Path,
    proxy: ProxyOptions,
    options: ConfirmOptions,
    report: Report,
) -> None:
    """Train configurations on the training part and judge them on the validation part.

    Each row is written to the file `out` as soon as it is there, and is not trained again. An
    interrupted training goes on after its last epoch.

    Raises
    ------
    MLError
        If data or weights cannot be used, or too few trials are complete.
    """
    chosen = spread_over(studies, count)
    dataset = load_dataset(data)
    parts = split(dataset.samples, parts=PARTS)
    halved = halved_sources(dataset.samples)
    rows = read_confirmed(out) if out.is_file() else []
    for number, (name, trial) in enumerate(chosen):
        if any((row["sampler"], row["trial"]) == (name, trial.number) for row in rows):
            continue
        started = time.monotonic()
        training = training_options(
            trial.params,
            init=proxy.init,
            architecture=proxy.architecture,
            seed=proxy.seed,
            epochs=options.epochs,
            per_group=options.per_group,
            crop=options.crop,
        )
        work = out.with_name(f"{out.stem}-work") / f"{name}-{trial.number}"
        keras.utils.set_random_seed(proxy.seed)
        fit(
            samples=parts["train"],
            options=training,
            fingerprint=dataset.fingerprint,
            work=work,
            report=_part(report, number, count),
        )
        size = training.preprocessing
        network = trained_network(
            work / "trained.npz",
            backbone=backbone_of(training.architecture),
            height=size.height,
            width=size.width,
        )
        scores = score(
            parts["validation"],
            map_logits=map_logits_of(network),
            preprocessing=size,
            halved=halved,
        )
        losses = calibrated_losses(scores.logits, scores.labels, scores.groups)
        rows.append(
            {
                "sampler": name,
                "trial": trial.number,
                "params": trial.params,
                "proxy": trial.value,
                "real": float(losses.mean()),
                "items": len(losses),
                "seconds": round(time.monotonic() - started),
            }
        )
        out.parent.mkdir(parents=True, exist_ok=True)
        told = {"epochs": options.epochs, "crop": list(options.crop), "rows": rows}
        out.write_text(json.dumps(told, indent=1) + "\n", "utf-8")
        keras.backend.clear_session()


def read_confirmed(path: Path) -> list[dict[str, Any]]:
    """Read the rows that `run_confirmation` wrote. Raises MLError for another file."""
    try:
        rows = json.loads(path.read_text("utf-8"))["rows"]
        return [{**row, "proxy": float(row["proxy"]), "real": float(row["real"])} for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MLError(f"{path.name} holds no real trainings of a search.") from error


def _part(report: Report, number: int, count: int) -> Report:
    """Report one training as a share of all of them."""

    def reported(progress: dict[str, Any]) -> None:
        report({**progress, "fraction": round((number + progress["fraction"]) / count, 4)})

    return reported
