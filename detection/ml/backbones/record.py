"""The record of a backbone, the part of a network that comes trained on ImageNet."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Weights by `<layer>/<variable>`, shaped as Keras shapes them.
Arrays = Mapping[str, NDArray[np.floating[Any]]]


@dataclass(frozen=True)
class Stage:
    """A feature map that a backbone provides.

    Attributes
    ----------
    name : str
        Part of the names of the head's layers and of the input gate's features.
    layer : str
        The layer whose output is the map. It is computed from the map of the stage before alone.
    stride : int
        Canvas pixels per cell of the map.
    channels : int
        Values per cell.
    """

    name: str
    layer: str
    stride: int
    channels: int


@dataclass(frozen=True)
class Normalisation:
    """The input that the pre-trained weights expect, for grey levels 0 to 255.

    The first convolution gets `(grey - mean) * scale`, with channels in the order of its weights.
    """

    mean: tuple[float, float, float]
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class ImageNetWeights:
    """The source of the ImageNet weights that a training starts from.

    Attributes
    ----------
    source, licence : str
        Origin and licence of the weights; the source is recorded in `model.json`.
    file : str
        Name of the file in which an installation keeps them.
    lacks : tuple of str
        Stages that the file may lack: they start from random values.
    tflite_layers : tuple of str
        The layers of the convolutions of a TensorFlow Lite file, in its order, each with the layer
        that normalises it. Empty: the file is an `.npz` archive with the keys of `Arrays`.
    download : callable, optional
        From the module `keras` to a model with the complete weights, whose layers have the names
        that `build` gives. None: the weights cannot be downloaded.
    """

    source: str
    licence: str
    file: str
    lacks: tuple[str, ...] = ()
    tflite_layers: tuple[tuple[str, str], ...] = ()
    download: Callable[[Any], Any] | None = None


@dataclass(frozen=True)
class Backbone:
    """One pre-trained network without its top, as a part of the stone-map network.

    Attributes
    ----------
    name : str
        The name by which it is chosen, in lower case without hyphens; names of bundles begin with
        it.
    title : str
        The name as people write it.
    stages : tuple of Stage
        At least two, the finest first, of stride 8; each is coarser than the one before.
    normalisation : Normalisation
        Normalisation that the network does itself, so that every network takes the same input.
    imagenet : ImageNetWeights
        The pre-trained weights.
    build : callable
        From the module `keras` and the input, `(batch, height, width, 3)`, to the map of the last
        stage. The layers are Keras' own, since a checkpoint is loaded in the safe mode.

    Notes
    -----
    All functions stand at the head of a module, so that a record can be pickled: the export to
    ONNX sends it to a process of its own.
    """

    name: str
    title: str
    stages: tuple[Stage, ...]
    normalisation: Normalisation
    imagenet: ImageNetWeights
    build: Callable[[Any, Any], Any]
