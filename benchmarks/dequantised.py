"""Measures how the dequantised MobileNetV2 agrees with the int8 file that it comes from.

    python -m benchmarks.dequantised FILE.tflite DATA_FOLDER

It prints, over images of the data folder at 224 x 224, the correlation of the last feature maps of
the two, and how often they agree on which image of two is the more alike to a third.
"""

import argparse
from pathlib import Path

import cv2
import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from detection.ml.backbones import backbone_of
from detection.ml.data import load_dataset
from detection.ml.training.pretrained import assign_weights
from detection.ml.training.tflite import dequantised

_SIDE = 224
_BACKBONE = backbone_of("mobilenetv2")
Floats = NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, default=100)
    options = parser.parse_args()

    samples = load_dataset(options.data).samples
    chosen = samples[:: max(1, len(samples) // options.images)][: options.images]
    inputs = [_input(sample.read()) for sample in chosen]
    real = _real_features(options.file, inputs)
    int8 = _int8_features(options.file, inputs)

    correlation = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(real, int8, strict=True)]
    agreed = _agreement(
        np.stack([one.mean((0, 1)) for one in real]), np.stack([one.mean((0, 1)) for one in int8])
    )
    low, middle = np.quantile(correlation, (0.05, 0.5))
    print(f"images: {len(chosen)}, feature maps of {' x '.join(map(str, real[0].shape))}")
    print(f"correlation of the maps: median {middle:.4f}, 5 % quantile {low:.4f}")
    print(f"triplets of images on which both agree: {agreed:.4f}")


def _input(grey: NDArray[np.uint8]) -> Floats:
    resized = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return np.repeat(resized[..., None].astype(np.float32) / 127.5 - 1, 3, axis=2)


def _real_features(path: Path, inputs: list[Floats]) -> list[Floats]:
    image = keras.layers.Input((_SIDE, _SIDE, 3))
    network = keras.Model(image, _BACKBONE.build(keras, image))
    assign_weights(network, dequantised(path, layers=_BACKBONE.imagenet.tflite_layers))
    return [network.predict_on_batch(one[None])[0] for one in inputs]


def _int8_features(path: Path, inputs: list[Floats]) -> list[Floats]:
    reader = tf.lite.Interpreter(str(path), experimental_preserve_all_tensors=True)
    reader.allocate_tensors()
    place = reader.get_input_details()[0]
    scale, zero = place["quantization"]
    # The last map: the only tensor of this size.
    maps = [one for one in reader.get_tensor_details() if list(one["shape"]) == [1, 7, 7, 1280]]
    features = []
    for one in inputs:
        stored = one if not scale else np.clip(np.round(one / scale) + zero, 0, 255)
        reader.set_tensor(place["index"], stored[None].astype(place["dtype"]))
        reader.invoke()
        step, offset = maps[-1]["quantization"]
        found = reader.get_tensor(maps[-1]["index"])[0].astype(np.float32)
        features.append((found - offset) * step)
    return features


def _agreement(first: Floats, second: Floats) -> float:
    """Return how often both say alike which of two images is nearer to a third."""
    draws = np.random.default_rng(0).integers(len(first), size=(2000, 3))
    return float(np.mean(_nearer(first, draws) == _nearer(second, draws)))


def _nearer(vectors: Floats, draws: NDArray[np.int64]) -> NDArray[np.bool_]:
    scaled = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    anchor, one, other = (scaled[draws[:, column]] for column in range(3))
    return (anchor * one).sum(1) > (anchor * other).sum(1)


if __name__ == "__main__":
    main()
