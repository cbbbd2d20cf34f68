import numpy as np
import pytest

from detection.imaging.volume import Volume
from detection.imaging.window import (
    BONE,
    LUNG,
    SOFT_TISSUE,
    STONE,
    Window,
    apply_window,
    grey_slice,
)


def test_soft_tissue_window_runs_from_minus_160_to_240():
    values = np.array([-3024, -160, -159, 40, 239, 240, 3000], np.int16)

    assert apply_window(values, SOFT_TISSUE).tolist() == [0, 0, 1, 128, 254, 255, 255]


@pytest.mark.parametrize("window", [SOFT_TISSUE, STONE, BONE, LUNG])
def test_grey_rises_with_hu(window):
    grey = apply_window(np.arange(-2048, 3072, dtype=np.int16), window).astype(int)

    assert (np.diff(grey) >= 0).all()
    assert (grey[0], grey[-1]) == (0, 255)


def test_window_without_width_is_refused():
    with pytest.raises(ValueError, match="wider"):
        Window(center_hu=40, width_hu=0)


def test_8_bit_pixels_pass_unchanged():
    pixels = np.arange(12, dtype=np.uint8).reshape(1, 3, 4)

    assert np.array_equal(grey_slice(Volume(pixels=pixels, is_hu=False), 0, BONE), pixels[0])


@pytest.mark.parametrize("slice_index", [-1, 2])
def test_slice_that_is_not_there_is_an_index_error(slice_index):
    volume = Volume(pixels=np.zeros((2, 3, 4), np.int16), is_hu=True)

    with pytest.raises(IndexError):
        grey_slice(volume, slice_index)
