from pathlib import Path

import numpy as np
import pytest

from detection.ml.data import Box, Sample
from detection.ml.training.localisation import (
    froc_curve,
    match_stones,
    overlaps,
    points_at_stone,
    size_classes,
    threshold_at,
)


def sample(*boxes, name="a.jpg"):
    return Sample(
        path=Path(name),
        image=name,
        source="yildirim2021",
        is_stone=True,
        finding="stone",
        group=name,
        boxes=tuple(Box(*box) for box in boxes),
    )


def test_touching_rectangles_do_not_overlap():
    box = Box(10, 10, 20, 20)

    assert overlaps((19, 19, 30, 30), box)
    assert not overlaps((20, 10, 30, 20), box)


def test_best_finding_decides_the_pointing_game():
    one = sample((10, 10, 20, 20))
    on, off = (12, 12, 18, 18), (60, 60, 70, 70)

    assert points_at_stone(one, [(on, 0.9), (off, 0.3)])
    assert not points_at_stone(one, [(off, 0.9), (on, 0.3)])
    assert not points_at_stone(one, [])


@pytest.mark.parametrize(("gap", "hits"), [(12.0, True), (12.1, False)])
def test_pointing_tolerates_twelve_pixels_from_the_box(gap, hits):
    x = 20 + gap
    finding = ((x - 1, 14, x + 1, 16), 0.9)

    assert points_at_stone(sample((10, 10, 20, 20)), [finding]) == hits


def test_stone_has_the_score_of_the_highest_finding_on_it():
    stones = match_stones(
        [sample((10, 10, 20, 20), (50, 50, 80, 60))],
        [[((5, 5, 15, 15), 0.4), ((12, 12, 30, 30), 0.7), ((90, 90, 95, 95), 0.2)]],
    )

    assert stones.scores.tolist() == [0.7, 0.0]
    assert stones.sides.tolist() == [10, 30]
    assert stones.false_scores.tolist() == [0.2]


def test_threshold_allows_no_more_false_findings_than_asked():
    images = [sample((0, 0, 5, 5), name=f"{i}.jpg") for i in range(4)]
    wrong = (80, 80, 90, 90)
    answers = [
        [((0, 0, 5, 5), 0.6), (wrong, 0.5)],
        [((0, 0, 5, 5), 0.4), (wrong, 0.3)],
        [((0, 0, 5, 5), 0.2), (wrong, 0.1)],
        [],
    ]
    stones = match_stones(images, answers)

    strict = threshold_at(stones, false_per_image=0.25)
    loose = threshold_at(stones, false_per_image=1)

    assert (stones.false_scores >= strict).sum() == 1
    assert stones.found(strict).mean() == 0.5
    # With every finding allowed the stone without one is still not found.
    assert stones.found(loose).mean() == 0.75


def test_froc_rises_to_all_stones_that_have_a_finding():
    stones = match_stones(
        [sample((0, 0, 5, 5)), sample((0, 0, 5, 5), name="b.jpg")],
        [[((0, 0, 5, 5), 0.6), ((80, 80, 90, 90), 0.7)], []],
    )

    false, found = froc_curve(stones)

    assert false.tolist() == [0.5, 0.5]
    assert found.tolist() == [0.0, 0.5]


def test_sizes_fall_into_three_classes_of_equal_number():
    classes, limits = size_classes(np.arange(1.0, 31.0))

    assert np.bincount(classes).tolist() == [10, 10, 10]
    assert limits[0] < limits[1]
