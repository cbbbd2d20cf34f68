"""The stone-map network: a backbone whose feature maps at several scales vote cell by cell.

A record of `detection.ml.backbones` describes the backbone. Its stages are joined top down to one
map of stride 8, as in a feature pyramid (Lin et al. 2017, arXiv:1612.03144). A stone of 12 px is
smaller than one cell of the stride-32 map of a plain network.
"""

from collections.abc import Callable

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from detection.ml.backbones import Backbone, Normalisation, Stage
from detection.ml.preprocess import INPUT_MEAN, network_input

MAP_LAYER = "stone_map"
STAGES = ("head", "upper", "all")
# Name of the group of layers that are not part of the backbone's stages.
HEAD = "head"
HEAD_WIDTH, HEAD_KERNEL, DROPOUT = 128, 3, 0.2
_INPUT = Normalisation(mean=INPUT_MEAN)


def build_network(
    backbone: Backbone,
    *,
    height: int,
    width: int,
    dropout: float = DROPOUT,
    head_width: int = HEAD_WIDTH,
    head_kernel: int = HEAD_KERNEL,
) -> keras.Model:
    """Build the network with random weights.

    Parameters
    ----------
    height, width : int
        Input size in pixels, multiples of the stride of the backbone's last stage.
    head_width, head_kernel : int
        Channels of the head's layers, and the side of its last convolution but one, in cells.

    Returns
    -------
    keras.Model
        From `(batch, height, width, 3)` float32, as `detection.ml.preprocess.network_input` makes
        it, to the logits of the stone map, `(batch, height / 8, width / 8, 1)` float32.

    Raises
    ------
    ValueError
        If a side is not such a multiple.
    """
    *finer, deepest = backbone.stages
    if height % deepest.stride or width % deepest.stride:
        raise ValueError(
            f"The input size must be a multiple of {deepest.stride}, not {height} x {width}."
        )
    image = layers.Input((height, width, 3), name="image")
    features = backbone.build(keras, _normalised(image, backbone.normalisation))
    body = keras.Model(image, features)

    merged = layers.Conv2D(head_width, 1, name=f"head_{deepest.name}")(_map(body, deepest))
    coarser = deepest
    for stage in reversed(finer):
        factor = coarser.stride // stage.stride
        merged = layers.UpSampling2D(factor, name=f"head_up_{stage.name}")(merged)
        lateral = layers.Conv2D(head_width, 1, name=f"head_{stage.name}")(_map(body, stage))
        merged = layers.Add(name=f"head_add_{stage.name}")([merged, lateral])
        coarser = stage
    merged = layers.ReLU(name="head_relu1")(merged)
    merged = layers.Conv2D(
        head_width, head_kernel, padding="same", activation="relu", name="head_conv"
    )(merged)
    merged = layers.Dropout(dropout, name="head_dropout")(merged)
    # The bias gives each cell a prior of about one in a hundred, so that the first steps are not
    # spent on the overwhelming background.
    logits = layers.Conv2D(
        1,
        1,
        dtype="float32",
        bias_initializer=keras.initializers.Constant(-4.6),
        name=MAP_LAYER,
    )(merged)
    return keras.Model(image, logits, name=f"{backbone.name}_stone_map")


def serving_network(network: keras.Model, backbone: Backbone) -> keras.Model:
    """Give a network the outputs that are served: its map, and features for the input gate.

    Returns
    -------
    keras.Model
        From the same input to the stone map and the averages of stages over the canvas, `(batch,
        channels)` float32, named by `feature_outputs`. It shares the weights of `network` and has
        none of its own.
    """
    features = [
        layers.GlobalAveragePooling2D(name=name)(_map(network, stage))
        for name, stage in feature_outputs(backbone).items()
    ]
    return keras.Model(network.input, [network.output, *features], name=f"{backbone.name}_serving")


def map_logits_of(network: keras.Model) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """Return a network as a function: uint8 `(n, h, w)` -> logits float32 `(n, h / 8, w / 8)`."""
    return lambda canvases: network.predict_on_batch(network_input(canvases))[..., 0]


