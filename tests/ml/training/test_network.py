import keras
import numpy as np
import pytest

from detection.ml.backbones import BACKBONES
from detection.ml.bundle import load_bundle
from detection.ml.errors import MLError
from detection.ml.training import build_network, initialise
from detection.ml.training.network import set_trainable
from detection.ml.training.pretrained import save_weights
from tests.networks import ensemble_bundle, network_bundle

RESNET50 = BACKBONES["resnet50"]


@pytest.fixture(scope="module")
def network():
    return build_network(RESNET50, height=64, width=96)


def test_map_has_stride_eight(network):
    assert network.output_shape == (None, 8, 12, 1)


def test_backbone_has_the_layers_and_shapes_of_keras_resnet50(network):
    reference = keras.applications.ResNet50(include_top=False, weights=None)
    ours = {layer.name: layer for layer in network.layers if layer.weights}

    for layer in reference.layers:
        if layer.weights:
            assert [w.shape for w in ours[layer.name].weights] == [w.shape for w in layer.weights]


def test_backbone_computes_what_keras_resnet50_computes(network):
    reference = keras.applications.ResNet50(
        include_top=False, weights=None, input_shape=(64, 96, 3)
    )
    for layer in reference.layers:
        if layer.weights:
            layer.set_weights(network.get_layer(layer.name).get_weights())
    ours = keras.Model(network.input, network.get_layer("conv5_block3_out").output)
    image = np.random.default_rng(1).normal(0, 50, (1, 64, 96, 3)).astype(np.float32)

    assert np.allclose(ours(image), reference(image), atol=1e-3)


def test_size_must_fit_the_strides():
    with pytest.raises(ValueError, match="multiple of 32"):
        build_network(RESNET50, height=60, width=96)


def test_head_stage_freezes_the_imagenet_part(network):
    set_trainable(network, RESNET50, stage="head")

    assert not network.get_layer("conv4_block6_3_conv").trainable
    assert network.get_layer("conv5_block1_1_conv").trainable
    set_trainable(network, RESNET50, stage="all")
    assert network.get_layer("conv2_block1_1_conv").trainable
    assert not network.get_layer("conv2_block1_1_bn").trainable


def test_weights_survive_the_float16_file(network, tmp_path):
    save_weights(network, tmp_path / "weights.npz")
    other = build_network(RESNET50, height=64, width=96)

    assert initialise(other, RESNET50, init=str(tmp_path)).startswith("bundle")
    image = np.zeros((1, 64, 96, 3), np.float32)
    assert np.allclose(network(image), other(image), atol=0.05)


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04broken"])
def test_damaged_weights_are_refused(network, tmp_path, content):
    (tmp_path / "weights.npz").write_bytes(content)

    with pytest.raises(MLError, match="cannot be read"):
        initialise(network, RESNET50, init=str(tmp_path))


def test_missing_weights_are_refused(network, tmp_path):
    with pytest.raises(MLError, match="no weights"):
        initialise(network, RESNET50, init=str(tmp_path / "absent"))


def test_an_ensemble_is_no_start_and_its_members_are_named(network, tmp_path):
    held = [network_bundle(tmp_path, name) for name in ("alpha-1", "beta-1")]
    ensemble = ensemble_bundle(tmp_path, held)

    with pytest.raises(MLError, match="has no weights of its own.*members: alpha-1, beta-1"):
        initialise(network, RESNET50, init=str(ensemble))
    with pytest.raises(MLError, match="has no weights of its own"):
        _ = load_bundle(ensemble).serving_path
