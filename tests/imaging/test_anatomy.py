from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from detection.imaging.anatomy import BodyPart, picture_part, slice_part, volume_parts
from detection.imaging.formats import decode_file
from detection.imaging.phantoms import make_phantom_volume
from detection.imaging.phantoms.slices import make_phantom
from detection.imaging.window import Window, apply_window
from tests.bodies import section, stack, volume
from tests.pictures import hollow_body_hu

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
SOFT_TISSUE = Window(center_hu=40, width_hu=400)
PARTS = {
    "abdomen": BodyPart.ABDOMEN,
    "chest": BodyPart.CHEST,
    "shoulder": BodyPart.SHOULDER,
    "shoulder_arms_up": BodyPart.SHOULDER,
    "neck": BodyPart.NECK,
    "vault": BodyPart.HEAD,
    "face": BodyPart.HEAD,
    "legs": BodyPart.LIMB,
    "legs_touching": BodyPart.LIMB,
    "thigh": BodyPart.LIMB,
    "knees": BodyPart.LIMB,
    "pelvis": BodyPart.PELVIS,
}


@pytest.mark.parametrize("drawn", PARTS)
@pytest.mark.parametrize(
    "variant",
    [
        {},
        {"scale": 0.88, "pixel_mm": 0.7},
        {"scale": 1.05, "shift_mm": (12, -20), "noise_hu": 30},
        {"pixel_mm": 1.5, "side_px": 360},
    ],
    ids=["usual", "small", "large and noisy", "coarse"],
)
def test_each_part_is_named(drawn, variant):
    pixel_mm = variant.get("pixel_mm", 0.8)

    part = slice_part(section(drawn, **variant), spacing_mm=(pixel_mm, pixel_mm))

    assert part is PARTS[drawn]


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_head_is_one_however_it_lies(turns):
    head = np.rot90(section("vault"), turns)

    assert slice_part(head, spacing_mm=(0.8, 0.8)) is BodyPart.HEAD


@pytest.mark.parametrize("scale", [0.55, 0.7, 0.85, 1.15, 1.3])
def test_children_and_large_patients_have_an_abdomen(scale):
    slice_hu = section("abdomen", scale=scale)

    assert slice_part(slice_hu, spacing_mm=(0.8, 0.8)) is BodyPart.ABDOMEN


@pytest.mark.parametrize("way", [np.fliplr, np.flipud, lambda grey: np.rot90(grey)])
def test_an_abdomen_in_any_position_is_one(way):
    assert slice_part(way(section("abdomen")), spacing_mm=(0.8, 0.8)) is BodyPart.ABDOMEN


@pytest.mark.parametrize(("side_px", "pixel_mm"), [(256, 0.33), (512, 0.29), (512, 0.45)])
@pytest.mark.parametrize("shift_mm", [(0, -60), (0, -20)])
def test_a_narrow_field_on_the_spine_is_a_detail(side_px, pixel_mm, shift_mm):
    spine = section("abdomen", pixel_mm=pixel_mm, side_px=side_px, shift_mm=shift_mm)

    assert slice_part(spine, spacing_mm=(pixel_mm, pixel_mm)) is BodyPart.DETAIL


@pytest.mark.parametrize("side_px", [320, 340, 400])
def test_a_field_that_holds_both_kidneys_may_cut_the_skin_off(side_px):
    tight = section("abdomen", side_px=side_px)

    assert slice_part(tight, spacing_mm=(0.8, 0.8)) is BodyPart.ABDOMEN


@pytest.mark.parametrize(
    ("inside_hu", "part"), [(-850, "chest"), (-1000, "abdomen"), (-100, "abdomen"), (40, "abdomen")]
)
def test_lung_is_told_from_gas_and_fat_without_a_pixel_size(inside_hu, part):
    assert slice_part(hollow_body_hu(inside_hu=inside_hu), spacing_mm=None) == part


def test_a_skull_is_known_without_a_pixel_size():
    assert slice_part(section("vault"), spacing_mm=None) is BodyPart.HEAD


@pytest.mark.parametrize("slice_hu", [np.full((64, 64), -1000, np.int16)])
def test_a_slice_without_a_body_is_left_to_other_checks(slice_hu):
    assert slice_part(slice_hu, spacing_mm=(5.0, 5.0)) is BodyPart.ABDOMEN


def test_foam_between_table_and_body_is_no_lung():
    slice_hu = section("abdomen")
    slice_hu[480:500, 100:540] = 100
    slice_hu[420:500, 100:106] = slice_hu[420:500, 534:540] = 100
    slice_hu[(slice_hu < -900) & (np.indices(slice_hu.shape)[0] > 400)] = -930

    assert slice_part(slice_hu, spacing_mm=(0.8, 0.8)) is BodyPart.ABDOMEN


@pytest.mark.parametrize("seed", range(6))
def test_drawn_slices_are_abdomens(seed):
    drawn = make_phantom("axial", has_stone=bool(seed % 2), generator=np.random.default_rng(seed))

    assert slice_part(drawn.pixels_hu, spacing_mm=(0.9, 0.9)) is BodyPart.ABDOMEN


def test_drawn_volumes_are_abdomens():
    drawn = make_phantom_volume(
        [], generator=np.random.default_rng(1), slice_mm=5, pixel_mm=1.5, height_mm=200
    )

    assert set(volume_parts(drawn.volume)) == {BodyPart.ABDOMEN}


