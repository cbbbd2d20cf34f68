from pathlib import Path

import numpy as np
import pytest

from detection.ml.data import Box, Sample
from detection.ml.evaluation.deletion import (
    FILLS,
    MARGIN_PX,
    box_mask,
    elsewhere_mask,
    without_other_patch,
    without_stone,
)
from tests.pictures import textured_body

STONE = Box(60, 60, 70, 72)


def picture():
    grey = textured_body((160, 200))
    grey[60:72, 60:70] = 255
    return grey


def sample():
    return Sample(
        path=Path("a.jpg"),
        image="a.jpg",
        source="yildirim2021",
        is_stone=True,
        finding="stone",
        group="g",
        boxes=(STONE,),
    )


def test_box_is_marked_with_its_margin_and_within_the_image():
    mask = box_mask((160, 200), (Box(0, 0, 4, 4), STONE), margin=2)

    assert mask[:6, :6].all()
    assert mask[58:74, 58:72].all()
    assert mask.sum() == 6 * 6 + 16 * 14


@pytest.mark.parametrize("fill", FILLS.values(), ids=FILLS)
def test_blanked_stone_is_gone_and_nothing_else_changes(fill):
    grey = picture()

    changed = without_stone(fill)(grey, sample(), np.random.default_rng(0))

    mask = box_mask((160, 200), (STONE,), margin=MARGIN_PX)
    assert changed[mask].max() < 130
    assert (changed[~mask] == grey[~mask]).all()


def test_natural_fills_have_the_grey_of_the_surroundings():
    for name in ("inpainting", "local median"):
        changed = without_stone(FILLS[name])(picture(), sample(), np.random.default_rng(0))

        assert abs(float(changed[60:72, 60:70].mean()) - 100) < 5


def test_patch_elsewhere_is_as_large_in_the_body_and_away_from_the_stone():
    grey = picture()
    near = box_mask((160, 200), (STONE,), margin=12)
    places = set()
    for seed in range(20):
        mask = elsewhere_mask(grey, (STONE,), np.random.default_rng(seed))

        assert mask.sum() == (10 + 2 * MARGIN_PX) * (12 + 2 * MARGIN_PX)
        assert not (mask & near).any()
        assert grey[mask].min() > 30
        places.add(tuple(np.argwhere(mask)[0]))
    assert len(places) > 10


def test_patch_elsewhere_leaves_the_stone():
    grey = picture()

    changed = without_other_patch(FILLS["black"])(grey, sample(), np.random.default_rng(1))

    assert (changed[60:72, 60:70] == 255).all()
    assert (changed != grey).any()


def test_no_patch_is_found_where_there_is_no_room():
    grey = np.zeros((160, 200), np.uint8)
    grey[55:75, 55:75] = 100

    assert not elsewhere_mask(grey, (STONE,), np.random.default_rng(0)).any()
