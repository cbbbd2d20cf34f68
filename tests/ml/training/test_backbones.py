"""Every backbone's record is true; and a second one goes all the way, from images to a reading."""

import json

import keras
import numpy as np
import pytest

import detection.ml.training.gate_fit as gate_fit
from detection.imaging.formats import decode_file
from detection.imaging.phantoms import write_phantoms
from detection.ml.backbones import BACKBONES, backbone_of
from detection.ml.bundle import load_bundle
from detection.ml.data import PARTS, split
from detection.ml.errors import MLError
from detection.ml.preprocess import Preprocessing, network_input
from detection.ml.serving import Predictor
from detection.ml.training import TrainingOptions, build_network, initialise, train
from detection.ml.training.export import architecture_text, map_logits
from detection.ml.training.network import (
    HEAD,
    feature_outputs,
    layers_by_stage,
    serving_network,
    set_trainable,
)
from detection.ml.training.pretrained import save_weights
from tests.ml.training.tiny_backbone import TINY

# One process builds each network once.
pytestmark = pytest.mark.xdist_group("backbones")
SMALL = Preprocessing(height=64, width=96)


@pytest.fixture(
    scope="module", params=[*BACKBONES.values(), TINY], ids=lambda backbone: backbone.name
)
def built(request):
    return request.param, build_network(request.param, height=64, width=96)


@pytest.mark.parametrize("name", BACKBONES)
def test_each_backbone_stands_under_its_name(name):
    assert backbone_of(name).name == name
    assert name.isalnum()


def test_an_unknown_backbone_is_refused_by_name():
    with pytest.raises(MLError, match="'alexnet'.*resnet50"):
        backbone_of("alexnet")