@pytest.mark.parametrize(
    ("file", "part"),
    [
        ("ct_encodings/CTImage.dcm", BodyPart.SHOULDER),
        ("ct_encodings/JPEGLSLossy_1.2.840.10008.1.2.4.81.dcm", BodyPart.SHOULDER),
        ("ct_slices/A027284_01.dcm", BodyPart.ABDOMEN),
    ],
)
def test_real_slices_are_named(file, part):
    assert volume_parts(decode_file(SAMPLES / file)) == (part,)


@pytest.mark.parametrize("file", ["693_J2KI.dcm", "J2K_pixelrep_mismatch.dcm", "CT_small.dcm"])
def test_slices_of_pydicom_are_no_abdomens(file):
    from pydicom.data import get_testdata_file

    (part,) = volume_parts(decode_file(Path(get_testdata_file(file, download=False))))

    assert part is (BodyPart.DETAIL if file == "CT_small.dcm" else BodyPart.HEAD)


A, C, S, N, H, P, L = (
    "abdomen",
    "chest",
    "shoulder",
    "neck",
    "vault",
    "pelvis",
    "legs",
)


@pytest.mark.parametrize(
    ("parts", "abdomen"),
    [
        # A whole body: the abdomen lies between pelvis and chest.
        ([(L, 4), (P, 6), (A, 30), (C, 10), (S, 4), (N, 3), (H, 8)], range(10, 40)),
        # An abdomen alone, however short.
        ([(A, 3)], range(3)),
        # From head to chest, with sections among them that look like an abdomen.
        ([(C, 10), (A, 2), (S, 4), (A, 12), (N, 3), (H, 8)], ()),
        # A chest that ends 3 cm below the lungs shows no kidney; one that ends 8 cm below may.
        ([(A, 6), (C, 20)], ()),
        ([(A, 16), (C, 20)], range(16)),
        # What is below the hips is no abdomen.
        ([(A, 8), (P, 6), (A, 30)], range(14, 44)),
        # Single sections between others.
        ([(H, 6), (A, 2), (H, 6), (A, 1)], ()),
        # One odd slice parts no abdomen.
        ([(A, 20), (C, 1), (A, 20)], [*range(20), *range(21, 41)]),
    ],
    ids=[
        *("whole body", "abdomen", "head to chest", "chest", "chest and upper abdomen"),
        *("below the hips", "isolated", "odd slice"),
    ],
)
def test_the_order_of_the_slices_tells_where_the_abdomen_is(parts, abdomen):
    named = volume_parts(stack(*parts))

    assert [i for i, part in enumerate(named) if part is BodyPart.ABDOMEN] == list(abdomen)


def test_without_a_place_in_the_body_each_slice_stands_for_itself():
    placed = stack((C, 6), (A, 3))

    named = volume_parts(replace(placed, affine_lps=None))

    assert named == (BodyPart.CHEST,) * 6 + (BodyPart.ABDOMEN,) * 3


def test_other_planes_and_pictures_count_as_abdomen():
    head = section("vault")[None]

    assert volume_parts(replace(volume(head, spacing_mm=(5, 0.8, 0.8)), plane="coronal")) == (
        BodyPart.ABDOMEN,
    )


@pytest.mark.parametrize(
    "variant", [{}, {"scale": 0.8}, {"pixel_mm": 0.5}, {"shift_mm": (20, 10), "noise_hu": 25}]
)
@pytest.mark.parametrize(
    ("drawn", "part"),
    [
        ("vault", BodyPart.HEAD),
        ("chest", BodyPart.CHEST),
        ("abdomen", BodyPart.ABDOMEN),
        ("pelvis", BodyPart.ABDOMEN),
    ],
)
def test_skull_and_lungs_are_seen_in_a_picture(drawn, part, variant):
    assert picture_part(apply_window(section(drawn, **variant), SOFT_TISSUE)) is part


def test_a_coronal_picture_with_lungs_is_no_chest():
    torso = np.zeros((500, 400), np.uint8)
    torso[:, 40:360] = 110
    torso[:200, 70:180] = torso[:200, 220:330] = 0

    assert picture_part(torso) is BodyPart.ABDOMEN


def test_a_picture_without_a_body_is_left_to_other_checks():
    assert picture_part(np.zeros((300, 300), np.uint8)) is BodyPart.ABDOMEN


@pytest.mark.parametrize(
    ("others", "expected"),
    [(3, [BodyPart.HEAD] * 5), (2, [BodyPart.HEAD] * 2 + [BodyPart.ABDOMEN] * 3)],
)
def test_slices_of_unknown_plane_are_judged_as_axial_ones(others, expected):
    pixels = np.stack([section("vault")] * others + [section("abdomen")] * (5 - others))
    unplaced = replace(volume(pixels, spacing_mm=(5.0, 1.0, 1.0)), plane="unknown", affine_lps=None)

    assert list(volume_parts(unplaced)) == expected


@pytest.mark.parametrize("part", ["vault", "chest", "shoulder", "neck", "legs", "pelvis"])
def test_slices_without_pixel_size_count_as_of_a_usual_field(part):
    assert slice_part(section(part, pixel_mm=1.0, side_px=420), spacing_mm=None) is PARTS[part]
    assert slice_part(section("abdomen"), spacing_mm=None) is BodyPart.ABDOMEN


def test_one_odd_slice_does_not_rename_a_short_abdomen():
    named = volume_parts(stack(("abdomen", 5), ("shoulder", 1), slice_mm=2.5))

    assert named[:5] == (BodyPart.ABDOMEN,) * 5
