from dataclasses import replace

import cv2
import numpy as np
import pytest

from detection.imaging.measure import DenseObject, Lack, dense_object, measure_stone
from detection.imaging.phantoms import KnownStone, make_phantom_volume, place_stones
from detection.imaging.volume import Volume

PIXEL_MM = 0.8
# Rows and columns of the drawn slice, and the middle of its body.
ROWS, COLUMNS = 300, 440
X, Y = 220, 150


def slab(*, slices=20, slice_mm=2.0, noise_hu=10.0, seed=0):
    """A body of fat, a muscular wall, organs of 40 HU, and a spine; no air inside."""
    pixels = np.full((ROWS, COLUMNS), -1000, np.float32)
    cv2.ellipse(pixels, (X, Y), (200, 130), 0, 0, 360, -100, -1)
    cv2.ellipse(pixels, (X, Y), (178, 108), 0, 0, 360, 50, -1)
    cv2.ellipse(pixels, (X, Y), (168, 98), 0, 0, 360, -100, -1)
    for side in (-1, 1):
        cv2.ellipse(pixels, (X + side * 85, Y + 30), (38, 34), 0, 0, 360, 35, -1)
    cv2.ellipse(pixels, (X, Y + 62), (28, 22), 0, 0, 360, 650, -1)
    cv2.ellipse(pixels, (X, Y + 62), (24, 18), 0, 0, 360, 200, -1)
    body = np.repeat(pixels[None], slices, axis=0)
    return body, slice_mm, noise_hu, seed


def finished(drawn):
    body, slice_mm, noise_hu, seed = drawn
    generator = np.random.default_rng(seed)
    pixels = []
    for one in body:
        noise = cv2.GaussianBlur(
            generator.standard_normal(one.shape).astype(np.float32), (0, 0), 0.8
        )
        blurred = cv2.GaussianBlur(one, (0, 0), 0.7)
        pixels.append(blurred + noise * (noise_hu / noise.std()))
    return Volume(
        pixels=np.rint(np.stack(pixels)).clip(-1024, 3071).astype(np.int16),
        is_hu=True,
        spacing_mm=(slice_mm, PIXEL_MM, PIXEL_MM),
        plane="axial",
    )


def ball(drawn, x, y, z, diameter_mm, hu, *, stretch=(1.0, 1.0, 1.0)):
    """Blend a ball into the voxels by the share of each that it covers."""
    body, slice_mm, *_ = drawn
    n = 4
    offsets = (np.arange(n) + 0.5) / n - 0.5
    radius = diameter_mm / 2
    reach = int(diameter_mm * max(stretch) / PIXEL_MM) + 3
    sides = 2 * reach
    rows = (np.arange(y - reach, y + reach)[:, None] + offsets).ravel()
    columns = (np.arange(x - reach, x + reach)[:, None] + offsets).ravel()
    for k in range(len(body)):
        cover = np.zeros((sides, sides), np.float32)
        for dz in offsets:
            height = (k + dz - z) * slice_mm / stretch[0]
            if abs(height) >= radius:
                continue
            inside = ((rows - y) * PIXEL_MM / stretch[1])[:, None] ** 2 + (
                (columns - x) * PIXEL_MM / stretch[2]
            )[None] ** 2 <= radius**2 - height**2
            cover += inside.reshape(sides, n, sides, n).mean(axis=(1, 3)) / n
        part = body[k, y - reach : y + reach, x - reach : x + reach]
        part += cover * (hu - part)
    return drawn


def mark(x, y, z, half=9):
    return (x - half, y - half, float(z), x + half, y + half, z + 1.0)


KIDNEY = (X + 85, Y + 30)


@pytest.mark.parametrize(
    ("diameter_mm", "hu", "slice_mm"),
    [(3, 600, 5.0), (3, 1100, 1.0), (4, 300, 2.0), (11, 1100, 3.0)],
)
def test_a_stone_in_the_kidney_stands(diameter_mm, hu, slice_mm):
    volume = finished(ball(slab(slice_mm=slice_mm, slices=20), *KIDNEY, 10, diameter_mm, hu))

    found = dense_object(volume, mark(*KIDNEY, 10))

    assert isinstance(found, DenseObject)
    assert found.peak[:2] == pytest.approx(KIDNEY, abs=3)
    assert found.is_followed


