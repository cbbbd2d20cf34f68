"""The optimizer of a training: AdamW whose rate falls with the depth of a layer."""

from collections.abc import Mapping
from typing import Any

import keras

from detection.ml.backbones import Backbone
from detection.ml.training.network import depths

# No decay for what only shifts or scales.
_UNDECAYED = ["bias", "gamma", "beta"]


@keras.saving.register_keras_serializable(package="kidneyweb")
class DepthAdamW(keras.optimizers.AdamW):
    """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) with a rate for each layer.

    Adam divides a gradient by its own size, so that a scaled gradient changes nothing. The factor
    is therefore laid on the rate, for the step as for the weight decay.

    Parameters
    ----------
    factors : mapping, optional
        Factor of the learning rate by name of the layer, 1 for a layer that it does not name.
    """

    weight_decay: Any

    def __init__(self, *args: Any, factors: Mapping[str, float] | None = None, **named: Any):
        super().__init__(*args, **named)
        self.factors = dict(factors or {})
        self.exclude_from_weight_decay(var_names=_UNDECAYED)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        path = self._trainable_variables[self._get_variable_index(variable)].path
        factor = self._factor(path)
        super().update_step(
            gradient, variable, learning_rate if factor == 1.0 else learning_rate * factor
        )

    def _apply_weight_decay(self, variables: Any) -> None:
        whole = self.weight_decay
        by_factor: dict[float, list[Any]] = {}
        for variable in variables:
            by_factor.setdefault(self._factor(variable.path), []).append(variable)
        for factor, held in by_factor.items():
            self.weight_decay = whole * factor
            super()._apply_weight_decay(held)
        self.weight_decay = whole

    def _factor(self, path: str) -> float:
        """Find the factor of the variable `.../<layer>/<variable>`."""
        return self.factors.get(path.split("/")[-2], 1.0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factors": self.factors}


def make_optimizer(
    network: keras.Model,
    backbone: Backbone,
    *,
    steps: int,
    learning_rate: float,
    learning_rate_decay: float,
    weight_decay: float,
    ema_momentum: float,
) -> DepthAdamW:
    """Make the optimizer of one training stage: a short warm-up, then a cosine to nearly 0.

    Parameters
    ----------
    steps : int
        Length of the schedule.
    learning_rate_decay : float
        The factor that each stage deeper down lays on the rate; 1 trains all alike.
    ema_momentum : float
        That of the average over the steps, which replaces the weights at the end.
    """
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=learning_rate / 10,
        decay_steps=max(1, steps - steps // 10),
        alpha=0.02,
        warmup_target=learning_rate,
        warmup_steps=max(1, steps // 10),
    )
    return DepthAdamW(
        schedule,
        weight_decay=weight_decay,
        clipnorm=1.0,
        # The average of the last hundred or so steps reads better than the last step.
        use_ema=True,
        ema_momentum=ema_momentum,
        factors={
            layer: learning_rate_decay**depth for layer, depth in depths(network, backbone).items()
        },
    )
