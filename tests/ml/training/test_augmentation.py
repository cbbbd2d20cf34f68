import numpy as np
import pytest

from detection.ml.training import OFF, Augmentation, augment, without
from detection.ml.training.augmentation import erase_stones


def disc(x, y, radius=6):
    rows, columns = np.mgrid[:384, :416]
    canvas = np.full((384, 416), 100, np.uint8)
    canvas[(columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2 <= radius**2] = 255
    return canvas, np.array([[x - radius, y - radius, x + radius, y + radius]], np.float32)


def test_switched_off_changes_nothing():
    canvas, boxes = disc(120, 90)

    same, same_boxes = augment(canvas, boxes, spec=OFF, generator=np.random.default_rng(0))

    assert np.array_equal(same, canvas)
    assert np.allclose(same_boxes, boxes)


@pytest.mark.parametrize("seed", range(8))
def test_box_stays_on_the_stone(seed):
    canvas, boxes = disc(150, 180)
    spec = Augmentation(
        mirror=0.5, flip=0.5, rotation_degrees=12, scale=0.1, shift=0.05,
        brightness=0, contrast=0, gamma=0, noise_sigma=0, salt=0, blur=0, jpeg=0, downsample=0,
    )  # fmt: skip

    moved, moved_boxes = augment(canvas, boxes, spec=spec, generator=np.random.default_rng(seed))

    rows, columns = np.nonzero(moved > 200)
    x0, y0, x1, y1 = moved_boxes[0]
    assert (x0 + x1) / 2 == pytest.approx(columns.mean() + 0.5, abs=0.7)
    assert (y0 + y1) / 2 == pytest.approx(rows.mean() + 0.5, abs=0.7)
    assert x1 - x0 == pytest.approx(np.ptp(columns) + 1, abs=2)


def test_same_generator_same_picture():
    canvas, boxes = disc(100, 100)

    pictures = [
        augment(canvas, boxes, spec=Augmentation(), generator=np.random.default_rng(7))[0]
        for _ in range(2)
    ]

    assert np.array_equal(*pictures)


@pytest.mark.parametrize("seed", range(6))
def test_an_erased_stone_is_gone_and_the_rest_is_untouched(seed):
    canvas, boxes = disc(150, 180)

    erased = erase_stones(canvas, boxes, generator=np.random.default_rng(seed))

    assert erased.max() < 130
    changed = np.argwhere(erased != canvas)
    assert (np.abs(changed - np.array([180, 150])) <= 11).all()


def test_changes_are_switched_off_by_name():
    spec = without(Augmentation(), ["mirror", "salt"])

    assert (spec.mirror, spec.salt) == (0, 0)
    assert spec.jpeg == Augmentation().jpeg
    with pytest.raises(ValueError, match="no augmentation colour"):
        without(Augmentation(), ["colour"])
