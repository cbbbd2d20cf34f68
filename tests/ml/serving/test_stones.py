from dataclasses import replace

import numpy as np
import pytest

from detection.imaging.volume import Volume
from detection.ml.serving.marks import Mark, merge_marks
from detection.ml.serving.standing import Ground
from detection.ml.serving.stones import find_stones

AFFINE = (
    (1.0, 0.0, 0.0, -30.0),
    (0.0, 1.0, 0.0, -30.0),
    (0.0, 0.0, 1.0, 0.0),
    (0.0, 0.0, 0.0, 1.0),
)


def water(*balls, side=60, slices=30):
    """A block of 30 HU with balls of 800 HU: centre (column, row, slice) and radius in voxels."""
    grid = np.mgrid[:slices, :side, :side][::-1]
    pixels_hu = np.full((slices, side, side), 30, np.float32)
    for *centre, radius in balls:
        distance = np.sqrt(sum((axis - c) ** 2 for axis, c in zip(grid, centre, strict=True)))
        pixels_hu += 770 * np.clip(radius - distance + 0.5, 0, 1)
    return Volume(
        pixels=pixels_hu.astype(np.int16),
        is_hu=True,
        spacing_mm=(1.0, 1.0, 1.0),
        plane="axial",
        affine_lps=AFFINE,
    )


def standing(volume, held):
    """The marks that stand, as the predictor keeps them."""
    ground = Ground(volume)
    found = [replace(mark, stone=ground.under(mark.edges)) for mark in held]
    return [mark for mark in found if mark.stone]


def marks(x, y, slices, *, probability=0.3, half=6.0):
    return [
        Mark(edges=(x - half, y - half, float(index), x + half, y + half, index + 1.0),
             probability=probability, step=index)
        for index in slices
    ]  # fmt: skip


def stones_of(volume, held, **changes):
    options = {"midline": lambda index: None, "threshold": 0.5, "min_run": 2} | changes
    return find_stones(volume, merge_marks(standing(volume, held)), **options)


def test_one_stone_on_many_slices_is_listed_once_and_measured():
    volume = water((20, 20, 15, 4))

    (stone,) = stones_of(volume, marks(20, 20, range(11, 20)))

    assert stone.diameter_mm == pytest.approx(8, abs=0.6)
    assert (stone.slice_first, stone.slice_index, stone.slice_last) == (11, 15, 19)
    assert stone.centre_lps_mm == pytest.approx((-10, -10, 15), abs=0.3)
    assert stone.probability == 0.3
    # Nothing says where the middle of the body is.
    assert stone.side == "unknown"


def test_two_stones_under_one_mark_are_two():
    volume = water((20, 20, 12, 2.5), (24, 24, 18, 2))

    stones = stones_of(volume, marks(22, 22, range(10, 21)))

    assert len(stones) == 2
    assert {stone.slice_index for stone in stones} == {12, 18}


def test_a_stone_that_two_places_reach_is_listed_once():
    volume = water((20, 20, 15, 3))
    near = marks(20, 20, range(13, 18), probability=0.4)
    # Apart in slices, so that they are two places; both boxes hold the stone's centre.
    apart = marks(21, 20, [15], probability=0.9, half=3.0)

    stones = stones_of(volume, [*near, *apart])

    assert len(stones) == 1


@pytest.mark.parametrize("probability", [0.3, 0.7, 0.99])
def test_a_mark_on_nothing_dense_is_no_stone_however_sure_the_model_is(probability):
    assert stones_of(water(), marks(20, 20, range(11, 15), probability=probability)) == ()


def test_one_mark_yields_at_most_one_stone():
    volume = water((18, 20, 15, 2), (26, 20, 15, 2), (20, 27, 15, 2))

    assert len(stones_of(volume, marks(22, 22, [15], probability=0.9, half=8.0))) == 1


def test_a_stone_of_a_stack_without_hu_is_listed_unmeasured_once():
    grey = Volume(pixels=np.zeros((9, 60, 60), np.uint8), is_hu=False)
    held = marks(20, 20, range(2, 6))

    (stone,) = find_stones(
        grey, merge_marks(held), midline=lambda index: None, threshold=0.5, min_run=2
    )

    assert (stone.slice_first, stone.slice_last, stone.diameter_mm) == (2, 5, None)


def test_a_mark_on_one_picture_needs_the_threshold():
    volume = water((20, 20, 15, 3))

    assert stones_of(volume, marks(20, 20, [15], probability=0.3)) == ()
    assert len(stones_of(volume, marks(20, 20, [15], probability=0.6))) == 1


def test_uneven_slices_are_not_measured_across():
    volume = water((20, 20, 15, 3))
    uneven = Volume(
        pixels=volume.pixels,
        is_hu=True,
        spacing_mm=(1.0, 1.0, 1.0),
        plane="axial",
        affine_lps=AFFINE,
        is_evenly_spaced=False,
    )

    (stone,) = stones_of(uneven, marks(20, 20, range(13, 18)))

    assert stone.diameter_mm is None


def test_most_probable_stone_comes_first():
    volume = water((15, 15, 8, 3), (40, 40, 20, 3))

    stones = stones_of(
        volume, [*marks(15, 15, range(6, 11), probability=0.2),
                 *marks(40, 40, range(18, 23), probability=0.8)]
    )  # fmt: skip

    assert [stone.probability for stone in stones] == [0.8, 0.2]
