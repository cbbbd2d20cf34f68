"""The cheap stand-in for a training: short ones on parts of images, cross-validated by patient.

It sees the training part of the fixed split alone. The folds are the same for every trial, and so
are the order of the images and the judged crops, so that two trials differ by their options alone.
"""

import gc
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import optuna
from numpy.typing import NDArray

from detection.ml.backbones import backbone_of
from detection.ml.calibration import apply_platt
from detection.ml.data import (
    PARTS,
    SPLIT_FILE,
    Sample,
    check_split,
    check_split_file,
    deal,
    load_dataset,
    split,
    split_units,
    thin,
)
from detection.ml.errors import DatasetError
from detection.ml.preprocess import Letterbox, Preprocessing, letterbox, network_input
from detection.ml.serving import in_batches, pool
from detection.ml.training import (
    TrainingBatches,
    TrainingOptions,
    canvas_boxes,
    compile_network,
    crop_canvas,
    fit_platt,
    initialise,
    network_of,
    set_trainable,
)
from detection.ml.tuning.space import training_options

Losses = NDArray[np.float64]
_BATCH = 32


@dataclass(frozen=True)
class ProxyOptions:
    """The size of the proxy; a search goes on only with the options that it began with."""

    init: str
    architecture: str = "mobilenetv2"
    seed: int = 1
    folds: int = 3
    epochs: int = 2
    # At most so many images of a group, and of all.
    per_group: int = 2
    images: int = 160
    crop: tuple[int, int] = (96, 128)
    batch_size: int = 8
    # A training of some thirty steps cannot wait for the average over a hundred.
    ema_momentum: float = 0.9


@dataclass(frozen=True)
class Item:
    """One judged crop, uint8 `(height, width)`, of a patient unit."""

    canvas: NDArray[np.uint8]
    is_stone: bool
    unit: str


class Proxy:
    """The objective of a search: from a trial to the log-loss of crops of unknown patients.

    Parameters
    ----------
    data : Path
        A training data folder.

    Raises
    ------
    MLError
        If the data or the starting weights cannot be used.
    """

    def __init__(self, data: Path, options: ProxyOptions) -> None:
        self.options = options
        dataset = load_dataset(data)
        parts = split(dataset.samples, parts=PARTS)
        check_split_file(parts, SPLIT_FILE)
        samples = thin(parts["train"], per_group=options.per_group, seed=options.seed)
        if len(samples) > options.images:
            drawn = np.random.default_rng(options.seed).permutation(len(samples))
            samples = [samples[index] for index in sorted(drawn[: options.images])]
        self.folds = deal(samples, folds=options.folds, salt=f"folds-{options.seed}")
        check_folds(self.folds, parts)
        self._preprocessing = Preprocessing()
        self._canvases = {
            sample.image: letterbox(sample.read(), self._preprocessing) for sample in samples
        }
        units = split_units(dataset.samples)
        self.items = [
            judged_crops(fold, units, canvas_of=self._canvas, options=options)
            for fold in self.folds
        ]
        if any(len({item.is_stone for item in held}) < 2 for held in self.items):
            raise DatasetError(
                "A fold of the training part holds crops of one kind only: the data folder needs "
                "more patient groups with and without stones."
            )
        # What a search must agree with to go on.
        self.task = {**asdict(options), "crop": list(options.crop), "data": dataset.fingerprint}

    @property
    def units(self) -> list[str]:
        """The patient unit of each loss that `losses` returns."""
        return [item.unit for held in self.items for item in held]

    def __call__(self, trial: optuna.Trial) -> float:
        """Train and judge fold by fold; stop where the pruner says that it is not worth it."""
        losses = self.losses(trial.params, trial=trial)
        trial.set_user_attr("losses", [round(float(loss), 5) for loss in losses])
        return float(losses.mean())

    def losses(self, params: Mapping[str, Any], *, trial: optuna.Trial | None = None) -> Losses:
        """Return the log-loss of every judged crop, float64 `(n,)`, by folds.

        Raises
        ------
        optuna.TrialPruned
            If the pruner of the trial's study stops it after a fold.
        """
        asked = self.options
        options = training_options(
            params,
            init=asked.init,
            architecture=asked.architecture,
            seed=asked.seed,
            epochs=asked.epochs,
            batch_size=asked.batch_size,
            per_group=asked.per_group,
            crop=asked.crop,
            ema_momentum=asked.ema_momentum,
            mixed_precision=False,
        )
        try:
            return self._cross_validated(options, trial)
        finally:
            # Graph and weights of a trial would stay until the end of the search.
            keras.backend.clear_session(free_memory=False)
            gc.collect()

    def _cross_validated(self, options: TrainingOptions, trial: optuna.Trial | None) -> Losses:
        training = [self._batches(fold, options) for fold in range(len(self.folds))]
        network, start = _compiled(options, steps=options.epochs * len(training[0]))
        losses: list[Losses] = []
        for fold, batches in enumerate(training):
            for variable, value in start:
                variable.assign(value)
            network.fit(batches, epochs=options.epochs, verbose=0, shuffle=False)
            losses.append(_judged(network, self.items[fold]))
            if trial is not None:
                # The mean so far, since folds are not equally hard.
                trial.report(float(np.concatenate(losses).mean()), fold)
                if fold + 1 < len(training) and trial.should_prune():
                    raise optuna.TrialPruned
        return np.concatenate(losses)

    def _batches(self, fold: int, options: TrainingOptions) -> TrainingBatches:
        others = [held for number, held in enumerate(self.folds) if number != fold]
        return TrainingBatches(
            sum(others, []),
            preprocessing=self._preprocessing,
            augmentation=options.augmentation,
            batch_size=options.batch_size,
            per_group=options.per_group,
            crop=options.crop,
            seed=options.seed,
            canvas_of=self._canvas,
        )

    def _canvas(self, sample: Sample) -> tuple[np.ndarray, Letterbox]:
        return self._canvases[sample.image]


