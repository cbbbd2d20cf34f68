"""An int8 TensorFlow Lite file gives the network that it was made of."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from detection.ml.backbones import BACKBONES
from detection.ml.errors import MLError
from detection.ml.training import build_network, initialise
from detection.ml.training.tflite import dequantised

LAYERS = (("first", "first_bn"), ("depthwise", "depthwise_bn"), ("last", "last_bn"))


def small_network():
    """Build what a MobileNetV2 is made of: a convolution, a depthwise one, one of 1 x 1."""
    layers = keras.layers
    image = layers.Input((32, 32, 3), batch_size=1)
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False, name="first")(image)
    x = layers.ReLU(6.0)(layers.BatchNormalization(name="first_bn")(x))
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise")(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization(name="depthwise_bn")(x))
    x = layers.Conv2D(12, 1, use_bias=False, name="last")(x)
    return keras.Model(image, layers.BatchNormalization(name="last_bn")(x))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).uniform(-1, 1, (24, 32, 32, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def original(images):
    keras.utils.set_random_seed(1)
    network = small_network()
    generator = np.random.default_rng(2)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            size = layer.gamma.shape[0]
            layer.set_weights([generator.uniform(0.5, 1.5, size) for _ in range(4)])
    return network


@pytest.fixture(scope="module")
def file(original, images, tmp_path_factory):
    @tf.function(input_signature=[tf.TensorSpec((1, 32, 32, 3), tf.float32)])
    def serve(image):
        return original(image, training=False)

    converter = tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[None]] for image in images)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    path = tmp_path_factory.mktemp("tflite") / "small.tflite"
    path.write_bytes(converter.convert())
    return path


def test_the_dequantised_network_answers_as_the_one_that_was_quantised(original, file, images):
    network = small_network()
    arrays = dequantised(file, layers=LAYERS)

    for layer in network.layers:
        for variable in layer.weights:
            variable.assign(arrays[f"{layer.name}/{variable.path.split('/')[-1]}"])

    expected = np.concatenate([original(image[None]).numpy() for image in images[:4]])
    answered = np.concatenate([network(image[None]).numpy() for image in images[:4]])
    assert np.abs(answered - expected).max() < 0.03 * np.abs(expected).max()
    assert np.corrcoef(answered.ravel(), expected.ravel())[0, 1] > 0.999


def test_a_file_with_too_few_convolutions_is_refused(file):
    with pytest.raises(MLError, match="holds 3 convolutions, the network needs 4"):
        dequantised(file, layers=(*LAYERS, ("more", "more_bn")))


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\x1c\0\0\0TFL3" + bytes(40), b"\xff" * 400])
def test_what_is_no_tensorflow_lite_file_is_refused(tmp_path, content):
    path = tmp_path / "broken.tflite"
    path.write_bytes(content)

    with pytest.raises(MLError, match="broken.tflite"):
        dequantised(path, layers=LAYERS)


def test_a_cut_file_is_refused(file, tmp_path):
    path = tmp_path / "cut.tflite"
    path.write_bytes(file.read_bytes()[: file.stat().st_size // 2])

    with pytest.raises(MLError, match="cut.tflite"):
        dequantised(path, layers=LAYERS)


def test_a_backbone_without_such_weights_says_so(file):
    network = build_network(BACKBONES["resnet50"], height=64, width=96)

    with pytest.raises(MLError, match="read from .npz alone"):
        initialise(network, BACKBONES["resnet50"], init=str(file))


def test_mobilenetv2_names_each_of_its_convolutions_in_their_order():
    network = build_network(BACKBONES["mobilenetv2"], height=64, width=96)
    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
    built = [layer.name for layer in network.layers if isinstance(layer, kinds)]
    named = [name for name, _ in BACKBONES["mobilenetv2"].imagenet.tflite_layers]

    assert [name for name in built if not name.startswith(("head", "stone_map"))] == named
