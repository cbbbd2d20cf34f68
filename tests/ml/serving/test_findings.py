import numpy as np
import pytest

from detection.ml.serving.findings import MAX_CANDIDATES, Finding, locate


def stone_map(*peaks, shape=(105, 128), width=2.0):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    held = np.zeros(shape, np.float32)
    for row, column, probability in peaks:
        bump = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * width**2))
        held = np.maximum(held, probability * bump)
    return held.astype(np.float32)


def test_two_stones_two_boxes_in_pixels_of_the_image():
    found = locate(stone_map((30, 40, 0.9), (70, 100, 0.2)), width=391, height=320)

    assert [finding.probability for finding in found] == pytest.approx([0.9, 0.2])
    x0, y0, x1, y1 = found[0].box
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
    boxes = [finding.box for finding in found]
    for i, a in enumerate(boxes):
        for b in boxes[i + 1 :]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def test_a_quiet_map_has_no_candidates():
    assert locate(np.full((105, 128), 0.01, np.float32), width=391, height=320) == []


@pytest.mark.parametrize(("spacing_mm", "factor"), [((0.5, 0.5), 0.5), ((2.0, 1.0), 2.0)])
def test_known_spacing_gives_the_extent_of_a_box(spacing_mm, factor):
    (found,) = locate(stone_map((50, 50, 0.9)), width=128, height=105, spacing_mm=spacing_mm)

    x0, y0, x1, y1 = found.box
    assert x1 - x0 == y1 - y0
    assert found.extent_mm == pytest.approx(factor * (y1 - y0), abs=0.06)


def test_what_a_map_cannot_tell_is_not_known():
    (found,) = locate(stone_map((50, 50, 0.9)), width=128, height=105, plane="axial", slice_index=3)

    assert (found.plane, found.slice_index) == ("axial", 3)
    assert (found.extent_mm, found.diameter_mm, found.slice_first, found.centre_lps_mm) == (
        None,
    ) * 4
    assert (found.size_class, found.side) == ("unknown", "unknown")


def test_json_rounds_numbers_and_keeps_what_is_not_known():
    finding = Finding("axial", 7, (1.04, 2.06, 30.0, 40.0), 0.12345678, mean_hu=np.float64(712.34))

    assert finding.to_json() == {
        "plane": "axial",
        "slice": 7,
        "box": [1.0, 2.1, 30.0, 40.0],
        "probability": 0.123457,
        "extent_mm": None,
        "slice_first": None,
        "slice_last": None,
        "diameter_mm": None,
        "volume_mm3": None,
        "mean_hu": 712.3,
        "peak_hu": None,
        "size_class": "unknown",
        "side": "unknown",
        "centre_lps_mm": None,
        "members_seeing": None,
        "members": None,
    }
