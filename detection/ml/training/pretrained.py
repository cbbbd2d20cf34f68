"""Weights in and out of the network: ImageNet archives, earlier bundles, and our own files."""

import zipfile
from pathlib import Path

import keras
import numpy as np

from detection.ml.errors import MLError
from detection.ml.training.network import MAP_LAYER

IMAGENET = "imagenet"
RANDOM = "random"


def initialise(network: keras.Model, *, init: str) -> str:
    """Give the network its starting weights.

    Parameters
    ----------
    init : str
        "random"; "imagenet" (Keras downloads the complete ImageNet weights); or a path: an
        archive `.npz` with keys `<layer>/<variable>`, or the folder of a model bundle.

    Returns
    -------
    str
        What was used, for the record in `model.json`.

    Raises
    ------
    MLError
        If the weights cannot be had or do not fit.
    """
    if init == RANDOM:
        return RANDOM
    if init == IMAGENET:
        try:
            source = keras.applications.ResNet50(include_top=False, weights="imagenet")
        except Exception as error:
            raise MLError(
                "The ImageNet weights could not be downloaded. Give their path with --init PATH."
            ) from error
        arrays = {
            f"{layer.name}/{_variable_name(variable)}": variable.numpy()
            for layer in source.layers
            for variable in layer.weights
        }
        assign_weights(network, arrays, allow_missing_head=True)
        return "imagenet: keras.applications.ResNet50"
    path = Path(init)
    if path.is_dir():
        path = path / "weights.npz"
    if not path.is_file():
        raise MLError(f"There are no weights at {path}. Give a bundle's folder or an .npz file.")
    arrays = load_arrays(path)
    is_bundle = any(name.startswith(MAP_LAYER) for name in arrays)
    assign_weights(network, arrays, allow_missing_head=not is_bundle)
    return f"bundle {path.parent.name}" if is_bundle else f"archive {path.name}"


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read an archive keyed `<layer>/<variable>`. Raises MLError if it cannot be read."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise MLError(f"The weights in {path.name} cannot be read: {error}") from error


def assign_weights(
    network: keras.Model, arrays: dict[str, np.ndarray], *, allow_missing_head: bool
) -> None:
    """Copy arrays keyed `<layer>/<variable>` into the layers of the same names.

    Raises
    ------
    MLError
        If a shape differs, or a layer finds no weights. With `allow_missing_head`, conv5 and
        the head may go without: they keep their random start.
    """
    for layer in network.layers:
        for variable in layer.weights:
            key = f"{layer.name}/{_variable_name(variable)}"
            if key not in arrays:
                if allow_missing_head and layer.name.startswith(("conv5", "head", MAP_LAYER)):
                    continue
                raise MLError(f"The weights hold no {key}: they belong to another network.")
            if tuple(arrays[key].shape) != tuple(variable.shape):
                raise MLError(
                    f"{key} has shape {arrays[key].shape}, the network needs {variable.shape}."
                )
            variable.assign(arrays[key].astype("float32"))


def save_weights(network: keras.Model, path: Path) -> None:
    """Write all weights as float16 `.npz`, batch-normalisation statistics as float32."""
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
