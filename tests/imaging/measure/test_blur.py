from dataclasses import replace

import numpy as np
import pytest

from detection.imaging.measure.blur import scan_blur
from detection.imaging.phantoms import make_phantom_volume


def scan(*, blur_mm, pixel_mm=0.7):
    return make_phantom_volume(
        generator=np.random.default_rng(4), pixel_mm=pixel_mm, height_mm=8, blur_mm=blur_mm
    ).volume


def of_voxel(side_mm):
    return side_mm / np.sqrt(12)


@pytest.mark.parametrize("blur_mm", [0.3, 0.5, 0.8])
def test_blur_is_read_from_the_skin(blur_mm):
    slices, rows, columns = scan_blur(scan(blur_mm=blur_mm), (4, 200, 250))

    drawn = np.hypot(blur_mm, of_voxel(0.7))
    assert rows == pytest.approx(drawn, rel=0.1)
    assert columns == pytest.approx(drawn, rel=0.1)
    assert slices == of_voxel(1.0)


def test_blur_is_that_of_the_voxels_where_no_skin_is_seen():
    volume = scan(blur_mm=0.5)
    inside = replace(volume, pixels=np.ascontiguousarray(volume.pixels[:, 150:250, 200:300]))

    assert scan_blur(inside, (4, 50, 50)) == (of_voxel(1.0), of_voxel(0.7), of_voxel(0.7))


def test_a_wider_edge_than_any_scanner_makes_is_not_believed():
    assert max(scan_blur(scan(blur_mm=1.6), (4, 200, 250))) == 1.0
