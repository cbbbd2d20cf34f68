"""Reads the weights of an int8 TensorFlow Lite file, whose normalisation is folded into them."""

import struct
from pathlib import Path
from typing import Any

import numpy as np

from detection.ml.backbones import Arrays
from detection.ml.errors import MLError

# Epsilon of Keras' batch normalisation unless a layer says otherwise.
_EPSILON = 1e-3
_TYPES: dict[int, type[np.generic]] = {0: np.float32, 2: np.int32, 9: np.int8}


def dequantised(path: Path, *, layers: tuple[tuple[str, str], ...]) -> Arrays:
    """Read the convolutions of a file as float32 weights of Keras layers.

    A kernel is its int8 values times the scale of their channel. What the file adds after a
    convolution becomes the shift of a batch normalisation that otherwise changes nothing.

    Parameters
    ----------
    layers : tuple
        For each convolution, in the order of the file, the names of its layer and of the batch
        normalisation behind it. Convolutions after the last of them are left out.

    Returns
    -------
    mapping
        Weights by `<layer>/<variable>`.

    Raises
    ------
    MLError
        If the file is no TensorFlow Lite file, or holds fewer convolutions.
    """
    # Schema and flat buffers come with TensorFlow, which takes seconds to import.
    from tensorflow.lite.python import schema_py_generated as schema

    content = path.read_bytes()
    try:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
        graph = model.subgraphs[0]
        kinds = {schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.DEPTHWISE_CONV_2D}
        codes = [code.builtinCode for code in model.operatorCodes]
        found = [op for op in graph.operators if codes[op.opcodeIndex] in kinds]
        arrays: dict[str, np.ndarray] = {}
        for op, (convolution, normalisation) in zip(found, layers, strict=False):
            _, kernel, bias = (graph.tensors[index] for index in op.inputs)
            # The file has (filters, rows, columns, channels), and 1 filter if it is depthwise.
            arrays[f"{convolution}/kernel"] = _real(model, kernel).transpose(1, 2, 3, 0)
            shift = _real(model, bias)
            arrays[f"{normalisation}/beta"] = shift
            arrays[f"{normalisation}/gamma"] = np.ones_like(shift)
            arrays[f"{normalisation}/moving_mean"] = np.zeros_like(shift)
            arrays[f"{normalisation}/moving_variance"] = np.full_like(shift, 1 - _EPSILON)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, struct.error) as error:
        raise MLError(f"{path.name} is no TensorFlow Lite file that can be read here.") from error
    if len(found) < len(layers):
        raise MLError(
            f"{path.name} holds {len(found)} convolutions, the network needs {len(layers)}."
        )
    return arrays


def _real(model: Any, tensor: Any) -> np.ndarray:
    """Return the real values of a tensor of the file, float32."""
    stored = np.frombuffer(bytes(model.buffers[tensor.buffer].data), _TYPES[tensor.type])
    values = stored.reshape([int(side) for side in tensor.shape]).astype(np.float32)
    told = tensor.quantization
    if told is None or told.scale is None:
        return values
    shape = [1] * values.ndim
    shape[told.quantizedDimension] = len(told.scale)
    zero = np.asarray(told.zeroPoint, np.float32).reshape(shape)
    return (values - zero) * np.asarray(told.scale, np.float32).reshape(shape)
