from dataclasses import replace

import numpy as np
import pytest

from detection.imaging.phantoms import make_phantom_volume
from detection.imaging.volume import Volume
from detection.ml.preprocess import Preprocessing
from detection.ml.serving.pictures import image_picture, volume_pictures

SPEC = Preprocessing()


@pytest.fixture(scope="module")
def volume():
    return make_phantom_volume(
        generator=np.random.default_rng(1), slice_mm=3, pixel_mm=2.0, height_mm=156
    ).volume


@pytest.fixture(scope="module")
def pictures(volume):
    return volume_pictures(volume, preprocessing=SPEC)


def test_slices_of_an_axial_volume_are_cut_to_the_trunk(volume, pictures):
    slices, rows, columns = volume.pixels.shape

    held = list(pictures.slices())

    assert [picture.slice_index for picture in held] == list(range(slices))
    for picture in held[::20]:
        top, left = picture.origin
        height, width = picture.grey.shape
        assert picture.is_known_ct
        assert picture.size == (rows, columns) > picture.grey.shape
        assert (picture.plane, picture.spacing_mm) == ("axial", (2.0, 2.0))
        # Inside the trunk the picture is the slice, in its window.
        middle = volume.pixels[picture.slice_index, top + height // 2, left + width // 2]
        grey = picture.grey[height // 2, width // 2]
        assert grey == pytest.approx(np.clip((middle + 160) * 255 / 400, 0, 255), abs=0.6)


def test_pictures_are_counted_before_they_are_made(pictures):
    assert pictures.count == len(list(pictures.slices()))


def test_a_box_of_a_slice_takes_that_slice_of_the_volume(pictures):
    _, second, *_ = pictures.slices()

    assert second.to_volume((10.0, 20.0, 30.0, 40.0)) == (10.0, 20.0, 1.0, 30.0, 40.0, 2.0)


def test_the_middle_of_the_body_is_known_where_the_trunk_and_its_place_are(pictures, volume):
    assert pictures.midline(10) == pytest.approx((volume.pixels.shape[2] - 1) / 2, abs=3)
    nowhere = volume_pictures(replace(volume, affine_lps=None), preprocessing=SPEC)
    assert nowhere.midline(10) is None


@pytest.mark.parametrize("plane", ["coronal", "unknown"])
def test_slices_of_any_other_volume_are_read_whole_and_once(plane):
    grey = np.random.default_rng(1).integers(0, 255, (3, 40, 50)).astype(np.uint8)
    pictures = volume_pictures(
        Volume(pixels=grey, is_hu=False, plane=plane, colour_spread=2.0), preprocessing=SPEC
    )

    held = list(pictures.slices())

    assert pictures.count == len(held) == 3
    assert pictures.midline(1) is None
    for index, picture in enumerate(held):
        np.testing.assert_array_equal(picture.grey, grey[index])
        assert (picture.size, picture.origin) == ((40, 50), (0, 0))
        assert (picture.spacing_mm, picture.colour_spread) == (None, 2.0)
        assert (picture.plane, picture.is_known_ct) == (plane, False)


def test_an_image_is_read_whole_even_where_a_trunk_could_be_found(volume):
    picture = image_picture(replace(volume, pixels=volume.pixels[20:21]), preprocessing=SPEC)

    assert picture.grey.shape == picture.size == volume.pixels.shape[1:]
    assert picture.origin == (0, 0)
