import json
from argparse import ArgumentParser

import keras
import numpy as np
import pytest
from keras import ops

import detection.ml.training.gate_fit as gate_fit
from detection.imaging.phantoms import write_phantoms
from detection.ml.arguments import add_method_arguments, method_options
from detection.ml.bundle import load_bundle
from detection.ml.errors import MLError
from detection.ml.preprocess import Preprocessing
from detection.ml.serving import SHARPNESS, Predictor
from detection.ml.training import (
    OFF,
    Augmentation,
    TrainingOptions,
    build_network,
    export_float32,
    strengthened,
    train,
)
from detection.ml.training.export import map_logits
from detection.ml.training.losses import IGNORED, MAX_BAGS, pooled_logit, stone_map_loss
from detection.ml.training.network import HEAD, depths, layers_by_stage, set_trainable
from detection.ml.training.trainer import compile_network, network_of
from tests.ml.training.tiny_backbone import TINY

SMALL = Preprocessing(height=64, width=96)


def options_of(**given):
    return TrainingOptions(init="random", architecture="tiny", **given)


def entropy(label, logit):
    return ops.relu(logit) - logit * label + ops.softplus(-ops.abs(logit))


def plain_loss(target, logits):
    """The loss without any option."""
    logits = ops.cast(logits[..., 0], "float32")
    cell, bag, image = target[..., 0], target[..., 1], target[..., 2]
    probability = ops.sigmoid(logits)
    missed = ops.where(cell > 0.5, 1.0 - probability, probability)
    judged = ops.cast(cell > IGNORED / 2, "float32")
    stones = ops.sum(ops.cast(cell > 0.5, "float32"), axis=(1, 2))
    focal = ops.sum(judged * missed**2 * entropy(cell, logits), axis=(1, 2))
    loss = focal / ops.maximum(stones, 1.0)
    bags = 0.0
    for number in range(1, MAX_BAGS + 1):
        member = ops.cast(bag == number, "float32")
        exists = ops.cast(ops.sum(member, axis=(1, 2)) > 0, "float32")
        bags += exists * entropy(1.0, pooled_logit(logits * member - 30.0 * (1.0 - member)))
    return ops.mean(loss + bags + entropy(image[:, 0, 0], pooled_logit(logits)))


