import numpy as np
import pytest
from keras import ops

from detection.ml.serving import pool
from detection.ml.training.losses import IGNORED, cell_targets, pooled_logit, stone_map_loss

NO_BOXES = np.zeros((0, 4), np.float32)
SIZE = {"height": 384, "width": 416}


def box(*sides):
    return np.array([sides], np.float32)


def test_tight_box_makes_its_cells_positive_and_its_rim_not_judged():
    target = cell_targets(boxes=box(98, 98, 114, 114), is_stone=True, is_loose=False, **SIZE)

    cell = target[..., 0]
    assert cell[13, 13] == 1
    assert (cell == 1).sum() >= 1
    assert cell[0, 0] == 0
    assert (cell == IGNORED).any()


def test_a_stone_smaller_than_a_cell_is_positive():
    target = cell_targets(boxes=box(97, 97, 99, 99), is_stone=True, is_loose=False, **SIZE)

    assert target[12, 12, 0] == 1
    assert (target[..., 0] == 1).sum() == 1


def test_loose_box_is_a_bag_of_cells_that_are_not_judged_one_by_one():
    target = cell_targets(boxes=box(80, 80, 140, 140), is_stone=True, is_loose=True, **SIZE)

    assert (target[..., 1] == 1).sum() > 30
    assert set(np.unique(target[target[..., 1] == 1][:, 0])) == {IGNORED}


def test_stone_image_without_a_box_judges_only_the_image():
    target = cell_targets(boxes=NO_BOXES, is_stone=True, is_loose=True, **SIZE)

    assert (target[..., 0] == IGNORED).all()
    assert target[0, 0, 2] == 1


def test_pooling_is_the_same_in_keras_and_numpy():
    logits = np.random.default_rng(1).normal(-8, 3, (48, 52)).astype(np.float32)

    assert float(pooled_logit(logits[None])[0]) == pytest.approx(pool(logits), abs=1e-4)


@pytest.mark.parametrize("is_loose", [False, True])
def test_loss_falls_when_the_stone_cell_rises(is_loose):
    target = cell_targets(boxes=box(100, 100, 130, 130), is_stone=True, is_loose=is_loose, **SIZE)[
        None
    ]
    logits = np.full((1, 48, 52, 1), -6, np.float32)
    found = logits.copy()
    found[0, 13:16, 13:16, 0] = 6

    assert float(stone_map_loss(target, found)) < float(stone_map_loss(target, logits))


def test_loss_rises_when_background_of_a_stone_free_image_rises():
    target = cell_targets(boxes=NO_BOXES, is_stone=False, is_loose=False, **SIZE)[None]
    quiet = ops.full((1, 48, 52, 1), -9.0)
    loud = np.array(quiet).copy()
    loud[0, 5, 5, 0] = 5

    assert float(stone_map_loss(target, loud)) > float(stone_map_loss(target, quiet)) + 1


def test_a_teacher_pulls_the_map_to_its_own():
    target = cell_targets(boxes=NO_BOXES, is_stone=True, is_loose=True, **SIZE)
    soft = np.full((48, 52, 1), 1e-4, np.float32)
    soft[13, 13] = 0.9
    taught = np.concatenate([target, soft], axis=-1)[None]
    alike = np.log(soft / (1 - soft))[None]
    elsewhere = np.roll(alike, 9, axis=2)

    def loss(logits):
        return float(stone_map_loss(taught, logits) - stone_map_loss(target[None], logits))

    # Both pool to the same logit of the image, so that the labels cannot tell them apart.
    assert loss(alike) == pytest.approx(0, abs=1e-6)
    assert loss(elsewhere) > 1
