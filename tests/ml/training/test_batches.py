import cv2
import numpy as np
import pytest

from detection.ml.data import Box, Sample
from detection.ml.preprocess import Preprocessing
from detection.ml.training import OFF
from detection.ml.training.batches import TrainingBatches, crop_canvas


def scene(x=300, y=60):
    canvas = np.full((384, 416), 90, np.uint8)
    canvas[y - 5 : y + 5, x - 5 : x + 5] = 255
    return canvas, np.array([[x - 5, y - 5, x + 5, y + 5]], np.float32)


@pytest.mark.parametrize("seed", range(10))
def test_a_part_for_a_box_holds_it_whole(seed):
    canvas, boxes = scene()

    part, moved = crop_canvas(
        canvas, boxes, size=(256, 288), where="box", generator=np.random.default_rng(seed)
    )

    assert part.shape == (256, 288)
    x0, y0, x1, y1 = moved[0].astype(int)
    assert (part[y0:y1, x0:x1] == 255).all()
    assert (part == 255).sum() == 100


def test_a_part_that_misses_the_box_has_none():
    canvas, boxes = scene(x=400, y=20)
    generator = np.random.default_rng(0)
    parts = [
        crop_canvas(canvas, boxes, size=(128, 128), where="anywhere", generator=generator)
        for _ in range(20)
    ]

    assert any(len(moved) == 0 for _, moved in parts)
    assert all(bool(len(moved)) == bool((part == 255).any()) for part, moved in parts)


@pytest.mark.parametrize("seed", range(5))
def test_a_part_of_the_middle_holds_the_middle(seed):
    canvas = np.zeros((384, 416), np.uint8)
    canvas[192, 208] = 255

    part, _ = crop_canvas(
        canvas,
        np.zeros((0, 4), np.float32),
        size=(288, 352),
        where="middle",
        generator=np.random.default_rng(seed),
    )

    row, column = np.argwhere(part == 255)[0]
    assert abs(row - 144) <= 36
    assert abs(column - 176) <= 44


def test_batches_of_parts_have_targets_of_their_size(tmp_path):
    canvas, _ = scene()
    samples = []
    for number in range(4):
        cv2.imwrite(str(tmp_path / f"{number}.png"), canvas)
        samples.append(
            Sample(
                path=tmp_path / f"{number}.png",
                image=f"{number}.png",
                source="phantom",
                is_stone=True,
                finding="stone",
                group=f"p{number}",
                boxes=(Box(295, 55, 305, 65),),
            )
        )

    images, targets = TrainingBatches(
        samples,
        preprocessing=Preprocessing(),
        augmentation=OFF,
        batch_size=4,
        per_group=1,
        crop=(256, 288),
        seed=1,
    )[0]

    assert images.shape == (4, 256, 288, 3)
    assert targets.shape == (4, 32, 36, 3)
    # A part without its stone is a stone-free image, and the other way round.
    has_stone_cell = (targets[..., 0] == 1).any(axis=(1, 2))
    assert (targets[:, 0, 0, 2] == has_stone_cell).all()
