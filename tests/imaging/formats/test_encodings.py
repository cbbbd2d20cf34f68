from pathlib import Path

import numpy as np
import pytest

from detection.imaging.errors import Code
from detection.imaging.formats import decode_file

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
ENCODINGS = sorted((SAMPLES / "ct_encodings").glob("*.dcm"))
# End of the transfer syntax: how far a pixel may be from the lossless ones, in HU, at most and on
# average. The file of .50 holds 8 bits, 32 HU apart.
LOSSY = {
    "4.50": (64, 18),
    "4.51": (36, 5),
    "4.53": (36, 5),
    "4.55": (36, 5),
    "4.81": (1, 1),
    "4.91": (5, 1),
}
# What the scanner pads the corners with; the lossy files clip it.
OUTSIDE_HU = -2000


@pytest.fixture(scope="module")
def truth():
    return decode_file(SAMPLES / "ct_encodings" / "CTImage.dcm")


def ending(path):
    return ".".join(path.stem.split(".")[-2:])


def test_all_sixteen_are_here():
    assert len(ENCODINGS) == 16
    assert {ending(path) for path in ENCODINGS} >= set(LOSSY)


@pytest.mark.parametrize(
    "path", [path for path in ENCODINGS if ending(path) not in LOSSY], ids=lambda path: path.stem
)
def test_lossless_encodings_give_the_same_hu(path, truth):
    volume = decode_file(path)

    assert volume.is_hu
    assert np.array_equal(volume.pixels, truth.pixels)
    assert volume.header() == truth.header()
    assert volume.notices == ()


@pytest.mark.parametrize(
    "path", [path for path in ENCODINGS if ending(path) in LOSSY], ids=lambda path: path.stem
)
def test_lossy_encodings_come_close_and_say_so(path, truth):
    volume = decode_file(path)
    inside = truth.pixels > OUTSIDE_HU
    difference_hu = np.abs(volume.pixels.astype(int) - truth.pixels)[inside]

    highest, average = LOSSY[ending(path)]
    assert difference_hu.max() <= highest
    assert difference_hu.mean() <= average
    more = [Code.EIGHT_BIT_HU] if ending(path) == "4.50" else []
    assert [notice.code for notice in volume.notices] == [Code.LOSSY, *more]


def test_truth_is_what_the_scanner_wrote(truth):
    # Read off the file by hand: size, the padding, the densest bone.
    assert truth.pixels.shape == (1, 512, 512)
    assert truth.pixels.dtype == np.int16
    assert (truth.pixels.min(), truth.pixels.max()) == (-3024, 1378)
    assert truth.plane == "axial"
    assert truth.spacing_mm == pytest.approx((6.5, 0.675781, 0.675781))


@pytest.mark.parametrize(
    ("name", "plane", "row_mm"),
    [("A027284_01", "axial", 0.9375), ("A002304_02", "coronal", 1.322021)],
)
def test_real_slices_know_their_plane_and_scale(name, plane, row_mm):
    volume = decode_file(SAMPLES / "ct_slices" / f"{name}.dcm")

    assert volume.is_hu
    assert volume.plane == plane
    assert volume.spacing_mm[1] == pytest.approx(row_mm)
    assert volume.notices == ()
    # Fat and soft tissue are where they belong.
    body = volume.pixels[(volume.pixels > -200) & (volume.pixels < 200)]
    assert body.size > 0.1 * volume.pixels.size


@pytest.mark.parametrize("path", ENCODINGS, ids=lambda path: path.stem)
def test_the_name_of_a_file_does_not_matter(path, truth, tmp_path):
    renamed = tmp_path / "scan.png.exe"
    renamed.symlink_to(path)

    assert decode_file(renamed).pixels.shape == truth.pixels.shape