def compile_plainly(network, steps, options):
    """Compile as a training without any option was compiled."""
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=options.learning_rate / 10,
        decay_steps=max(1, steps - steps // 10),
        alpha=0.02,
        warmup_target=options.learning_rate,
        warmup_steps=max(1, steps // 10),
    )
    optimizer = keras.optimizers.AdamW(
        schedule, weight_decay=0.02, clipnorm=1.0, use_ema=True, ema_momentum=0.99
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    network.compile(optimizer=optimizer, loss=plain_loss)


@pytest.fixture
def batch():
    generator = np.random.default_rng(1)
    images = generator.normal(0, 40, (4, 64, 96, 3)).astype(np.float32)
    target = np.zeros((4, 8, 12, 3), np.float32)
    target[0, 2:4, 3, 0] = 1
    target[1, :4, :4] = [IGNORED, 1, 1]
    target[:2, ..., 2] = 1
    return images, target


def trained(batch, options, compiled):
    keras.utils.set_random_seed(1)
    network = network_of(options, height=64, width=96)
    set_trainable(network, TINY, stage="all")
    compiled(network)
    network.fit(*batch, batch_size=2, epochs=3, shuffle=False, verbose=0)
    return {variable.path: ops.convert_to_numpy(variable) for variable in network.weights}


@pytest.mark.slow
def test_the_defaults_train_the_very_weights_that_a_training_without_options_trains(tiny, batch):
    options = options_of(learning_rate=1e-2)

    before = trained(batch, options, lambda network: compile_plainly(network, 6, options))
    after = trained(
        batch,
        options,
        lambda network: compile_network(network, steps=6, learning_rate=1e-2, options=options),
    )

    assert before.keys() == after.keys()
    for path, array in before.items():
        assert (after[path] == array).all(), path


def test_a_stone_cell_counts_as_much_as_it_is_told(batch):
    logits = np.full((4, 8, 12, 1), -2, np.float32)
    _, target = batch
    stones, others = target.copy(), target.copy()
    stones[..., 0] = np.where(target[..., 0] == 1, 1, IGNORED)
    others[..., 0] = np.where(target[..., 0] == 0, 0, IGNORED)

    def loss(of, weight):
        return float(stone_map_loss(of, logits, positive_weight=weight))

    rest = loss(stones, 0.0)
    assert loss(stones, 3.0) - rest == pytest.approx(3 * (loss(stones, 1.0) - rest), rel=1e-4)
    assert loss(stones, 1.0) > rest
    assert loss(others, 3.0) == loss(others, 1.0)


def test_a_sharper_pool_of_the_loss_listens_to_the_highest_cell():
    logits = np.random.default_rng(1).normal(-6, 2, (1, 8, 12)).astype(np.float32)

    pooled = [float(pooled_logit(logits, sharpness=value)[0]) for value in (1.0, SHARPNESS, 40.0)]

    assert pooled == sorted(pooled, reverse=True)
    assert pooled[-1] == pytest.approx(logits.max(), abs=0.2)
    assert pooled[1] == float(pooled_logit(logits)[0])


def stepped(network):
    """Take one step along gradients of 1; return how far each layer moved."""
    before = [np.array(ops.convert_to_numpy(held)) for held in network.trainable_variables]
    gradients = [ops.ones_like(variable) for variable in network.trainable_variables]
    network.optimizer.apply(gradients, network.trainable_variables)
    return {
        variable.path.split("/")[-2]: np.abs(ops.convert_to_numpy(variable) - was).max()
        for variable, was in zip(network.trainable_variables, before, strict=True)
    }


def test_each_stage_deeper_down_takes_smaller_steps_by_the_factor(tiny):
    def moved(decay):
        keras.utils.set_random_seed(1)
        options = options_of(learning_rate_decay=decay, weight_decay=0.5, ema_momentum=0.0)
        network = network_of(options, height=64, width=96)
        set_trainable(network, TINY, stage="all")
        compile_network(network, steps=100, learning_rate=1e-2, options=options)
        return stepped(network)

    depth = depths(build_network(TINY, height=64, width=96), TINY)
    alike, falling = moved(1.0), moved(0.5)

    assert {depth[layer] for layer in alike} == {0, 1, 2, 3}
    for layer, step in alike.items():
        assert falling[layer] == pytest.approx(step * 0.5 ** depth[layer], rel=1e-2), layer


def test_a_checkpoint_keeps_loss_and_optimizer_with_their_options(tiny, batch, tmp_path):
    options = options_of(
        learning_rate_decay=0.3, sharpness=5.0, positive_weight=2.0, weight_decay=0.1
    )
    network = network_of(options, height=64, width=96)
    set_trainable(network, TINY, stage="all")
    compile_network(network, steps=10, learning_rate=1e-2, options=options)
    stepped(network)
    network.save(tmp_path / "checkpoint.keras")

    restored = keras.saving.load_model(tmp_path / "checkpoint.keras", safe_mode=True)

    images, target = batch
    assert restored.loss(target, restored(images)) == network.loss(target, network(images))
    assert (restored.loss.sharpness, restored.loss.positive_weight) == (5.0, 2.0)
    # The same second step: its rate, its moments, the factors and what is not decayed.
    assert stepped(restored) == stepped(network)
    assert restored.optimizer.factors["fine_conv"] == pytest.approx(0.3**3)


def test_a_number_unfreezes_so_many_stages_from_the_head_down():
    network = build_network(TINY, height=64, width=96)
    held = layers_by_stage(network, TINY)
    head = {name for name in held[HEAD] if network.get_layer(name).weights}

    def trains(stage):
        set_trainable(network, TINY, stage=stage)
        return {layer.name for layer in network.layers if layer.trainable_weights}

    assert trains(0) == head
    assert trains(1) == head | {"coarse_conv"}
    assert trains(2) == trains("upper")
    # The stage of stride 8 holds two convolutions.
    assert trains(2.5) == trains(2) | {"fine_conv"}
    assert trains(3) == trains(2) | {"fine_conv", "stem_conv"}
    for wrong in (-0.5, 3.5):
        with pytest.raises(ValueError, match="3 stages"):
            set_trainable(network, TINY, stage=wrong)


def test_the_strength_of_the_augmentation_is_one_factor():
    spec = Augmentation()

    assert strengthened(spec, 1.0) == spec
    assert strengthened(spec, 0.0) == OFF
    stronger = strengthened(spec, 4.0)
    assert stronger.rotation_degrees == 4 * spec.rotation_degrees
    assert (stronger.mirror, stronger.jpeg) == (0.5, 1.0)


def read(*arguments):
    parser = ArgumentParser()
    add_method_arguments(parser)
    return method_options(parser.parse_args(arguments))


def test_the_command_line_goes_before_the_file_of_a_search(tmp_path):
    file = tmp_path / "best.json"
    file.write_text(json.dumps({"options": {"dropout": 0.4, "head_width": 64, "head_epochs": 0}}))

    assert read() == {}
    assert read("--unfreeze", "1.5") == {"unfreeze": 1.5}
    assert read("--unfreeze", "upper") == {"unfreeze": "upper"}
    given = read("--tuned", str(file), "--head-width", "32")
    assert given == {"dropout": 0.4, "head_width": 32, "head_epochs": 0}


@pytest.mark.parametrize("content", ["", "{}", '{"options": 3}', '{"options": {"epochs": 9}}'])
def test_a_file_that_no_search_wrote_is_refused(tmp_path, content):
    file = tmp_path / "best.json"
    file.write_text(content)

    with pytest.raises(MLError, match=r"best\.json"):
        read("--tuned", str(file))


@pytest.mark.parametrize(
    "arguments",
    [("--dropout", "1"), ("--head-kernel", "2"), ("--unfreeze", "4"), ("--head-width", "0")],
)
def test_an_option_out_of_its_range_is_refused(arguments):
    with pytest.raises(SystemExit):
        read(*arguments)


@pytest.mark.slow
@pytest.mark.xdist_group("export")
def test_another_head_is_trained_exported_served_and_trained_on(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(gate_fit, "MIN_TRAIN_IMAGES", 20)
    monkeypatch.setattr(gate_fit, "MIN_VALIDATION_IMAGES", 4)
    write_phantoms(tmp_path / "data", images=60, seed=1)
    options = options_of(
        epochs=1,
        head_epochs=0,
        batch_size=4,
        head_width=24,
        head_kernel=5,
        unfreeze=1.5,
        learning_rate_decay=0.5,
        sharpness=4.0,
        positive_weight=2.0,
        preprocessing=SMALL,
    )

    path, _ = train(
        data=tmp_path / "data", out=tmp_path / "out", options=options, report=lambda told: None
    )

    bundle = load_bundle(path)
    training = bundle.manifest["training"]
    assert (training["head_width"], training["head_kernel"]) == (24, 5)
    assert (training["unfreeze"], training["sharpness"]) == (1.5, 4.0)
    canvas = np.zeros((1, 64, 96), np.uint8)
    served = Predictor(bundle, threads=1).network.map_logits(canvas)
    export_float32(path / "weights.npz", tmp_path / "f32.onnx", backbone=TINY, preprocessing=SMALL)
    assert np.abs(map_logits(tmp_path / "f32.onnx")(canvas) - served).max() < 0.3
    again = network_of(TrainingOptions(init=str(path), architecture="tiny"), height=64, width=96)
    assert again.get_layer("head_conv").kernel.shape == (5, 5, 24, 24)