def check_folds(folds: Sequence[Sequence[Sample]], parts: Mapping[str, Sequence[Sample]]) -> None:
    """Refuse folds that share a patient unit with each other, or with a part that judges.

    Raises
    ------
    DatasetError
        Naming the first unit that leaks.
    """
    dealt = {f"fold {number + 1}": list(fold) for number, fold in enumerate(folds)}
    judging = {name: list(held) for name, held in parts.items() if name != "train"}
    check_split(dealt | judging)


def judged_crops(
    samples: Sequence[Sample],
    units: Mapping[str, str],
    *,
    canvas_of: Any,
    options: ProxyOptions,
) -> list[Item]:
    """Cut the crops on which a fold is judged; they depend on samples and seed alone.

    A boxed stone gives one crop with it, and, where boxes are tight, one from anywhere. An image
    without stones gives one from the middle, where the kidneys lie. A stone without a box gives
    none.
    """
    items = []
    for sample in samples:
        canvas, box = canvas_of(sample)
        boxes = canvas_boxes(sample, box)
        if sample.is_stone and not len(boxes):
            continue
        kinds: list[Any] = ["box"] if len(boxes) else ["middle"]
        if len(boxes) and not sample.has_loose_boxes:
            kinds.append("anywhere")
        generator = np.random.default_rng([options.seed, *sample.image.encode()])
        for where in kinds:
            part, held = crop_canvas(
                canvas, boxes, size=options.crop, where=where, generator=generator
            )
            items.append(Item(part, len(held) > 0, units[sample.group]))
    return items


def _compiled(options: TrainingOptions, *, steps: int) -> tuple[keras.Model, list[Any]]:
    """Return a network to train, and its variables with the values that each fold begins with.

    One network for all folds: building and tracing it takes longer than training it on one.
    """
    keras.utils.set_random_seed(options.seed)
    height, width = options.crop or (0, 0)
    backbone = backbone_of(options.architecture)
    network = network_of(options, height=height, width=width)
    initialise(network, backbone, init=options.init)
    set_trainable(network, backbone, stage=options.unfreeze)
    compile_network(network, steps=steps, learning_rate=options.learning_rate, options=options)
    network.optimizer.build(network.trainable_variables)
    held = [*network.variables, *network.optimizer.variables]
    return network, [(variable, keras.ops.convert_to_numpy(variable).copy()) for variable in held]


def _judged(network: keras.Model, items: Sequence[Item]) -> Losses:
    def cells(canvases: NDArray[np.uint8]) -> NDArray[np.float32]:
        logits = network(network_input(canvases), training=False)
        return np.asarray(keras.ops.convert_to_numpy(logits)[..., 0])

    chunks = in_batches(cells, items, canvas_of=lambda item: item.canvas, size=_BATCH)
    logits = np.array([pool(one) for _, chunk in chunks for one in chunk], np.float64)
    return calibrated_losses(
        logits,
        np.array([item.is_stone for item in items], bool),
        np.array([item.unit for item in items], str),
    )


def calibrated_losses(logits: Losses, labels: NDArray[np.bool_], units: NDArray[np.str_]) -> Losses:
    """Return the log-loss of each item after Platt scaling, as what is served is calibrated.

    Each half of the patient units is scaled by the other half, so that no item judges itself.
    Log-loss is a proper score, unlike accuracy, and does not saturate as an area under a curve.
    """
    is_first = np.isin(units, np.unique(units)[::2])
    losses = np.zeros(len(logits))
    for held in (is_first, ~is_first):
        calibration = fit_platt(logits[~held], labels[~held])
        probabilities = np.clip(apply_platt(logits[held], calibration), 1e-6, 1 - 1e-6)
        losses[held] = -np.log(np.where(labels[held], probabilities, 1 - probabilities))
    return losses
