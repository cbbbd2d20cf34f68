import numpy as np
import pytest

from detection.ml.serving.findings import MAX_CANDIDATES, locate


def stone_map(*peaks, shape=(105, 128), width=2.0):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    held = np.zeros(shape, np.float32)
    for row, column, probability in peaks:
        bump = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * width**2))
        held = np.maximum(held, probability * bump)
    return held.astype(np.float32)


def test_two_stones_two_boxes_in_pixels_of_the_image():
    found = locate(stone_map((30, 40, 0.9), (70, 100, 0.2)), width=391, height=320)

    assert [p for _, p in found] == pytest.approx([0.9, 0.2])
    x0, y0, x1, y1 = found[0][0]
    assert (x0 + x1) / 2 == pytest.approx(40.5 * 391 / 128, abs=1)
    assert (y0 + y1) / 2 == pytest.approx(30.5 * 320 / 105, abs=1)


def test_a_weak_peak_beside_a_strong_one_is_kept_apart():
    found = locate(stone_map((50, 40, 0.95), (50, 60, 0.1)), width=128, height=105)

    assert len(found) == 2


def test_overlapping_boxes_are_merged():
    found = locate(stone_map((50, 50, 0.9), (52, 54, 0.5)), width=128, height=105)

    assert len(found) == 1


@pytest.mark.parametrize(("height", "expected"), [(0.051, 1), (0.049, 0)])
def test_candidates_start_at_five_percent(height, expected):
    assert len(locate(stone_map((50, 50, height)), width=128, height=105)) == expected


def test_no_more_than_twenty_and_none_overlap():
    peaks = [(8 + 12 * i, 8 + 12 * j, 0.3 + 0.01 * i) for i in range(8) for j in range(9)]

    found = locate(stone_map(*peaks), width=128, height=105)

    assert len(found) == MAX_CANDIDATES
    for i, (a, _) in enumerate(found):
        for b, _ in found[i + 1 :]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def test_a_quiet_map_has_no_candidates():
    assert locate(np.full((105, 128), 0.01, np.float32), width=391, height=320) == []
