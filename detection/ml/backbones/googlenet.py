"""GoogLeNet, that is Inception v1 (Szegedy et al. 2015, arXiv:1409.4842), with normalisation.

Batch normalisation (Ioffe and Szegedy 2015, arXiv:1502.03167) stands for the local response
normalisation and the side classifiers of the first version: it trains without them.
"""

from typing import Any

from detection.ml.backbones.record import Backbone, ImageNetWeights, Normalisation, Stage

# Filters of the branches: 1 x 1; before and in 3 x 3; before and in 5 x 5; behind the pooling.
_MODULES = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
# The statistics settle within a short training: there are no ImageNet ones to keep.
_MOMENTUM = 0.9


def _build(keras: Any, image: Any) -> Any:
    layers = keras.layers
    x = _convolution(layers, image, 64, 7, strides=2, name="conv1")
    x = layers.MaxPooling2D(3, strides=2, padding="same", name="pool1")(x)
    x = _convolution(layers, x, 64, 1, name="conv2_reduce")
    x = _convolution(layers, x, 192, 3, name="conv2")
    x = layers.MaxPooling2D(3, strides=2, padding="same", name="pool2")(x)
    for name, filters in _MODULES.items():
        if name in ("4a", "5a"):
            number = int(name[0]) - 1
            x = layers.MaxPooling2D(3, strides=2, padding="same", name=f"pool{number}")(x)
        x = _inception(layers, x, filters, name=f"inception_{name}")
    return x


def _inception(layers: Any, x: Any, filters: tuple[int, ...], *, name: str) -> Any:
    single, reduce3, three, reduce5, five, pooled = filters
    pool = layers.MaxPooling2D(3, strides=1, padding="same", name=f"{name}_pool")(x)
    branches = [
        _convolution(layers, x, single, 1, name=f"{name}_1x1"),
        _convolution(
            layers,
            _convolution(layers, x, reduce3, 1, name=f"{name}_3x3_reduce"),
            three,
            3,
            name=f"{name}_3x3",
        ),
        _convolution(
            layers,
            _convolution(layers, x, reduce5, 1, name=f"{name}_5x5_reduce"),
            five,
            5,
            name=f"{name}_5x5",
        ),
        _convolution(layers, pool, pooled, 1, name=f"{name}_pool_proj"),
    ]
    return layers.Concatenate(name=name)(branches)


def _convolution(
    layers: Any, x: Any, filters: int, size: int, *, strides: int = 1, name: str
) -> Any:
    x = layers.Conv2D(
        filters, size, strides=strides, padding="same", use_bias=False, name=f"{name}_conv"
    )(x)
    x = layers.BatchNormalization(momentum=_MOMENTUM, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


GOOGLENET = Backbone(
    name="googlenet",
    title="GoogLeNet",
    stages=(
        Stage("conv3", layer="inception_3b", stride=8, channels=480),
        Stage("conv4", layer="inception_4e", stride=16, channels=832),
        Stage("conv5", layer="inception_5b", stride=32, channels=1024),
    ),
    normalisation=Normalisation(mean=(127.5, 127.5, 127.5), scale=(1 / 127.5,) * 3),
    imagenet=ImageNetWeights(
        source="random values: no ImageNet weights of it are published for Keras",
        licence="",
        file="",
        lacks=("conv3", "conv4", "conv5"),
    ),
    build=_build,
)
