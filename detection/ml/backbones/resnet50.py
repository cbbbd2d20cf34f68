"""ResNet50 (He et al. 2016, arXiv:1512.03385), the first version.

Its layers have the names of `keras.applications.ResNet50`, so that weights of that layout fit.
"""

from typing import Any

from detection.ml.backbones.record import Backbone, ImageNetWeights, Normalisation, Stage
from detection.ml.preprocess import INPUT_MEAN

# Epsilon of the batch normalisation that the ImageNet weights were trained with.
_BN_EPSILON = 1.001e-5
_BLOCKS = (
    # stage, filters, blocks, stride of the first block
    ("conv2", 64, 3, 1),
    ("conv3", 128, 4, 2),
    ("conv4", 256, 6, 2),
    ("conv5", 512, 3, 2),
)


def _build(keras: Any, image: Any) -> Any:
    layers = keras.layers
    x = layers.ZeroPadding2D(3, name="conv1_pad")(image)
    x = layers.Conv2D(64, 7, strides=2, name="conv1_conv")(x)
    x = _normalise(layers, x, "conv1")
    x = layers.ReLU(name="conv1_relu")(x)
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)
    for name, filters, blocks, stride in _BLOCKS:
        for block in range(1, blocks + 1):
            x = _bottleneck(
                layers,
                x,
                filters=filters,
                stride=stride if block == 1 else 1,
                projects=block == 1,
                name=f"{name}_block{block}",
            )
    return x


def _bottleneck(
    layers: Any, x: Any, *, filters: int, stride: int, projects: bool, name: str
) -> Any:
    shortcut = x
    if projects:
        shortcut = layers.Conv2D(4 * filters, 1, strides=stride, name=f"{name}_0_conv")(x)
        shortcut = _normalise(layers, shortcut, f"{name}_0")
    x = layers.Conv2D(filters, 1, strides=stride, name=f"{name}_1_conv")(x)
    x = _normalise(layers, x, f"{name}_1")
    x = layers.ReLU(name=f"{name}_1_relu")(x)
    x = layers.Conv2D(filters, 3, padding="same", name=f"{name}_2_conv")(x)
    x = _normalise(layers, x, f"{name}_2")
    x = layers.ReLU(name=f"{name}_2_relu")(x)
    x = layers.Conv2D(4 * filters, 1, name=f"{name}_3_conv")(x)
    x = _normalise(layers, x, f"{name}_3")
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    return layers.ReLU(name=f"{name}_out")(x)


def _normalise(layers: Any, x: Any, name: str) -> Any:
    # conv5 starts from random weights where only conv1 to conv4 are given. Its running statistics
    # must then settle within a short training.
    momentum = 0.9 if name.startswith("conv5") else 0.99
    return layers.BatchNormalization(epsilon=_BN_EPSILON, momentum=momentum, name=f"{name}_bn")(x)


def _download(keras: Any) -> Any:
    return keras.applications.ResNet50(include_top=False, weights="imagenet")


RESNET50 = Backbone(
    name="resnet50",
    title="ResNet50",
    stages=(
        Stage("conv3", layer="conv3_block4_out", stride=8, channels=512),
        Stage("conv4", layer="conv4_block6_out", stride=16, channels=1024),
        Stage("conv5", layer="conv5_block3_out", stride=32, channels=2048),
    ),
    # ResNet50 came first, so the served input is the one that these weights expect.
    normalisation=Normalisation(mean=INPUT_MEAN),
    imagenet=ImageNetWeights(
        source="keras.applications.ResNet50",
        licence="MIT",
        file="resnet50_imagenet_to_conv4.npz",
        lacks=("conv5",),
        download=_download,
    ),
    build=_build,
)
