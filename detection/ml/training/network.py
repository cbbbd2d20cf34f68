"""The stone-map network: a ResNet50 whose feature maps at three scales vote cell by cell.

The backbone carries the layer names of `keras.applications.ResNet50` (v1), so that ImageNet
weights of that layout load by name. The three last stages (strides 8, 16 and 32) are joined top
down as in a feature pyramid (Lin et al. 2017, arXiv:1612.03144) to one map of stride 8: a stone
of 12 px is smaller than one cell of the plain network's stride-32 map.
"""

from typing import Any

import keras
from keras import layers

STRIDE = 8
MAP_LAYER = "stone_map"
STAGES = ("head", "upper", "all")
# The served feature outputs, and the block that each is the average of.
FEATURE_BLOCKS = {"features_conv3": "conv3_block4_out", "features_conv4": "conv4_block6_out"}
# Epsilon of the batch normalisation that the ImageNet weights were trained with.
_BN_EPSILON = 1.001e-5
_STAGES = (
    # name, filters, blocks, stride of the first block
    ("conv2", 64, 3, 1),
    ("conv3", 128, 4, 2),
    ("conv4", 256, 6, 2),
    ("conv5", 512, 3, 2),
)


def build_network(*, height: int, width: int, dropout: float = 0.2) -> keras.Model:
    """Build the network with random weights.

    Parameters
    ----------
    height, width : int
        Input size in pixels, multiples of 32.

    Returns
    -------
    keras.Model
        From `(batch, height, width, 3)` float32, as `preprocess.network_input` makes it, to the
        logits of the stone map, `(batch, height / 8, width / 8, 1)` float32.

    Raises
    ------
    ValueError
        If a side is not a multiple of 32.
    """
    if height % 32 or width % 32:
        raise ValueError(f"The input size must be a multiple of 32, not {height} x {width}.")
    image = layers.Input((height, width, 3), name="image")
    x = layers.ZeroPadding2D(3, name="conv1_pad")(image)
    x = layers.Conv2D(64, 7, strides=2, name="conv1_conv")(x)
    x = _normalise(x, "conv1")
    x = layers.ReLU(name="conv1_relu")(x)
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)
    stages = {}
    for name, filters, blocks, stride in _STAGES:
        for block in range(1, blocks + 1):
            x = _bottleneck(
                x,
                filters=filters,
                stride=stride if block == 1 else 1,
                projects=block == 1,
                name=f"{name}_block{block}",
            )
        stages[name] = x

    merged = layers.Conv2D(128, 1, name="head_conv5")(stages["conv5"])
    for name in ("conv4", "conv3"):
        merged = layers.UpSampling2D(2, name=f"head_up_{name}")(merged)
        lateral = layers.Conv2D(128, 1, name=f"head_{name}")(stages[name])
        merged = layers.Add(name=f"head_add_{name}")([merged, lateral])
    merged = layers.ReLU(name="head_relu1")(merged)
    merged = layers.Conv2D(128, 3, padding="same", activation="relu", name="head_conv")(merged)
    merged = layers.Dropout(dropout, name="head_dropout")(merged)
    # The prior of a cell: about one in a hundred, so that the first steps are not spent on the
    # overwhelming background.
    logits = layers.Conv2D(
        1,
        1,
        dtype="float32",
        bias_initializer=keras.initializers.Constant(-4.6),
        name=MAP_LAYER,
    )(merged)
    return keras.Model(image, logits, name="resnet50_stone_map")


def serving_network(network: keras.Model) -> keras.Model:
    """Give a network the outputs that are served: its map, and features for the input gate.

    Returns
    -------
    keras.Model
        From the same input to `[stone_map, features_conv3, features_conv4]`; the features are
        averages over the canvas of the last block of their stage, `(batch, 512)` and
        `(batch, 1024)` float32. It shares the weights of `network` and has none of its own.
    """
    features = [
        layers.GlobalAveragePooling2D(name=name)(network.get_layer(block).output)
        for name, block in FEATURE_BLOCKS.items()
    ]
    return keras.Model(network.input, [network.output, *features], name="resnet50_serving")


def set_trainable(network: keras.Model, *, stage: str) -> None:
    """Choose what the next training stage may change.

    "head" trains conv5 and the head on a frozen conv1 to conv4; "upper" trains conv4 too, and
    "all" every convolution. The batch normalisation of conv1 to conv4 stays at its ImageNet
    statistics throughout, and that of conv5 too once its first training is over ("upper"):
    batches of eight are too small to estimate them better.
    """
    if stage not in STAGES:
        raise ValueError(f"Unknown training stage {stage!r}.")
    for layer in network.layers:
        is_new = layer.name.startswith(("conv5", "head", MAP_LAYER))
        is_norm = isinstance(layer, layers.BatchNormalization)
        if stage == "upper":
            layer.trainable = (is_new or layer.name.startswith("conv4")) and not is_norm
        else:
            layer.trainable = is_new or (stage == "all" and not is_norm)


def _bottleneck(x: Any, *, filters: int, stride: int, projects: bool, name: str) -> Any:
    shortcut = x
    if projects:
        shortcut = layers.Conv2D(4 * filters, 1, strides=stride, name=f"{name}_0_conv")(x)
        shortcut = _normalise(shortcut, f"{name}_0")
    x = layers.Conv2D(filters, 1, strides=stride, name=f"{name}_1_conv")(x)
    x = _normalise(x, f"{name}_1")
    x = layers.ReLU(name=f"{name}_1_relu")(x)
    x = layers.Conv2D(filters, 3, padding="same", name=f"{name}_2_conv")(x)
    x = _normalise(x, f"{name}_2")
    x = layers.ReLU(name=f"{name}_2_relu")(x)
    x = layers.Conv2D(4 * filters, 1, name=f"{name}_3_conv")(x)
    x = _normalise(x, f"{name}_3")
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    return layers.ReLU(name=f"{name}_out")(x)


def _normalise(x: Any, name: str) -> Any:
    # conv5 starts from random weights where only conv1 to conv4 are given: its running
    # statistics must settle within a short training.
    momentum = 0.9 if name.startswith("conv5") else 0.99
    return layers.BatchNormalization(epsilon=_BN_EPSILON, momentum=momentum, name=f"{name}_bn")(x)
