"""A backbone of four convolutions: what it takes to add one, and a quick one to test with."""

from typing import Any

from detection.ml.backbones import Backbone, ImageNetWeights, Normalisation, Stage


def _build(keras: Any, image: Any) -> Any:
    def convolution(x: Any, name: str, filters: int, strides: int) -> Any:
        x = keras.layers.Conv2D(filters, 3, strides, padding="same", name=f"{name}_conv")(x)
        x = keras.layers.BatchNormalization(name=f"{name}_bn")(x)
        return keras.layers.ReLU(name=f"{name}_out")(x)

    x = convolution(image, "stem", 8, 4)
    x = convolution(x, "fine", 16, 2)
    x = convolution(x, "middle", 24, 2)
    return convolution(x, "coarse", 32, 2)


TINY = Backbone(
    name="tiny",
    title="Tiny",
    stages=(
        Stage("fine", layer="fine_out", stride=8, channels=16),
        Stage("middle", layer="middle_out", stride=16, channels=24),
        Stage("coarse", layer="coarse_out", stride=32, channels=32),
    ),
    # From -1 to 1, unlike what is served.
    normalisation=Normalisation(mean=(127.5, 127.5, 127.5), scale=(1 / 127.5,) * 3),
    imagenet=ImageNetWeights(
        source="nobody's tiny network",
        licence="CC0",
        file="tiny.tflite",
        tflite_layers=tuple(
            (f"{name}_conv", f"{name}_bn") for name in ("stem", "fine", "middle", "coarse")
        ),
    ),
    build=_build,
)