def staghorn(drawn, *, hu, x=KIDNEY[0], y=KIDNEY[1], z=20.0):
    """A pelvis with three branches: about 20 mL, 5 cm high."""
    ball(drawn, x - 6, y, z, 27, hu, stretch=(1.2, 1.0, 0.9))
    for dz, dx in ((10, 6), (0, 16), (-10, 6)):
        ball(drawn, x + dx, y, z + dz * 2 / drawn[1], 18, hu)
    return drawn


@pytest.mark.parametrize("hu", [350, 700, 1300])
def test_a_staghorn_stone_stands_and_is_measured(hu):
    volume = finished(staghorn(slab(slices=40), hu=hu))

    found = dense_object(volume, mark(*KIDNEY, 20))

    assert isinstance(found, DenseObject)
    measured = measure_stone(volume, found.peak, reach_mm=found.reach_mm + 10)
    assert measured.volume_mm3 > 15_000
    assert measured.diameter_mm > 40


def test_a_staghorn_stone_of_one_slice_stands():
    volume = finished(staghorn(slab(slices=40), hu=700))

    alone = replace(volume, pixels=volume.pixels[20:21].copy())

    assert isinstance(dense_object(alone, mark(*KIDNEY, 0)), DenseObject)


def test_a_staghorn_stone_high_in_a_coronal_slice_stands():
    drawn = staghorn(slab(slices=40), hu=700)
    pixels = np.pad(finished(drawn).pixels[20:21, 60:], ((0, 0), (0, 260), (0, 0)), mode="edge")
    coronal = Volume(
        pixels=pixels, is_hu=True, spacing_mm=(3.0, PIXEL_MM, PIXEL_MM), plane="coronal"
    )

    found = dense_object(coronal, mark(KIDNEY[0], KIDNEY[1] - 60, 0))

    assert isinstance(found, DenseObject)


def rib(drawn, *, fall, hu=700, start=(X + 120, Y + 95)):
    """A ring of bone in the wall of the body that moves by `fall` px a slice."""
    body = drawn[0]
    for k in range(len(body)):
        at = (int(start[0] + fall * (k - 10)), int(start[1] - fall * (k - 10) * 0.7))
        cv2.ellipse(body[k], at, (8, 6), -35, 0, 360, hu, -1)
        cv2.ellipse(body[k], at, (6, 4), -35, 0, 360, 220, -1)
    return drawn


@pytest.mark.parametrize("fall", [0.5, 1.5, 3.0])
def test_a_rib_cut_across_is_bone(fall):
    volume = finished(rib(slab(), fall=fall))

    assert dense_object(volume, mark(X + 120, Y + 95, 10)) == Lack.BONE


@pytest.mark.parametrize("has_pixel_size", [True, False])
def test_a_rib_of_one_slice_is_bone(has_pixel_size):
    volume = finished(rib(slab(slices=1), fall=0))
    spacing = volume.spacing_mm if has_pixel_size else None

    assert dense_object(replace(volume, spacing_mm=spacing), mark(X + 120, Y + 95, 0)) == Lack.BONE


def test_a_spinous_process_is_bone():
    drawn = slab()
    for one in drawn[0]:
        cv2.rectangle(one, (X - 4, Y + 84), (X + 4, Y + 105), 600, -1)

    assert dense_object(finished(drawn), mark(X, Y + 97, 10)) == Lack.BONE


@pytest.mark.parametrize("at", [(X, Y + 100), (X + 36, Y + 62), (X - 35, Y + 70)])
def test_a_process_that_one_slice_shows_apart_from_the_spine_is_bone(at):
    drawn = slab(slices=1)
    cv2.circle(drawn[0][0], at, 4, 500, -1)

    assert dense_object(finished(drawn), mark(*at, 0)) == Lack.BONE


