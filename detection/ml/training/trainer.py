"""Transfer learning: a new head on frozen ImageNet features first, then the whole network."""

import json
import math
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras

from detection.ml.backbones import FIRST_BACKBONE, backbone_of
from detection.ml.data import (
    PARTS,
    SPLIT_FILE,
    Dataset,
    Sample,
    check_near_copies,
    check_split_file,
    load_dataset,
    split,
)
from detection.ml.errors import DatasetError
from detection.ml.preprocess import Preprocessing
from detection.ml.training.batches import TrainingBatches
from detection.ml.training.export import export_bundle
from detection.ml.training.losses import StoneMapLoss
from detection.ml.training.network import build_network, set_trainable
from detection.ml.training.optimizer import make_optimizer
from detection.ml.training.options import TrainingOptions
from detection.ml.training.pretrained import (
    assign_weights,
    head_of,
    initialise,
    load_arrays,
    save_weights,
    weights_path,
)
from detection.ml.training.teacher import open_teacher

Report = Callable[[dict[str, Any]], None]
Logs = dict[str, float] | None
# Share of the whole run that the training itself takes, for the progress bar.
_TRAIN_SHARE = 0.9
_REFIT = "refit"


def train(
    *, data: Path, out: Path, options: TrainingOptions, report: Report, work: Path | None = None
) -> tuple[Path, Dataset]:
    """Train, calibrate, evaluate and export one model.

    Parameters
    ----------
    data : Path
        A training data folder (`dataset.load_dataset`).
    out : Path
        Where the new bundle's folder is made; it appears only when it is complete.
    report : callable
        Receives progress as dictionaries: stage, epoch, epochs, step, steps, fraction (of the
        whole run), seconds_left, message.
    work : Path, optional
        Where the weights are kept after each stage (head, all), those of a refit below `refit`;
        an interrupted run with the same data and options goes on after the last finished one.
        Without it, they die with the run.

    Returns
    -------
    bundle : Path
        The folder of the new bundle.
    dataset : Dataset
        What it was trained on.

    Raises
    ------
    MLError
        If there is no such architecture, or the data or the starting weights cannot be used.
    """
    backbone = backbone_of(options.architecture)
    report({"stage": "prepare", "fraction": 0.0, "message": "Reading the data folder."})
    dataset = load_dataset(data, with_tight_boxes=options.tight_boxes)
    parts = split(dataset.samples, parts=PARTS)
    check_split_file(parts, SPLIT_FILE)
    check_near_copies(parts)
    for name in ("train", "validation"):
        if len({sample.is_stone for sample in parts[name]}) < 2:
            raise DatasetError(
                f"The {name} part holds images of one kind only: the data folder needs more "
                "patient groups with and without stones (at least five of each)."
            )
    keras.utils.set_random_seed(options.seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = work or Path(temporary)
        init = fit(
            samples=parts["train"],
            options=options,
            fingerprint=dataset.fingerprint,
            work=folder,
            report=_part(report, 0.0, 0.5) if options.refit else report,
        )
        if options.refit:
            keras.utils.set_random_seed(options.seed)
            fit(
                samples=parts["train"] + parts["validation"],
                options=options,
                fingerprint=dataset.fingerprint,
                work=folder / _REFIT,
                report=_part(report, 0.5, 0.5),
            )
        bundle = export_bundle(
            weights=(folder / _REFIT if options.refit else folder) / "trained.npz",
            held_out_weights=folder / "trained.npz" if options.refit else None,
            out=out,
            parts=parts,
            dataset=dataset,
            backbone=backbone,
            preprocessing=options.preprocessing,
            training=_record(asdict(options), init=init),
            report=report,
        )
    return bundle, dataset


def bundle_trained(*, weights: Path, data: Path, out: Path, report: Report) -> Path:
    """Make a bundle of weights that a training left in its work folder (`train`, `work`).

    How they were trained is read from the `state.json` beside them; weights without one get the
    preprocessing of today and no record, and are taken for those of a ResNet50. Those of a refit
    are calibrated by the training in the folder above.

    Raises
    ------
    MLError
        If the data or the weights cannot be used.
    """
    report({"stage": "prepare", "fraction": 0.0, "message": "Reading the data folder."})
    state = _read_state(weights.parent)
    training = json.loads(state.get("run", "{}"))
    dataset = load_dataset(data, with_tight_boxes=training.get("tight_boxes", True))
    trained_on = training.pop("data", dataset.fingerprint)
    is_refit = bool(training.get("refit")) and weights.parent.name == _REFIT
    if trained_on != dataset.fingerprint:
        raise DatasetError("These weights were trained on other data than this folder's.")
    return export_bundle(
        weights=weights,
        held_out_weights=weights.parent.parent / "trained.npz" if is_refit else None,
        out=out,
        parts=split(dataset.samples, parts=PARTS),
        dataset=dataset,
        backbone=backbone_of(training.get("architecture", FIRST_BACKBONE)),
        preprocessing=Preprocessing(**training.get("preprocessing", {})),
        training=_record(training, init=state.get("init", "unknown")),
        report=report,
    )


def fit(
    *, samples: list[Sample], options: TrainingOptions, fingerprint: str, work: Path, report: Report
) -> str:
    """Train to `work/trained.npz`, or go on after the last stage that stands in `work`.

    Returns what the weights started from, for the record.
    """
    work.mkdir(parents=True, exist_ok=True)
    run = json.dumps({**asdict(options), "data": fingerprint}, sort_keys=True)
    state = _read_state(work)
    if state.get("run") != run:
        state = {"run": run, "done": [], "init": ""}
    if "trained" in state["done"]:
        return state["init"]
    is_mixed = options.mixed_precision
    if _computes_bfloat16() if is_mixed is None else is_mixed:
        # bfloat16 has float32's range, so that no loss scaling is needed; weights stay float32.
        keras.config.set_dtype_policy("mixed_bfloat16")
    height, width = options.crop or (options.preprocessing.height, options.preprocessing.width)
    backbone = backbone_of(options.architecture)
    network = network_of(options, height=height, width=width)
    teacher = None
    if options.teacher:
        teacher = open_teacher(Path(options.teacher), height=height, width=width)
    state["init"] = state["init"] or initialise(network, backbone, init=options.init)
    is_new_head = not state["init"].startswith("bundle")
    head_epochs = options.head_epochs
    if head_epochs is None:
        head_epochs = 1 if is_new_head else 0
    if options.unfreeze == "head":
        # The last stage is that of the head itself.
        head_epochs = 0
    stages: list[tuple[str | float, int, float]] = []
    if head_epochs:
        stages.append(("head", head_epochs, options.head_learning_rate))
    stages.append((options.unfreeze, options.epochs, options.learning_rate))
    last = min(options.stop_after or options.epochs, options.epochs)
    total = head_epochs + last
    before = 0
    for unfreeze, planned, learning_rate in stages:
        stage = str(unfreeze)
        epochs = last if unfreeze == options.unfreeze else planned
        if stage in state["done"]:
            assign_weights(network, load_arrays(work / f"{stage}.npz"))
        else:
            checkpoint = work / f"{stage}.keras"
            # How many epochs of this stage the checkpoint has seen.
            seen = state.get("epochs", {}).get(stage, 0) if checkpoint.is_file() else 0
            batches = TrainingBatches(
                samples,
                preprocessing=options.preprocessing,
                augmentation=options.augmentation,
                batch_size=min(options.batch_size, len(samples)),
                per_group=options.per_group,
                per_source=options.per_source,
                crop=options.crop,
                seed=options.seed + (0 if stage == "head" else 1),
                first_epoch=seen,
                teacher=teacher,
            )
            if seen:
                network = _restore(checkpoint)
            else:
                set_trainable(network, backbone, stage=unfreeze)
                steps = len(batches) * planned
                compile_network(network, steps=steps, learning_rate=learning_rate, options=options)
            network.fit(
                batches,
                epochs=epochs,
                initial_epoch=seen,
                verbose=0,
                shuffle=False,
                callbacks=[
                    _Progress(report, before=before, total=total),
                    _Checkpoint(checkpoint, work=work, state=state, stage=stage),
                ],
            )
            save_weights(network, work / f"{stage}.npz")
            checkpoint.unlink(missing_ok=True)
            state["done"].append(stage)
            _write_state(work, state)
        before += epochs
    os.replace(work / f"{options.unfreeze}.npz", work / "trained.npz")
    state["done"].append("trained")
    _write_state(work, state)
    keras.config.set_dtype_policy("float32")
    return state["init"]


def _record(training: dict[str, Any], *, init: str) -> dict[str, Any]:
    """Return the options for `model.json`, without the folders of the machine that trained."""
    return {**training, "init": init, "teacher": Path(training.get("teacher", "")).name}


def _part(report: Report, start: float, share: float) -> Report:
    """Report the fractions of one of two trainings as fractions of the whole."""

    def reported(progress: dict[str, Any]) -> None:
        fraction = _TRAIN_SHARE * start + share * progress["fraction"]
        report({**progress, "fraction": round(fraction, 4)})

    return reported


def network_of(options: TrainingOptions, *, height: int, width: int) -> keras.Model:
    """Build the network that the options describe, with random weights."""
    asked = {"head_width": options.head_width, "head_kernel": options.head_kernel}
    head = head_of(weights_path(options.init))
    head |= {name: value for name, value in asked.items() if value is not None}
    backbone = backbone_of(options.architecture)
    return build_network(backbone, height=height, width=width, dropout=options.dropout, **head)


def compile_network(
    network: keras.Model, *, steps: int, learning_rate: float, options: TrainingOptions
) -> None:
    """Give a network loss and optimizer for a stage of so many steps."""
    network.compile(
        optimizer=make_optimizer(
            network,
            backbone_of(options.architecture),
            steps=steps,
            learning_rate=learning_rate,
            learning_rate_decay=options.learning_rate_decay,
            weight_decay=options.weight_decay,
            ema_momentum=options.ema_momentum,
        ),
        loss=StoneMapLoss(sharpness=options.sharpness, positive_weight=options.positive_weight),
    )


def _restore(checkpoint: Path) -> keras.Model:
    """Load network, optimizer and their averages as they were at the end of an epoch."""
    return keras.saving.load_model(checkpoint, safe_mode=True)


class _Checkpoint(keras.callbacks.Callback):
    """Keeps what an interrupted run needs to go on after the last finished epoch."""

    def __init__(self, path: Path, *, work: Path, state: dict[str, Any], stage: str) -> None:
        super().__init__()
        self._path = path
        self._work = work
        self._state = state
        self._stage = stage

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        temporary = self._path.with_name(f"new-{self._path.name}")
        self.model.save(temporary)
        os.replace(temporary, self._path)
        self._state.setdefault("epochs", {})[self._stage] = epoch + 1
        _write_state(self._work, self._state)


class _Progress(keras.callbacks.Callback):
    """Reports after each step."""

    def __init__(self, report: Report, *, before: int, total: int) -> None:
        super().__init__()
        self._report = report
        self._before = before
        self._total = total
        self._started = time.monotonic()
        self._epoch = 0
        # The first epoch of this process: a run that goes on starts in the middle.
        self._began: int | None = None

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        steps = self.params["steps"]
        here = self._epoch + (batch + 1) / steps
        if self._began is None:
            self._began = self._epoch
        elapsed = time.monotonic() - self._started
        left = elapsed / (here - self._began) * (self._total - self._before - here)
        self._report(
            {
                "stage": "train",
                "epoch": self._before + self._epoch + 1,
                "epochs": self._total,
                "step": batch + 1,
                "steps": steps,
                "loss": round(float(logs["loss"]), 4) if logs else None,
                "fraction": round(_TRAIN_SHARE * (self._before + here) / self._total, 4),
                "seconds_left": math.ceil(left),
            }
        )


def _computes_bfloat16() -> bool:
    if keras.distribution.list_devices("gpu"):
        return True
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _read_state(work: Path) -> dict[str, Any]:
    try:
        return json.loads((work / "state.json").read_text())
    except (OSError, ValueError):
        return {}


def _write_state(work: Path, state: dict[str, Any]) -> None:
    temporary = work / "state.json.new"
    temporary.write_text(json.dumps(state))
    os.replace(temporary, work / "state.json")
