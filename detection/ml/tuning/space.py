"""The space that every sampler searches: one list, which docs and report print."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from detection.ml.training import Augmentation, TrainingOptions, strengthened


@dataclass(frozen=True)
class Dimension:
    """One option of the training, by its name on the command line, and where it is sought.

    `is_log`: as many trials between 1 and 10 as between 10 and 100. `step`: only its multiples
    above `low`. `today`: its value in a training that was not tuned.
    """

    name: str
    low: float
    high: float
    today: float
    means: str
    is_log: bool = False
    step: float | None = None
    is_whole: bool = False

    @property
    def distribution(self) -> BaseDistribution:
        if self.is_whole:
            return IntDistribution(int(self.low), int(self.high), step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.is_log, step=self.step)

    @property
    def range(self) -> str:
        how = ", logarithmic" if self.is_log else ""
        how = f", in steps of {self.step:g}" if self.step else how
        return f"{self.low:g} to {self.high:g}{how}"


# All are numbers, since CMA-ES cannot search categories.
SPACE = (
    Dimension(
        "unfreeze", 0, 3, 3, "stages of the backbone that are trained, the last one first", step=0.5
    ),
    Dimension("head_width", 32, 256, 128, "channels of the head's layers", step=32, is_whole=True),
    Dimension("head_kernel", 1, 5, 3, "side of the head's convolution", step=2, is_whole=True),
    Dimension("learning_rate", 1e-4, 1e-2, 2e-4, "highest learning rate", is_log=True),
    Dimension(
        "learning_rate_decay", 0.1, 1, 1, "factor of the rate for each stage deeper", is_log=True
    ),
    Dimension("weight_decay", 1e-4, 0.3, 0.02, "weight decay of AdamW", is_log=True),
    Dimension("dropout", 0, 0.6, 0.2, "share of the head's channels left out of a step"),
    Dimension("sharpness", 0.5, 8, 2, "sharpness of the pooling in the loss", is_log=True),
    Dimension("augmentation", 0, 2, 1, "factor of the strength of every augmentation"),
    Dimension("positive_weight", 0.25, 8, 1, "weight of a stone cell in the loss", is_log=True),
)
TODAY: dict[str, float] = {dimension.name: dimension.today for dimension in SPACE}


def distributions() -> dict[str, BaseDistribution]:
    """Return the space as Optuna takes it."""
    return {dimension.name: dimension.distribution for dimension in SPACE}


def method_of(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `train --tuned` takes: a point of the space, and no epoch of the head alone.

    A trial trains head and backbone at once, with the rates of its depths; so does the training
    that it stands for.
    """
    return {**params, "head_epochs": 0}


def training_options(params: Mapping[str, Any], **others: Any) -> TrainingOptions:
    """Return the options of a training at a point of the space; `others` are the rest of them."""
    method = method_of(params)
    augmentation = strengthened(Augmentation(), method.pop("augmentation"))
    return TrainingOptions(augmentation=augmentation, **method, **others)
