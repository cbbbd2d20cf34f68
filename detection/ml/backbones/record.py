"""What is to be known of a backbone: the part of a network that comes trained on ImageNet."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Weights by `<layer>/<variable>`, shaped as Keras shapes them.
Arrays = Mapping[str, NDArray[np.floating[Any]]]


@dataclass(frozen=True)
class Stage:
    """A feature map that a backbone hands out.

    Attributes
    ----------
    name : str
        Names the head's layers and the features of the input gate.
    layer : str
        The layer that gives the map. The map of the stage before is all that it is made of.
    stride : int
        Canvas pixels to a cell of the map.
    channels : int
        Values of a cell.
    """

    name: str
    layer: str
    stride: int
    channels: int


@dataclass(frozen=True)
class Normalisation:
    """What the pre-trained weights expect of a grey level 0 to 255, for each of three channels.

    The first convolution sees `(grey - mean) * scale`, channels in the order of its weights.
    """

    mean: tuple[float, float, float]
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class ImageNetWeights:
    """Where the weights that a training starts from are to be had.

    Attributes
    ----------
    source, licence : str
        Whose they are, for people and for the record in `model.json`.
    file : str
        The file's name, where an installation keeps it.
    lacks : tuple of str
        Stages that the file may go without: they start from random values.
    read : callable, optional
        Reads the file. None: it is an `.npz` archive whose keys are those of `Arrays`.
    download : callable, optional
        Given the module `keras`, returns a model with the complete weights, whose layers are
        named as those that `build` makes. None: they cannot be downloaded.
    """

    source: str
    licence: str
    file: str
    lacks: tuple[str, ...] = ()
    read: Callable[[Path], Arrays] | None = None
    download: Callable[[Any], Any] | None = None


@dataclass(frozen=True)
class Backbone:
    """One pre-trained network without its top, as a part of the stone-map network.

    Attributes
    ----------
    name : str
        Lower case, without hyphens: begins the names of bundles, and is what is chosen by.
    title : str
        As people write it.
    stages : tuple of Stage
        At least two, the finest first, of stride 8; each is coarser than the one before.
    normalisation : Normalisation
        The network does it itself: what is served takes the same input whatever the backbone.
    build : callable
        Given the module `keras` and the input, `(batch, height, width, 3)`, returns the map of
        the last stage. Its layers are Keras' own: a checkpoint is loaded in the safe mode.

    Notes
    -----
    All functions are functions of a module: the export to ONNX takes a record along to a process
    of its own.
    """

    name: str
    title: str
    stages: tuple[Stage, ...]
    normalisation: Normalisation
    imagenet: ImageNetWeights
    build: Callable[[Any, Any], Any]
