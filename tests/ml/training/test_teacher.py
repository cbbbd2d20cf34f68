"""A network learns the map of another one, part by part of a canvas."""

import json

import keras
import numpy as np
import pytest

from detection.imaging.phantoms import write_phantoms
from detection.ml.bundle import load_bundle, write_manifest
from detection.ml.data import load_dataset
from detection.ml.errors import BundleError, MLError
from detection.ml.preprocess import Preprocessing, network_input
from detection.ml.training import OFF, TrainingOptions, build_network
from detection.ml.training.batches import TrainingBatches
from detection.ml.training.pretrained import WEIGHTS_NAME, save_weights
from detection.ml.training.teacher import open_teacher
from detection.ml.training.trainer import fit

SMALL = Preprocessing(height=64, width=96)


def write_bundle(folder, backbone, *, bias=0.0, with_weights=True):
    """Write what a teacher needs of a bundle: a manifest, and weights whose map says `bias`."""
    folder.mkdir()
    network = build_network(backbone, height=64, width=96)
    last = network.get_layer("stone_map")
    last.set_weights([np.zeros_like(last.get_weights()[0]), np.array([bias], np.float32)])
    if with_weights:
        save_weights(network, folder / WEIGHTS_NAME)
    write_manifest(folder, {"name": folder.name, "backbone": backbone.name})
    return folder


@pytest.fixture
def samples(tmp_path):
    write_phantoms(tmp_path / "data", images=20, seed=1)
    return list(load_dataset(tmp_path / "data").samples)


def test_a_teacher_reads_parts_of_any_size(tiny, tmp_path):
    folder = write_bundle(tmp_path / "teacher", tiny, bias=2.0)
    teacher = open_teacher(folder, height=32, width=64)

    answered = teacher(network_input(np.zeros((2, 32, 64), np.uint8)))

    assert answered.shape == (2, 4, 8)
    assert np.allclose(answered, 1 / (1 + np.exp(-2)), atol=1e-3)


def test_each_batch_carries_the_map_of_its_own_inputs(samples):
    seen = []

    def teacher(inputs):
        seen.append(inputs)
        return inputs[:, ::8, ::8, 0]

    batches = TrainingBatches(
        samples,
        preprocessing=SMALL,
        augmentation=OFF,
        batch_size=4,
        per_group=12,
        seed=1,
        crop=(32, 64),
        teacher=teacher,
    )

    inputs, targets = batches[0]

    assert targets.shape == (4, 4, 8, 4)
    assert (targets[..., 3] == inputs[:, ::8, ::8, 0]).all()
    assert len(seen) == 1


def test_a_pupil_is_judged_by_its_teacher_in_the_training(tiny, tmp_path, samples):
    # A teacher that sees stones everywhere: no label says so, so that the loss tells it.
    folder = write_bundle(tmp_path / "teacher", tiny, bias=4.0)
    losses = {}
    for name, teacher in (("taught", str(folder)), ("alone", "")):
        keras.utils.set_random_seed(1)
        options = TrainingOptions(
            init="random",
            architecture=tiny.name,
            epochs=1,
            head_epochs=0,
            batch_size=4,
            teacher=teacher,
            augmentation=OFF,
            preprocessing=SMALL,
        )
        said = []
        work = tmp_path / name
        fit(samples=samples, options=options, fingerprint="x", work=work, report=said.append)
        losses[name] = said[0]["loss"]

    # The first step: the same network and the same inputs.
    assert losses["taught"] > losses["alone"] + 1
    state = json.loads((tmp_path / "taught" / "state.json").read_text())
    assert json.loads(state["run"])["teacher"] == str(folder)


def test_a_teacher_without_weights_is_refused(tiny, tmp_path):
    folder = write_bundle(tmp_path / "teacher", tiny, with_weights=False)
    assert load_bundle(folder)

    with pytest.raises(MLError, match="teacher holds no weights"):
        open_teacher(folder, height=64, width=96)


def test_a_damaged_teacher_is_refused(tiny, tmp_path):
    folder = write_bundle(tmp_path / "teacher", tiny)
    (folder / WEIGHTS_NAME).write_bytes(b"something else")

    with pytest.raises(BundleError, match="damaged"):
        open_teacher(folder, height=64, width=96)
