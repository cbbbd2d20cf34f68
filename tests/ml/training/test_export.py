import cv2
import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

import detection.ml.training.export as export_module
from detection.imaging.phantoms import write_phantoms
from detection.ml.backbones import BACKBONES
from detection.ml.bundle import load_bundle
from detection.ml.data import PARTS, Sample, load_dataset, split
from detection.ml.preprocess import Preprocessing, network_input
from detection.ml.serving import open_network
from detection.ml.training import build_network, export_float32, score
from detection.ml.training.export import export_bundle, map_logits
from detection.ml.training.network import feature_outputs, serving_network
from detection.ml.training.operating_points import fit_platt
from detection.ml.training.pretrained import assign_weights, load_arrays, save_weights
from detection.ml.training.quantisation import quantise, store_as_float16

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("export")]
# The lightest: its export and its quantisation take a fraction of ResNet50's time and memory.
LIGHT = BACKBONES["mobilenetv2"]
SMALL = Preprocessing(height=64, width=96)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    keras.utils.set_random_seed(1)
    save_weights(build_network(LIGHT, height=64, width=96), folder / "weights.npz")
    export_float32(
        folder / "weights.npz", folder / "float32.onnx", backbone=LIGHT, preprocessing=SMALL
    )
    return folder


@pytest.fixture(scope="module")
def canvases():
    return np.random.default_rng(1).integers(0, 255, (3, 64, 96)).astype(np.uint8)


def test_onnx_computes_what_keras_computes(exported, canvases):
    network = build_network(LIGHT, height=64, width=96)
    assign_weights(network, load_arrays(exported / "weights.npz"))

    keras_map = network.predict(network_input(canvases), verbose=0)[..., 0]

    assert np.abs(map_logits(exported / "float32.onnx")(canvases) - keras_map).max() < 1e-4


def test_onnx_gives_the_features_that_keras_gives(exported, canvases):
    network = build_network(LIGHT, height=64, width=96)
    assign_weights(network, load_arrays(exported / "weights.npz"))

    _, *expected = serving_network(network, LIGHT).predict(network_input(canvases), verbose=0)

    features = open_network(exported / "float32.onnx")(canvases)[1]
    assert list(features) == list(feature_outputs(LIGHT))
    for ours, theirs in zip(features.values(), expected, strict=True):
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() < 1e-4


def test_batch_and_single_image_agree(exported, canvases):
    run = map_logits(exported / "float32.onnx")

    singly = np.concatenate([run(canvas[None]) for canvas in canvases])

    assert np.abs(run(canvases) - singly).max() < 1e-4
    outputs = open_network(exported / "float32.onnx")
    together = outputs(canvases)[1]
    alone = outputs(canvases[1:2])[1]
    for name in together:
        assert np.abs(together[name][1] - alone[name][0]).max() < 1e-4


def test_float16_file_is_half_as_large_and_answers_the_same(exported, canvases):
    target = exported / "float16.onnx"
    store_as_float16(exported / "float32.onnx", target)

    assert target.stat().st_size < 0.55 * (exported / "float32.onnx").stat().st_size
    difference = map_logits(target)(canvases) - map_logits(exported / "float32.onnx")(canvases)
    # The weights came from a float16 file: storing them so again loses nothing but what
    # folding the batch normalisation into them rounds.
    assert np.abs(difference).max() < 0.05


@pytest.fixture(scope="module")
def int8(exported, canvases):
    cv2.imwrite(str(exported / "slice.png"), canvases[0])
    sample = Sample(
        path=exported / "slice.png", image="slice.png", source="phantom",
        is_stone=False, finding="normal", group="p1",
    )  # fmt: skip
    quantise(
        exported / "float32.onnx", exported / "int8.onnx", samples=[sample], preprocessing=SMALL
    )
    return exported / "int8.onnx"


