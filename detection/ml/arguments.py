"""Reads values of the command line: sizes, numbers for each source, options of the method."""

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detection.ml.backbones import (
    BACKBONES,
    DEFAULT_BACKBONE,
    MAX_EPOCHS,
    TRAINED,
    check_bounds,
)
from detection.ml.errors import MLError

if TYPE_CHECKING:
    from detection.ml.training import Augmentation, TrainingOptions


def crop_size(text: str | None) -> tuple[int, int] | None:
    """Read HEIGHTxWIDTH in pixels, both multiples of 32. Raises MLError for anything else."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None:
        raise MLError("--crop takes a height and a width in pixels, for example 288x352.")
    height, width = (int(side) for side in match.groups())
    if not height or not width or height % 32 or width % 32:
        raise MLError("--crop takes multiples of 32, for example 288x352.")
    return height, width


def numbers(texts: list[str]) -> dict[str, int]:
    """Read SOURCE=N pairs, N above 0. Raises MLError for anything else."""
    found = {}
    for text in texts:
        source, _, number = text.partition("=")
        if not source or not number.isdecimal() or not int(number):
            raise MLError("--per-source takes a source and a number, for example islam2022=20.")
        found[source] = int(number)
    return found


def augmentation(switched_off: list[str], *, strength: float = 1.0) -> "Augmentation":
    """Return the default augmentation, times a strength, without the named changes.

    Raises MLError for other names.
    """
    # `detection.ml.training` imports Keras, which takes seconds: only the verbs that train need it.
    from detection.ml.training import Augmentation, strengthened, without

    try:
        return without(strengthened(Augmentation(), strength), switched_off)
    except ValueError as error:
        raise MLError(str(error)) from error


def add_start_arguments(
    verb: argparse.ArgumentParser, *, architecture: str = DEFAULT_BACKBONE
) -> None:
    """Add the arguments that say what a training starts from."""
    verb.add_argument(
        "--architecture",
        default=architecture,
        metavar="NAME",
        help=f"{', '.join(BACKBONES)} (default: {architecture})",
    )
    verb.add_argument(
        "--init",
        required=True,
        help="imagenet, random, a file of weights or a bundle's folder, of that architecture",
    )
    verb.add_argument("--seed", type=int, default=1)


def add_training_arguments(verb: argparse.ArgumentParser) -> None:
    """Add the arguments of one training; `training_options` reads them."""
    add_start_arguments(verb)
    verb.add_argument("--epochs", type=int, default=4, help=f"1 to {MAX_EPOCHS}")
    verb.add_argument("--stop-after", type=int, help="leave the schedule after so many epochs")
    add_method_arguments(verb)
    verb.add_argument("--crop", metavar="HEIGHTxWIDTH", help="train on parts of this size")
    verb.add_argument(
        "--teacher",
        type=Path,
        metavar="BUNDLE",
        help="learn the map of this model too: for a backbone without ImageNet weights",
    )
    verb.add_argument(
        "--no-tight-boxes",
        action="store_true",
        help="pass over boxes_tight.csv, to see what it is worth",
    )
    verb.add_argument("--per-group", type=int, default=12)
    verb.add_argument(
        "--per-source",
        action="append",
        default=[],
        metavar="SOURCE=N",
        help="another number of images per group for one source; repeatable",
    )
    verb.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="CHANGE",
        help="switch an augmentation off (mirror, flip, rotation_degrees, salt, ...); repeatable",
    )


def training_options(options: argparse.Namespace, *, refit: bool = False) -> "TrainingOptions":
    """Return the options of one training. Raises MLError for a value that it does not take."""
    from detection.ml.training import TrainingOptions

    method = method_options(options)
    strength = method.pop("augmentation", 1.0)
    check_bounds(epochs=options.epochs, learning_rate=method.get("learning_rate"))
    return TrainingOptions(
        init=options.init,
        architecture=options.architecture,
        seed=options.seed,
        epochs=options.epochs,
        stop_after=options.stop_after,
        refit=refit,
        crop=crop_size(options.crop),
        teacher=str(options.teacher or ""),
        tight_boxes=not options.no_tight_boxes,
        per_group=options.per_group,
        per_source=numbers(options.per_source),
        augmentation=augmentation(options.without, strength=strength),
        **method,
    )


def add_method_arguments(verb: argparse.ArgumentParser) -> None:
    """Add the options of the method that a search sets; `method_options` reads them."""
    for name, (read, told) in _METHOD.items():
        verb.add_argument(f"--{name.replace('_', '-')}", type=read, help=told)
    verb.add_argument(
        "--tuned", type=Path, metavar="FILE", help="take these options from what `tune` wrote"
    )


def method_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options of the method that were given, as `TrainingOptions` names them.

    What stands on the command line goes before what stands in the file of `--tuned`. Its
    `augmentation` is a strength.

    Raises
    ------
    MLError
        If the file cannot be read, or a value lies outside its range.
    """
    found: dict[str, Any] = {}
    if options.tuned:
        try:
            found = dict(json.loads(options.tuned.read_text("utf-8"))["options"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise MLError(f"{options.tuned.name} is no file that `tune` wrote.") from error
        if not set(found) <= {*_METHOD, "head_epochs"}:
            raise MLError(f"{options.tuned.name} holds options that `train` does not know.")
    given = {name: getattr(options, name) for name in _METHOD}
    return found | {name: value for name, value in given.items() if value is not None}


def _unfreeze(text: str) -> str | float:
    if text in TRAINED:
        return text
    return _bounded(0, 3)(text)


def _bounded(low: float, high: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        value = float(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} does not lie between {low:g} and {high:g}")
        return value

    return read


def _width(text: str) -> int:
    value = int(text)
    if not 4 <= value <= 1024:
        raise argparse.ArgumentTypeError(f"{text} does not lie between 4 and 1024")
    return value


def _odd(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 9 or value % 2 == 0:
        raise argparse.ArgumentTypeError(f"{text} is no odd number from 1 to 9")
    return value


# How each option of the method is read, and what it is. None of them given: `TrainingOptions`.
_METHOD: dict[str, tuple[Callable[[str], Any], str]] = {
    "unfreeze": (
        _unfreeze,
        "; ".join(f"{name}: {told}" for name, told in TRAINED.items())
        + "; or a number of stages from 0 to 3, such as 1.5",
    ),
    "head_width": (_width, "channels of the head's layers (128)"),
    "head_kernel": (_odd, "side of the head's convolution, in cells (3)"),
    "learning_rate": (float, "highest learning rate (2e-4)"),
    "learning_rate_decay": (
        _bounded(0, 1),
        "each stage of the backbone gets the rate of the one above times this (1)",
    ),
    "weight_decay": (_bounded(0, 1), "weight decay of AdamW (0.02)"),
    "dropout": (_bounded(0, 0.95), "share of the head's channels left out of a step (0.2)"),
    "sharpness": (_bounded(0.05, 50), "sharpness of the pooling in the loss (2)"),
    "positive_weight": (_bounded(0, 100), "how much a stone cell counts in the loss (1)"),
    "augmentation": (_bounded(0, 3), "factor of the strength of every augmentation (1)"),
}