def test_each_record_says_what_is_built(built):
    backbone, network = built

    for stage in backbone.stages:
        shape = network.get_layer(stage.layer).output.shape
        assert shape == (None, 64 // stage.stride, 96 // stage.stride, stage.channels)
    strides = [stage.stride for stage in backbone.stages]
    assert strides[0] == Preprocessing.stride
    assert strides == sorted(set(strides))
    assert network.output_shape == (None, 64 // Preprocessing.stride, 96 // Preprocessing.stride, 1)
    assert set(backbone.imagenet.lacks) <= {stage.name for stage in backbone.stages}


def test_each_stage_is_made_of_the_one_before_alone(built):
    backbone, network = built

    for finer, coarser in zip(backbone.stages, backbone.stages[1:], strict=False):
        ends = (network.get_layer(stage.layer).output for stage in (finer, coarser))
        # Keras refuses it if anything else leads there.
        keras.Model(*ends)


def test_every_layer_belongs_to_one_stage_or_to_the_head(built):
    backbone, network = built

    held = layers_by_stage(network, backbone)

    assert sorted(sum(map(list, held.values()), [])) == sorted(x.name for x in network.layers)
    assert all(name.startswith(("head", "stone_map")) for name in held[HEAD])


def test_stages_are_trained_from_the_head_down(built):
    backbone, network = built
    held = layers_by_stage(network, backbone)
    upper, deepest = (stage.name for stage in backbone.stages[-2:])

    def trained(stage):
        set_trainable(network, backbone, stage=stage)
        return {layer.name for layer in network.layers if layer.trainable_weights}

    new = held[HEAD].union(held[deepest], *(held[name] for name in backbone.imagenet.lacks))
    assert trained("head") == {name for name in new if network.get_layer(name).weights}
    assert trained("upper") <= new | held[upper]
    assert trained("upper") & held[upper]
    assert trained("all") & held[backbone.stages[0].name]
    norms = {x.name for x in network.layers if isinstance(x, keras.layers.BatchNormalization)}
    assert trained("all") & norms == new & norms
    assert not trained("upper") & norms


def test_features_are_those_of_every_stage_but_the_last(built):
    backbone, network = built

    served = serving_network(network, backbone)

    channels = [stage.channels for stage in backbone.stages[:-1]]
    assert [shape[-1] for shape in served.output_shape] == [1, *channels]
    assert list(feature_outputs(backbone)) == [f"features_{s.name}" for s in backbone.stages[:-1]]


def test_weights_see_the_grey_levels_that_their_record_names(built):
    backbone, network = built
    grey = np.array([[[0]], [[100]], [[255]]], np.uint8).repeat(64, 1).repeat(96, 2)
    names = {layer.name for layer in network.layers}
    seen = network_input(grey)

    if "normalise" in names:
        seen = network.get_layer("normalise")(seen)

    spec = backbone.normalisation
    expected = (grey[..., None] - np.array(spec.mean)) * np.array(spec.scale)
    assert np.allclose(seen, expected, atol=1e-4)


def test_the_model_in_service_is_described_as_it_was():
    text = "ResNet50 stone map, strides 8, 16 and 32 joined at stride 8"
    assert architecture_text(BACKBONES["resnet50"]) == text


@pytest.fixture
def tiny_network():
    return build_network(TINY, height=64, width=96)


def arrays_of(network, *, without=()):
    held = layers_by_stage(network, TINY)
    left_out = held[HEAD].union(*(held[stage] for stage in without))
    return {
        f"{layer.name}/{variable.path.split('/')[-1]}": keras.ops.convert_to_numpy(variable)
        for layer in network.layers
        for variable in layer.weights
        if layer.name not in left_out
    }


def test_imagenet_weights_load_from_an_archive(tiny_network, tmp_path):
    arrays = {name: np.full_like(held, 0.5) for name, held in arrays_of(tiny_network).items()}
    path = tmp_path / "tiny.npz"
    np.savez(path, **arrays)

    assert initialise(tiny_network, TINY, init=str(path)) == "archive tiny.npz"

    kernel, _ = tiny_network.get_layer("coarse_conv").get_weights()
    assert (kernel == 0.5).all()
    kernel, _ = tiny_network.get_layer("head_conv").get_weights()
    assert not (kernel == 0.5).all()


def test_a_stage_that_the_record_does_not_name_must_have_its_weights(tiny_network, tmp_path):
    path = tmp_path / "tiny.npz"
    np.savez(path, **arrays_of(tiny_network, without=["coarse"]))

    with pytest.raises(MLError, match="coarse_conv/kernel"):
        initialise(tiny_network, TINY, init=str(path))


def test_weights_of_another_architecture_are_refused(tiny_network, tmp_path):
    save_weights(tiny_network, tmp_path / "weights.npz")
    network = build_network(BACKBONES["resnet50"], height=64, width=96)

    with pytest.raises(MLError, match="belong to another network"):
        initialise(network, BACKBONES["resnet50"], init=str(tmp_path))


def test_what_cannot_be_downloaded_says_so(tiny_network):
    with pytest.raises(MLError, match="nobody's tiny network cannot be downloaded"):
        initialise(tiny_network, TINY, init="imagenet")


def test_a_training_of_an_unknown_architecture_is_refused_before_it_reads(tmp_path):
    with pytest.raises(MLError, match="no architecture called 'alexnet'"):
        train(
            data=tmp_path / "absent",
            out=tmp_path / "out",
            options=TrainingOptions(init="random", architecture="alexnet"),
            report=lambda progress: None,
        )


@pytest.mark.slow
def test_a_second_backbone_is_trained_calibrated_gated_exported_and_served(
    tiny, tmp_path, monkeypatch
):
    monkeypatch.setattr(gate_fit, "MIN_TRAIN_IMAGES", 20)
    monkeypatch.setattr(gate_fit, "MIN_VALIDATION_IMAGES", 4)
    write_phantoms(tmp_path / "data", images=60, seed=1)
    reports = []

    path, dataset = train(
        data=tmp_path / "data",
        out=tmp_path / "out",
        options=TrainingOptions(
            init="random", architecture=tiny.name, epochs=1, batch_size=4, preprocessing=SMALL
        ),
        report=reports.append,
    )

    bundle = load_bundle(path)
    assert bundle.name.startswith("tiny-")
    assert bundle.backbone == "tiny"
    assert bundle.manifest["architecture"].startswith("Tiny stone map, strides 8, 16 and 32")
    assert bundle.manifest["training"]["architecture"] == "tiny"
    assert {"slope", "intercept"} <= set(bundle.calibration)
    assert "file" in bundle.manifest["gate"]
    assert {report["stage"] for report in reports} >= {"train", "export", "calibrate", "gate"}
    predictor = Predictor(bundle, threads=1)
    assert set(predictor.gate.depths) == {"features_fine", "features_middle"}
    sample = split(dataset.samples, parts=PARTS)["test"][0]
    assessment = predictor.assess(decode_file(sample.path))
    assert assessment.verdict in {"stone", "no_stone", "cannot_assess"}
    canvases = np.zeros((2, 64, 96), np.uint8)
    assert map_logits(bundle.serving_path)(canvases).shape == (2, 8, 12)
    json.dumps(bundle.manifest, allow_nan=False)
