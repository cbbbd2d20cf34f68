import numpy as np

from detection.imaging.phantoms import make_phantom_volume
from detection.imaging.trunk import find_trunk
from detection.imaging.volume import Volume


def thin_phantom(**changes):
    return make_phantom_volume(
        generator=np.random.default_rng(1), slice_mm=5, pixel_mm=1.6, height_mm=20, **changes
    ).volume


def test_trunk_is_the_same_with_arms_beside_it():
    alone, with_arms = find_trunk(thin_phantom()), find_trunk(thin_phantom(has_arms=True))

    assert np.abs(np.subtract(alone.box, with_arms.box)).max() <= 16 / 1.6
    assert abs(alone.midline(2) - with_arms.midline(2)) <= 2


def test_table_is_no_trunk():
    volume = thin_phantom()
    _, bottom, _, _ = find_trunk(volume).box

    # The back ends 105 to 115 mm behind the middle of a slice of 300 mm; the table is below.
    assert (bottom * 1.6 - 150) < 125


def test_outside_the_trunk_there_is_air():
    volume = thin_phantom(has_arms=True)
    trunk = find_trunk(volume)
    top, bottom, left, right = trunk.box

    cut = trunk.cut(volume.pixels[2], 2)

    assert cut.shape == (bottom - top, right - left)
    assert (cut[0, :5] == -1024).all()
    # The vertebra in the middle is untouched.
    assert np.array_equal(
        cut[-70:-40, 60:90], volume.pixels[2][top:bottom, left:right][-70:-40, 60:90]
    )


def test_slices_without_a_body_are_named():
    volume = thin_phantom()
    pixels = volume.pixels.copy()
    pixels[0] = -1000
    empty_first = Volume(pixels=pixels, is_hu=True, spacing_mm=volume.spacing_mm, plane="axial")

    trunk = find_trunk(empty_first)

    assert trunk.slices == [1, 2, 3]
    assert trunk.midline(0) is None


def test_pictures_and_other_planes_have_no_trunk():
    volume = thin_phantom()
    coronal = Volume(pixels=volume.pixels, is_hu=True, spacing_mm=(5, 1.6, 1.6), plane="coronal")
    picture = Volume(pixels=np.full((2, 200, 200), 90, np.uint8), is_hu=False, plane="axial")

    assert find_trunk(coronal) is None
    assert find_trunk(picture) is None
