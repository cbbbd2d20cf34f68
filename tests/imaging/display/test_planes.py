"""Every cut is in radiological convention, whatever plane the slices were acquired in."""

from dataclasses import replace

import numpy as np
import pytest

from detection.imaging.display import as_plane, cut, is_oriented, letters_of, map_cut, planes_of
from tests.pictures import oriented_volume, picture_volume

PLANES = ("axial", "coronal", "sagittal")
MARKS = {"R": 100, "L": 200, "A": 300, "P": 400, "H": 500, "F": 600}


def edge_of(picture, value_hu):
    """At which edge of a picture a mark lies, or None if it is in the middle or not there."""
    found = np.argwhere(picture == value_hu)
    if not len(found):
        return None
    row, column = found[0]
    rows, columns = picture.shape
    away = {
        "left": columns / 2 - column,
        "right": column - columns / 2,
        "top": rows / 2 - row,
        "bottom": row - rows / 2,
    }
    return max(away, key=away.get)


def middle_of(volume, plane):
    # The marks lie within one voxel of the middle on the other axes; flipping an even number of
    # slices moves the middle by one.
    turned = as_plane(volume.pixels, volume.plane, plane)
    middle = turned.shape[0] // 2
    return np.max(turned[middle - 1 : middle + 1], axis=0)


@pytest.mark.parametrize("acquired", PLANES)
@pytest.mark.parametrize("shown", PLANES)
def test_marks_lie_at_the_edges_that_the_letters_name(acquired, shown):
    volume = oriented_volume(plane=acquired, sides=(16, 16, 16), marks=MARKS)
    letters = letters_of(shown)
    picture = middle_of(volume, shown)

    for edge in ("left", "right", "top", "bottom"):
        assert edge_of(picture, MARKS[getattr(letters, edge)]) == edge


@pytest.mark.parametrize("acquired", PLANES)
def test_the_patients_right_is_at_the_left_of_axial_and_coronal_pictures(acquired):
    volume = oriented_volume(plane=acquired, sides=(16, 16, 16), marks={"R": 700})

    for shown in ("axial", "coronal"):
        row, column = np.argwhere(middle_of(volume, shown) == 700)[0]
        assert column < 8
        assert letters_of(shown).left == "R"


@pytest.mark.parametrize("acquired", PLANES)
def test_sagittal_pictures_look_to_the_left_with_the_head_up(acquired):
    volume = oriented_volume(plane=acquired, sides=(16, 16, 16), marks={"A": 700, "H": 800})
    picture = middle_of(volume, "sagittal")

    assert edge_of(picture, 700) == "left"
    assert edge_of(picture, 800) == "top"


def test_slices_are_counted_from_the_feet_the_front_and_the_right():
    volume = oriented_volume(plane="coronal", sides=(8, 10, 12), marks=MARKS)

    for shown, near, far in (("axial", "F", "H"), ("coronal", "A", "P"), ("sagittal", "R", "L")):
        turned = as_plane(volume.pixels, "coronal", shown)
        first = np.argwhere(turned == MARKS[near])[0][0]
        last = np.argwhere(turned == MARKS[far])[0][0]
        assert first < last


def test_a_cut_reads_nothing_but_itself():
    volume = oriented_volume()

    assert np.shares_memory(as_plane(volume.pixels, "axial", "sagittal"), volume.pixels)
    assert cut(volume, "coronal", 3).shape == (12, 30)
    assert cut(volume, "sagittal", 3).shape == (12, 20)


def test_only_evenly_spaced_stacks_of_known_place_have_other_planes():
    volume = oriented_volume()

    assert planes_of(volume) == ("axial", "coronal", "sagittal")
    assert planes_of(replace(volume, is_evenly_spaced=False)) == ("axial",)
    assert planes_of(replace(volume, affine_lps=None)) == ("axial",)
    assert planes_of(replace(volume, spacing_mm=None)) == ("axial",)
    assert planes_of(replace(volume, spacing_mm=(0.0, 1.0, 1.0))) == ("axial",)
    assert planes_of(replace(volume, pixels=volume.pixels[:1])) == ("axial",)


def test_nothing_is_said_of_the_sides_of_a_picture():
    assert not is_oriented(picture_volume())
    assert not is_oriented(picture_volume(plane="axial"))
    assert letters_of("unknown") is None
    assert planes_of(picture_volume(slices=4)) == ("unknown",)


@pytest.mark.parametrize(("plane", "cuts"), [("axial", 12), ("coronal", 20), ("sagittal", 30)])
def test_cut_that_is_not_there_is_an_index_error(plane, cuts):
    volume = oriented_volume()
    stone_map = np.zeros((12, 5, 5), np.float32)

    for index in (-1, cuts):
        with pytest.raises(IndexError, match=plane):
            cut(volume, plane, index)
        with pytest.raises(IndexError, match=plane):
            map_cut(stone_map, volume, plane, index)
    assert cut(volume, plane, cuts - 1).ndim == 2


def test_plane_that_is_not_shown_is_refused():
    with pytest.raises(ValueError, match="no coronal cuts"):
        cut(picture_volume(slices=4), "coronal", 0)
    with pytest.raises(ValueError, match="no coronal cuts"):
        as_plane(np.zeros((2, 2, 2)), "unknown", "coronal")


@pytest.mark.parametrize("acquired", PLANES)
@pytest.mark.parametrize("shown", PLANES)
def test_map_lies_over_the_place_it_was_made_for(acquired, shown):
    volume = oriented_volume(plane=acquired, sides=(12, 32, 48))
    # One cell of 8 x 8 pixels of slice 4.
    stone_map = np.zeros((12, 4, 6), np.float32)
    stone_map[4, 1, 5] = 0.9
    marked = np.zeros_like(volume.pixels)
    marked[4, 8:16, 40:48] = 1
    turned = as_plane(marked, acquired, shown)
    through = int(np.argwhere(turned.any(axis=(1, 2)))[:, 0].mean())

    cells = map_cut(stone_map, volume, shown, through)

    rows, columns = turned.shape[1:]
    row, column = np.unravel_index(cells.argmax(), cells.shape)
    at_row = (row + 0.5) / cells.shape[0] * rows
    at_column = (column + 0.5) / cells.shape[1] * columns
    place = np.argwhere(turned[through]).mean(axis=0) + 0.5
    assert (at_row, at_column) == pytest.approx(tuple(place), abs=0.01)
    assert cells.max() == pytest.approx(0.9, abs=0.06)


def test_map_fades_in_and_out_along_the_axis_that_is_cut():
    volume = oriented_volume(sides=(4, 32, 32))
    stone_map = np.zeros((4, 4, 4), np.float32)
    stone_map[2, 1, 2] = 0.8

    peaks = [map_cut(stone_map, volume, "coronal", index).max() for index in range(32)]

    highest = int(np.argmax(peaks))
    assert highest in (11, 12)
    assert (np.diff(peaks[:highest]) >= 0).all()
    assert (np.diff(peaks[highest + 1 :]) <= 0).all()
    assert max(peaks) <= 0.8 + 1e-6
