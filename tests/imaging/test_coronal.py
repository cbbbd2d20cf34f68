from dataclasses import replace

import numpy as np
import pytest

from detection.imaging.coronal import PIXEL_MM, _parts, plan_coronal
from detection.imaging.phantoms import KnownStone, make_phantom_volume
from detection.imaging.trunk import find_trunk

STONE = KnownStone(centre_lps_mm=(60.0, 30.0, 12.0), diameters_mm=(10, 10, 10), hu=1000)


@pytest.fixture(scope="module")
def phantom():
    return make_phantom_volume(
        [STONE], generator=np.random.default_rng(1), slice_mm=2.5, pixel_mm=1.2, height_mm=180
    )


def test_stone_is_where_the_picture_says_it_is(phantom):
    plan = plan_coronal(phantom.volume, find_trunk(phantom.volume))
    slab = min(
        plan.slabs(),
        key=lambda slab: abs(plan.positions_mm[slab.position] - STONE.centre_lps_mm[1]),
    )
    row, column = np.argwhere(slab.pixels_hu > 900).mean(axis=0)

    box = (column, row, column + 1, row + 1)
    x0, y0, z0, x1, y1, z1 = slab.to_volume(box)
    place = (x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2, (z0 + z1 - 1) / 2
    lps = np.array(phantom.volume.affine_lps) @ (*place, 1.0)

    assert np.abs(lps[:3] - STONE.centre_lps_mm).max() < 1.5
    assert place[1] == pytest.approx(slab.row)


def test_head_is_up_and_left_is_right(phantom):
    volume = phantom.volume
    pixels = volume.pixels.copy()
    pixels[-10:] = 200
    plan = plan_coronal(replace(volume, pixels=pixels), find_trunk(volume))

    slab = next(plan.slabs())

    assert slab.pixels_hu[5].max() == 200
    assert slab.columns_per_pixel > 0


def test_pixels_are_square_and_as_large_as_trained(phantom):
    plan = plan_coronal(phantom.volume, find_trunk(phantom.volume))
    rows, _ = next(plan.slabs()).pixels_hu.shape

    assert rows == round(180 / PIXEL_MM)


def test_slab_averages_what_it_covers(phantom):
    volume = phantom.volume
    trunk = find_trunk(volume)
    steps = np.arange(volume.pixels.shape[1], dtype=np.int16)
    ramp = np.broadcast_to(steps[None, :, None], volume.pixels.shape)
    plan = plan_coronal(replace(volume, pixels=ramp), trunk)

    slab = next(plan.slabs())

    inside = slab.pixels_hu[slab.pixels_hu.shape[0] // 2, slab.pixels_hu.shape[1] // 2]
    assert inside == pytest.approx(slab.row, abs=1)


@pytest.mark.parametrize(
    "changes",
    [{"affine_lps": None}, {"spacing_mm": (5.0, 1.2, 1.2)}, {"is_evenly_spaced": False}],
)
def test_no_reformat_without_thin_even_slices_and_a_direction(phantom, changes):
    assert plan_coronal(replace(phantom.volume, **changes), find_trunk(phantom.volume)) is None


def test_no_reformat_of_a_low_stack(phantom):
    low = replace(phantom.volume, pixels=phantom.volume.pixels[:40])

    assert plan_coronal(low, find_trunk(low)) is None


def test_tall_volumes_are_read_in_overlapping_parts():
    parts = _parts(0, 1000, slice_mm=1.0)

    assert parts[0][1] == 1000
    assert parts[-1][0] == 0
    assert all(end - first <= 420 for first, end in parts)
    assert all(upper[0] <= lower[1] - 55 for upper, lower in zip(parts, parts[1:], strict=False))