def test_int8_file_loads_and_is_a_third(exported, canvases, int8):
    assert int8.stat().st_size < 0.33 * (exported / "float32.onnx").stat().st_size
    onnxruntime.InferenceSession(str(int8), providers=["CPUExecutionProvider"])
    logits, features = open_network(int8)(canvases)
    assert np.isfinite(logits).all()
    # Averages that were quantised themselves would take at most 256 values.
    assert all(len(np.unique(held)) > 256 for held in features.values())


def test_no_sum_of_two_products_of_the_int8_file_overflows_sixteen_bits(int8):
    """Without VNNI a kernel adds u8 x s8 in pairs of 16 bits, and saturates at 32767."""
    graph = onnx.load(str(int8)).graph
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    dequantised = {
        node.output[0]: node.input for node in graph.node if node.op_type == "DequantizeLinear"
    }
    seen = 0
    for node in graph.node:
        if node.op_type != "Conv" or node.input[1] not in dequantised:
            continue
        weights, _, weights_zero = (arrays[name] for name in dequantised[node.input[1]])
        activations_zero = arrays[dequantised[node.input[0]][2]]
        assert (weights.dtype, activations_zero.dtype) == (np.int8, np.uint8)
        assert not weights_zero.any()
        highest = int(np.abs(weights.astype(np.int64)).max())
        assert highest <= 64
        assert 2 * 255 * highest <= np.iinfo(np.int16).max
        seen += 1
    # All of the backbone and of the head, but the last two convolutions of the head.
    assert seen == sum(node.op_type == "Conv" for node in graph.node) - 2


def test_a_bundle_is_calibrated_by_the_weights_that_do_not_know_the_validation_part(
    tiny, tmp_path, monkeypatch
):
    fitted_on = []
    halved_by = set()

    def recorded_fit(logits, labels):
        fitted_on.append(logits)
        return fit_platt(logits, labels)

    def recorded_score(samples, *, halved, **given):
        halved_by.add(halved)
        return score(samples, halved=frozenset(), **given)

    def named_halved(samples):
        assert tuple(samples) == dataset.samples
        return frozenset({"named for the whole data set"})

    monkeypatch.setattr(export_module, "fit_platt", recorded_fit)
    monkeypatch.setattr(export_module, "score", recorded_score)
    monkeypatch.setattr(export_module, "halved_sources", named_halved)
    write_phantoms(tmp_path / "data", images=40, seed=1)
    dataset = load_dataset(tmp_path / "data")
    parts = split(dataset.samples, parts=PARTS)
    keras.utils.set_random_seed(1)
    network = build_network(tiny, height=64, width=96)
    save_weights(network, tmp_path / "held_out.npz")
    bias = network.get_layer("stone_map").bias
    bias.assign(bias + 3.0)
    save_weights(network, tmp_path / "refit.npz")

    bundle = load_bundle(
        export_bundle(
            weights=tmp_path / "refit.npz",
            held_out_weights=tmp_path / "held_out.npz",
            out=tmp_path / "out",
            parts=parts,
            dataset=dataset,
            backbone=tiny,
            preprocessing=SMALL,
            training={},
            report=lambda progress: None,
        )
    )

    float32 = tmp_path / "float32.onnx"
    export_float32(tmp_path / "held_out.npz", float32, backbone=tiny, preprocessing=SMALL)
    held_out = score(
        parts["validation"],
        map_logits=map_logits(float32),
        preprocessing=SMALL,
        halved=frozenset(),
    )
    served = score(
        parts["validation"],
        map_logits=map_logits(bundle.path / bundle.manifest["serving"]["file"]),
        preprocessing=SMALL,
        halved=frozenset(),
    )
    # The served weights are the others with 3 added to every logit: they are told apart by that.
    assert served.logits.mean() - held_out.logits.mean() == pytest.approx(3.0, abs=0.2)
    assert halved_by == {frozenset({"named for the whole data set"})}
    assert fitted_on
    for logits in fitted_on:
        assert logits.mean() == pytest.approx(held_out.logits.mean(), abs=1.0)
