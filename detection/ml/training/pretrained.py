"""Reads the weights that a network starts from, and writes its weights as an archive."""

import zipfile
from collections.abc import Collection
from pathlib import Path

import keras
import numpy as np

from detection.ml.backbones import Arrays, Backbone, ImageNetWeights
from detection.ml.bundle import MANIFEST_NAME, load_bundle
from detection.ml.errors import MLError
from detection.ml.training.network import HEAD, MAP_LAYER, build_network, layers_by_stage
from detection.ml.training.tflite import dequantised

WEIGHTS_NAME = "weights.npz"
IMAGENET = "imagenet"
RANDOM = "random"
_HEAD_KERNEL = "head_conv/kernel"


def initialise(network: keras.Model, backbone: Backbone, *, init: str) -> str:
    """Give the network its starting weights.

    Parameters
    ----------
    init : str
        "random"; "imagenet", which downloads the complete ImageNet weights; or a path. The path
        is that of an `.npz` archive with keys `<layer>/<variable>`, of a TensorFlow Lite file, or
        of a bundle's folder.

    Returns
    -------
    str
        The weights that were used, for the record in `model.json`.

    Raises
    ------
    MLError
        If the weights cannot be downloaded or read, or do not fit.
    """
    if init == RANDOM:
        return RANDOM
    imagenet = backbone.imagenet
    held = layers_by_stage(network, backbone)
    new = held[HEAD].union(*(held[stage] for stage in imagenet.lacks))
    if init == IMAGENET:
        assign_weights(network, _downloaded(imagenet), may_lack=new)
        return f"imagenet: {imagenet.source}"
    path = weights_path(init)
    if not path.is_file():
        raise MLError(f"There are no weights at {path}. Give a bundle's folder or an .npz file.")
    arrays = _read(path, imagenet)
    is_bundle = any(name.startswith(MAP_LAYER) for name in arrays)
    assign_weights(network, arrays, may_lack=() if is_bundle else new)
    return f"bundle {path.parent.name}" if is_bundle else f"archive {path.name}"


def weights_path(init: str) -> Path:
    """Return the file that `init` names: itself, or the weights of a bundle's folder.

    Raises BundleError for an ensemble, which has no weights of its own.
    """
    path = Path(init)
    if not path.is_dir():
        return path
    if (path / MANIFEST_NAME).is_file():
        load_bundle(path).check_single()
    return path / WEIGHTS_NAME


def head_of(path: Path) -> dict[str, int]:
    """Read width and kernel of the head from the weights of a whole network.

    Returns
    -------
    dict
        `head_width` and `head_kernel`, as `build_network` takes them; empty for another file.
    """
    if path.suffix != ".npz" or not path.is_file():
        return {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            if _HEAD_KERNEL not in archive.files:
                return {}
            kernel, _, _, width = archive[_HEAD_KERNEL].shape
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise MLError(f"The weights in {path.name} cannot be read: {error}") from error
    return {"head_width": width, "head_kernel": kernel}


def _read(path: Path, imagenet: ImageNetWeights) -> Arrays:
    if path.suffix != ".tflite":
        return load_arrays(path)
    if not imagenet.tflite_layers:
        raise MLError(f"{path.name}: the weights of {imagenet.source} are read from .npz alone.")
    return dequantised(path, layers=imagenet.tflite_layers)


def _downloaded(imagenet: ImageNetWeights) -> Arrays:
    if imagenet.download is None:
        raise MLError(
            f"The weights of {imagenet.source} cannot be downloaded from here. "
            "Give their path with --init PATH."
        )
    try:
        source = imagenet.download(keras)
    except Exception as error:
        raise MLError(
            "The ImageNet weights could not be downloaded. Give their path with --init PATH."
        ) from error
    return {
        f"{layer.name}/{_variable_name(variable)}": variable.numpy()
        for layer in source.layers
        for variable in layer.weights
    }


def load_arrays(path: Path) -> Arrays:
    """Read an archive keyed `<layer>/<variable>`. Raises MLError if it cannot be read."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise MLError(f"The weights in {path.name} cannot be read: {error}") from error


def assign_weights(network: keras.Model, arrays: Arrays, *, may_lack: Collection[str] = ()) -> None:
    """Copy arrays keyed `<layer>/<variable>` into the layers of the same names.

    Parameters
    ----------
    may_lack : collection of str
        Layers that may find no weights: they keep their random start.

    Raises
    ------
    MLError
        If a shape differs, or another layer finds no weights.
    """
    for layer in network.layers:
        for variable in layer.weights:
            key = f"{layer.name}/{_variable_name(variable)}"
            if key not in arrays:
                if layer.name in may_lack:
                    continue
                raise MLError(f"The weights hold no {key}: they belong to another network.")
            if tuple(arrays[key].shape) != tuple(variable.shape):
                raise MLError(
                    f"{key} has shape {arrays[key].shape}, the network needs {variable.shape}."
                )
            variable.assign(arrays[key].astype("float32"))


def trained_network(weights: Path, *, backbone: Backbone, height: int, width: int) -> keras.Model:
    """Build the network of an archive of whole weights, for inputs of any size.

    Raises
    ------
    MLError
        If the archive cannot be read, or is that of another network.
    """
    network = build_network(backbone, height=height, width=width, **head_of(weights))
    assign_weights(network, load_arrays(weights))
    return network


def save_weights(network: keras.Model, path: Path) -> None:
    """Write all weights as an `.npz` archive: float16, but float32 for batch normalisation."""
    arrays = {}
    for layer in network.layers:
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        for variable in layer.weights:
            array = keras.ops.convert_to_numpy(variable)
            key = f"{layer.name}/{_variable_name(variable)}"
            arrays[key] = array.astype(np.float32 if is_norm else np.float16)
    with path.open("wb") as file:
        np.savez(file, **arrays)


def _variable_name(variable: keras.Variable) -> str:
    return variable.path.split("/")[-1]
