import io

import numpy as np
import pytest
from PIL import Image

from detection.imaging.display import overlay_png, pixels_png
from detection.imaging.display.render import LOWEST_SHOWN
from detection.imaging.window import BONE


def opened(data):
    return Image.open(io.BytesIO(data))


def test_slice_keeps_its_size_and_pixels():
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    image = opened(pixels_png(pixels[1], is_hu=False))

    assert (image.format, image.mode) == ("PNG", "L")
    assert np.array_equal(np.asarray(image), pixels[1])


def test_slice_is_shown_through_the_window():
    pixels_hu = np.full((2, 2), 500, np.int16)

    assert np.asarray(opened(pixels_png(pixels_hu, is_hu=True)))[0, 0] == 255
    assert np.asarray(opened(pixels_png(pixels_hu, is_hu=True, window=BONE)))[0, 0] == 128


def test_overlay_lies_over_exactly_the_image():
    stone_map = np.zeros((4, 5), np.float32)
    stone_map[1, 3] = 1.0
    image = opened(overlay_png(stone_map, (100, 80)))
    alpha = np.asarray(image)[..., 3]

    assert (image.format, image.mode, image.size) == ("PNG", "RGBA", (100, 80))
    # The middle of that cell, of 20 x 20 pixels each.
    row, column = np.unravel_index(alpha.argmax(), alpha.shape)
    assert abs(row - 29.5) <= 1
    assert abs(column - 69.5) <= 1
    assert alpha[70, 10] == 0


def test_overlay_is_clear_where_a_stone_is_improbable():
    image = opened(overlay_png(np.full((4, 4), LOWEST_SHOWN, np.float32), (32, 32)))

    assert not np.asarray(image)[..., 3].any()


def test_overlay_grows_lighter_and_less_transparent_with_the_probability():
    levels = [0.1, 0.2, 0.4, 0.6, 0.8, 1.0]
    maps = [np.full((4, 4), level, np.float32) for level in levels]
    middle = [np.asarray(opened(overlay_png(each, (16, 16))))[8, 8].astype(int) for each in maps]
    lightness = [pixel[:3] @ (0.299, 0.587, 0.114) for pixel in middle]
    alpha = [pixel[3] for pixel in middle]

    assert (np.diff(lightness) > 0).all()
    assert (np.diff(alpha) > 0).all()
    assert alpha[-1] < 255


def test_overlay_never_shows_more_than_the_map_holds():
    checks = (np.indices((8, 8)).sum(axis=0) % 2 * 0.04).astype(np.float32)

    assert not np.asarray(opened(overlay_png(checks, (64, 64))))[..., 3].any()


@pytest.mark.parametrize("bad", [np.zeros((1, 4, 4)), np.full((4, 4), np.nan)])
def test_overlay_refuses_what_is_no_map(bad):
    with pytest.raises(ValueError, match="two-dimensional and finite"):
        overlay_png(bad, (8, 8))