def feature_outputs(backbone: Backbone) -> dict[str, Stage]:
    """Name the served feature outputs: of every stage but the last, which knows stones best."""
    return {f"features_{stage.name}": stage for stage in backbone.stages[:-1]}


def layers_by_stage(network: keras.Model, backbone: Backbone) -> dict[str, set[str]]:
    """Return the layers that make each stage from the one before; all others are `HEAD`."""
    held: dict[str, set[str]] = {}
    seen: set[str] = set()
    for stage in backbone.stages:
        names = {layer.name for layer in keras.Model(network.input, _map(network, stage)).layers}
        held[stage.name] = names - seen
        seen |= names
    held[HEAD] = {layer.name for layer in network.layers} - seen
    return held


def depths(network: keras.Model, backbone: Backbone) -> dict[str, int]:
    """Return how deep each layer lies: 0 in the head, 1 in the backbone's last stage, and so on."""
    held = layers_by_stage(network, backbone)
    order = [HEAD, *(stage.name for stage in reversed(backbone.stages))]
    return {layer: depth for depth, stage in enumerate(order) for layer in held[stage]}


def set_trainable(network: keras.Model, backbone: Backbone, *, stage: str | float) -> None:
    """Choose the layers that the next training stage may change.

    "head" trains the backbone's last stage and the head, and freezes all else; stages whose
    ImageNet weights are lacking are trained from the first step. "upper" trains the last stage but
    one too, "all" every convolution. Batch normalisation that comes with ImageNet statistics below
    the last stage keeps them throughout: batches of eight are too small to estimate them better.
    "upper" freezes the batch normalisation of every stage.

    A number trains the head and so many of the backbone's stages, the last one first, and no batch
    normalisation: 0 is the head alone, 2 is "upper", and 2.5 adds the later half of the
    convolutions of the stage below.

    Raises
    ------
    ValueError
        For another stage, or a number that is negative or above that of the stages.
    """
    if not isinstance(stage, str):
        _unfreeze(network, backbone, stages=stage)
        return
    if stage not in STAGES:
        raise ValueError(f"Unknown training stage {stage!r}.")
    held = layers_by_stage(network, backbone)
    upper, deepest = backbone.stages[-2:]
    new = held[HEAD].union(held[deepest.name], *(held[name] for name in backbone.imagenet.lacks))
    for layer in network.layers:
        is_new = layer.name in new
        is_norm = isinstance(layer, layers.BatchNormalization)
        if stage == "upper":
            layer.trainable = (is_new or layer.name in held[upper.name]) and not is_norm
        else:
            layer.trainable = is_new or (stage == "all" and not is_norm)


def _unfreeze(network: keras.Model, backbone: Backbone, *, stages: float) -> None:
    if not 0 <= stages <= len(backbone.stages):
        raise ValueError(f"There are {len(backbone.stages)} stages to train, not {stages:g}.")
    held = layers_by_stage(network, backbone)
    trained = set(held[HEAD])
    for depth, stage in enumerate(reversed(backbone.stages)):
        # In the order of the network, from its input on.
        convolutions = [
            layer.name
            for layer in network.layers
            if layer.name in held[stage.name]
            and layer.weights
            and not isinstance(layer, layers.BatchNormalization)
        ]
        frozen = round(len(convolutions) * (1 - min(max(stages - depth, 0.0), 1.0)))
        trained |= set(convolutions[frozen:])
    for layer in network.layers:
        layer.trainable = layer.name in trained


def _map(network: keras.Model, stage: Stage) -> keras.KerasTensor:
    return network.get_layer(stage.layer).output


def _normalised(image: keras.KerasTensor, normalisation: Normalisation) -> keras.KerasTensor:
    """Turn the served input into the one that the backbone's weights expect."""
    if normalisation == _INPUT:
        return image
    channels = zip(_INPUT.mean, normalisation.mean, normalisation.scale, strict=True)
    offset = [(served - mean) * scale for served, mean, scale in channels]
    # In float32, because bfloat16 rounds grey levels too coarsely for the subtraction.
    return layers.Rescaling(
        list(normalisation.scale), offset=offset, dtype="float32", name="normalise"
    )(image)
