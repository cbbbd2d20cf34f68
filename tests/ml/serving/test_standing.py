from dataclasses import replace

import numpy as np
import pytest

from detection.imaging.volume import Volume
from detection.ml.preprocess import Letterbox
from detection.ml.serving.pooling import pool
from detection.ml.serving.standing import Ground, quieted

CALIBRATION = {"slope": 1.0, "intercept": 0.0}
# A picture of 160 x 320 px that fills its canvas: a cell is 8 px.
BOX = Letterbox(scale_x=1.0, scale_y=1.0, offset_x=0, offset_y=0, width=320, height=160)


def cells(*peaks):
    grid = np.full((20, 40), -8, np.float32)
    for row, column, logit in peaks:
        grid[row - 1 : row + 2, column - 1 : column + 2] = logit - 2
        grid[row, column] = logit
    return grid


def around(row, column):
    return (column * 8 - 8.0, row * 8 - 8.0, column * 8 + 16.0, row * 8 + 16.0)


def quiet(grid, marks, stands, *, box=BOX, origin=(0, 0)):
    return quieted(
        grid, box=box, origin=origin, marks=marks, stands=stands, calibration=CALIBRATION
    )


def test_a_mark_that_does_not_stand_leaves_background():
    grid = cells((5, 8, 4.0))

    left = quiet(grid, [around(5, 8)], [False])

    assert pool(left) == pytest.approx(pool(cells()), abs=0.01)
    assert grid.max() == 4.0


def test_marks_that_stand_change_nothing():
    grid = cells((5, 8, 4.0), (12, 30, 3.0))

    assert quiet(grid, [around(5, 8), around(12, 30)], [True, True]) is grid
    assert quiet(grid, [], []) is grid


@pytest.mark.parametrize("stands", [(True, False), (False, True)])
def test_the_other_mark_of_a_picture_keeps_its_cells(stands):
    marks = [around(5, 8), around(5, 12)]

    left = quiet(cells((5, 8, 4.0), (5, 12, 3.0)), marks, stands)

    alone = cells((5, 8, 4.0)) if stands[0] else cells((5, 12, 3.0))
    assert pool(left) == pytest.approx(pool(alone), abs=0.01)


def test_a_part_of_a_larger_slice_is_found_by_its_origin_and_scale():
    box = replace(BOX, scale_x=0.5, scale_y=0.5, offset_x=40)
    x, y = (8 * 8 + 4 - 40) / 0.5 + 100, (5 * 8 + 4) / 0.5 + 60
    mark = (x - 20, y - 20, x + 20, y + 20)
    elsewhere = (300.0, 250.0, 320.0, 270.0)

    left = quiet(cells((5, 8, 4.0)), [mark, elsewhere], [False, True], box=box, origin=(60, 100))

    assert left.max() < -3.5


def block(*balls):
    """40 slices of 30 HU with balls of 800 HU: centre (column, row, slice) and radius."""
    grid = np.mgrid[:40, :60, :60][::-1]
    pixels = np.full((40, 60, 60), 30, np.float32)
    for *centre, radius in balls:
        distance = np.sqrt(sum((axis - c) ** 2 for axis, c in zip(grid, centre, strict=True)))
        pixels += 770 * np.clip(radius - distance + 0.5, 0, 1)
    return Volume(
        pixels=pixels.astype(np.int16), is_hu=True, spacing_mm=(1.0, 1.0, 1.0), plane="axial"
    )


def test_marks_of_one_object_stand_on_one_stone_that_is_measured_once():
    ground = Ground(block((20, 20, 15, 5)))

    stones = {id(ground.under((14, 14, z, 26, 26, z + 1))) for z in range(11, 20)}

    (stone,) = ground.stones
    assert stones == {id(stone)}
    assert stone.measurement.diameter_mm == pytest.approx(10, abs=0.6)


def test_an_object_that_cannot_be_measured_where_others_can_does_not_count(monkeypatch):
    monkeypatch.setattr(
        "detection.ml.serving.standing.measure_stone", lambda volume, seed, reach_mm: None
    )
    volume = block((20, 20, 15, 5))

    assert Ground(volume).under((14, 14, 15, 26, 26, 16)) is None
    uneven = replace(volume, is_evenly_spaced=False)
    assert Ground(uneven).under((14, 14, 15, 26, 26, 16)).measurement is None