@pytest.mark.parametrize("slices", [1, 20])
def test_the_spine_is_bone(slices):
    volume = finished(slab(slices=slices))

    assert dense_object(volume, mark(X, Y + 62, slices // 2)) == Lack.BONE


@pytest.mark.parametrize("slices", [1, 20])
@pytest.mark.parametrize("hu", [300, 1500])
def test_what_lies_on_the_table_is_no_stone(slices, hu):
    drawn = slab(slices=slices)
    for one in drawn[0]:
        cv2.rectangle(one, (40, 290), (400, 293), -150, -1)
        cv2.circle(one, (X + 60, 292), 4, hu, -1)

    assert dense_object(finished(drawn), mark(X + 60, 291, slices // 2)) == Lack.TABLE


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("slices", [1, 20])
def test_specks_of_noise_do_not_stand(seed, slices):
    volume = finished(slab(slices=slices, noise_hu=35.0, seed=seed))
    middle = slices // 2
    x, y = KIDNEY
    part = volume.pixels[middle, y - 15 : y + 15, x - 15 : x + 15]
    row, column = np.unravel_index(int(part.argmax()), part.shape)
    # The brightest speck of the kidney, at the values that were seen in patients.
    volume.pixels[middle, y - 15 + row, x - 15 + column] = 156

    assert dense_object(volume, mark(x, y, middle, half=12)) in (Lack.NOISE, Lack.NOT_DENSE)


@pytest.mark.parametrize(
    ("hu", "at", "radii"),
    [
        (606, (X + 40, Y - 50), (22, 16)),
        (300, (X - 60, Y - 40), (26, 18)),
        (900, (X, Y - 60), (18, 14)),
    ],
)
@pytest.mark.parametrize("slices", [1, 30])
def test_bowel_full_of_contrast_is_a_pool(hu, at, radii, slices):
    drawn = slab(slices=slices)
    for one in drawn[0][slices // 5 : slices - slices // 5]:
        cv2.ellipse(one, at, (radii[0] + 4, radii[1] + 4), 0, 0, 360, 40, -1)
        cv2.ellipse(one, at, radii, 0, 0, 360, hu, -1)

    assert dense_object(finished(drawn), mark(*at, slices // 2)) == Lack.POOL


@pytest.mark.parametrize("slices", [1, 30])
def test_a_level_under_gas_is_a_pool_wherever_it_lies(slices):
    drawn = slab(slices=slices)
    at = (X + 110, Y + 10)
    for one in drawn[0]:
        cv2.ellipse(one, at, (18, 16), 0, 0, 360, -900, -1)
        cv2.ellipse(one, at, (18, 16), 0, 0, 180, 500, -1)

    lack = dense_object(finished(drawn), mark(at[0], at[1] + 6, slices // 2))

    assert lack == Lack.POOL


@pytest.mark.parametrize("index", [0, 19])
@pytest.mark.parametrize("diameter_mm", [4, 8])
def test_a_stone_at_the_edge_of_the_volume_stands(index, diameter_mm):
    volume = finished(ball(slab(slices=20), *KIDNEY, index, diameter_mm, 900))

    assert isinstance(dense_object(volume, mark(*KIDNEY, index)), DenseObject)


@pytest.mark.parametrize(
    "changes", [{"spacing_mm": None}, {"is_evenly_spaced": False}, {"spacing_mm": (0.0, 0.8, 0.8)}]
)
def test_a_stone_stands_within_its_slice_where_nothing_is_known_across(changes):
    volume = finished(ball(slab(slices=8, slice_mm=3.0), *KIDNEY, 4, 8, 900))

    found = dense_object(replace(volume, **changes), mark(*KIDNEY, 4))

    assert isinstance(found, DenseObject)
    assert not found.is_followed
    assert found.edges[2::3] == (4.0, 5.0)


def test_a_calcified_vessel_passes_as_no_rule_tells_it_from_a_stone():
    drawn = slab()
    at = (X + 12, Y + 20)
    cv2.circle(drawn[0][10], at, 3, 600, -1)

    assert isinstance(dense_object(finished(drawn), mark(*at, 10)), DenseObject)


def test_the_object_at_the_peak_of_the_map_counts():
    drawn = ball(slab(), KIDNEY[0] - 12, KIDNEY[1], 10, 4, 1200)
    volume = finished(ball(drawn, KIDNEY[0] + 12, KIDNEY[1], 10, 8, 500))

    found = dense_object(volume, mark(*KIDNEY, 10, half=18), peak=(KIDNEY[0] + 12, KIDNEY[1]))

    assert found.peak[0] == pytest.approx(KIDNEY[0] + 12, abs=5)


def test_a_stone_beside_noise_and_bone_is_found():
    drawn = rib(ball(slab(), KIDNEY[0] + 10, KIDNEY[1] + 18, 10, 5, 600), fall=0)

    found = dense_object(finished(drawn), mark(X + 105, Y + 65, 10, half=40))

    assert isinstance(found, DenseObject)
    assert found.peak[:2] == pytest.approx((KIDNEY[0] + 10, KIDNEY[1] + 18), abs=3)


def test_a_mark_that_only_touches_a_dense_object_finds_the_whole_of_it():
    volume = finished(ball(slab(), *KIDNEY, 10, 9, 900))

    middle, beyond = (dense_object(volume, mark(*KIDNEY, index)) for index in (10, 13))

    assert volume.pixels[13, KIDNEY[1], KIDNEY[0]] < 150
    assert beyond == middle


@pytest.mark.parametrize("seed", range(3))
def test_any_pixels_get_an_answer(seed):
    generator = np.random.default_rng(seed)
    pixels = generator.integers(-1024, 3072, (6, 30, 30)).astype(np.int16)
    for spacing in (None, (5.0, 0.7, 0.7), (0.0, 1.0, 1.0), (1.0, 3.0, 0.5)):
        volume = Volume(pixels=pixels, is_hu=True, spacing_mm=spacing)
        for z in range(6):
            x, y = generator.integers(-5, 33, 2)
            answer = dense_object(volume, (x, y, z, x + 6, y + 6, z + 1))
            assert isinstance(answer, (DenseObject, Lack))


@pytest.mark.parametrize("at", [(X + 128, Y + 62), (X - 120, Y + 70), (X + 150, Y + 40)])
def test_a_solid_rib_of_one_slice_in_the_wall_is_bone(at):
    """Its marrow is not resolved: the muscles of the wall tell it."""
    drawn = slab(slices=1)
    cv2.ellipse(drawn[0][0], at, (6, 4), -30, 0, 360, 700, -1)

    assert dense_object(finished(drawn), mark(*at, 0)) == Lack.BONE


def test_grey_values_do_not_tell_what_is_dense():
    picture = Volume(pixels=np.zeros((1, 8, 8), np.uint8), is_hu=False)

    with pytest.raises(ValueError, match="Hounsfield"):
        dense_object(picture, (0, 0, 0, 8, 8, 1))


@pytest.mark.parametrize("number", range(3))
def test_stones_of_a_drawn_body_stand_and_its_ribs_do_not(number):
    generator = np.random.default_rng([3, number])
    stones = place_stones((3.0, 4.0, 6.0, 10.0), hu=(600, 1100, 300, 900), generator=generator)
    drawn = make_phantom_volume(
        stones, generator=generator, slice_mm=(1.5, 2.0, 3.0)[number], height_mm=120
    )
    volume = drawn.volume
    inverse = np.linalg.inv(np.array(volume.affine_lps))

    for stone in stones:
        column, row, index, _ = inverse @ (*stone.centre_lps_mm, 1)
        assert isinstance(dense_object(volume, mark(column, row, round(index))), DenseObject), stone


def test_air_is_not_dense():
    air = Volume(
        pixels=np.full((3, 40, 40), -1000, np.int16), is_hu=True, spacing_mm=(1.0, 1.0, 1.0)
    )

    assert dense_object(air, (10, 10, 1, 20, 20, 2)) == Lack.NOT_DENSE
    assert dense_object(air, (-9, -9, 1, -5, -5, 2)) == Lack.NOT_DENSE


def test_known_stone_is_where_the_object_says():
    stone = KnownStone(centre_lps_mm=(71.0, 28.0, 0.0), diameters_mm=(8.0, 7.0, 9.0), hu=1000)
    volume = make_phantom_volume(
        [stone], generator=np.random.default_rng(1), slice_mm=3, height_mm=60
    ).volume
    inverse = np.linalg.inv(np.array(volume.affine_lps))
    column, row, index, _ = inverse @ (*stone.centre_lps_mm, 1)

    found = dense_object(volume, mark(column, row, round(index)))

    assert found.edges[0] < column < found.edges[3]
    assert found.edges[1] < row < found.edges[4]
    assert found.reach_mm < 10
    assert found.peak_hu == pytest.approx(1000, abs=60)
    assert found.background_hu == pytest.approx(32, abs=15)
