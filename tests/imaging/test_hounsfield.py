"""Hounsfield units are told from other values by their peaks, and padding is left out."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from detection.imaging.errors import Code, ImageError
from detection.imaging.formats import decode_file
from detection.imaging.hounsfield import HounsfieldJudge
from detection.imaging.phantoms import make_phantom_volume
from tests.pictures import hollow_body_hu

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
SLICES = [*sorted((SAMPLES / "ct_slices").glob("*.dcm")), SAMPLES / "ct_encodings" / "CTImage.dcm"]
PADDINGS = (-32768, -3024, -2000, -1500, -1024, -1000, -1, 0, 3071, 4095, 32767)
# Twelve bits with a sign, and the usual intercept.
SIGNED_RANGE = (-3072, 1023)


def judged(values, *, is_declared=True, **options):
    """The code of the answer, "" if the values are HU beyond doubt."""
    judge = HounsfieldJudge(is_declared=is_declared)
    judge.add(np.clip(np.rint(values), -32768, 32767).astype(np.int16), **options)
    try:
        return "".join(notice.code for notice in judge.judge())
    except ImageError as error:
        # One beginning for all of them.
        return error.code if error.reason.startswith("The values are not Hounsfield un") else error


@pytest.fixture(scope="module", params=SLICES, ids=lambda path: path.stem)
def slice_hu(request):
    """A real slice without the padding of its scanner."""
    pixels = decode_file(request.param).pixels[0].astype(float)
    return np.where(pixels < -1100, -1024, pixels)


def padded(values, padding):
    rows, columns = np.mgrid[: values.shape[0], : values.shape[1]]
    middle = np.array(values.shape) / 2
    outside = np.hypot(rows - middle[0], columns - middle[1]) > min(values.shape) / 2
    return np.where(outside, padding, values)


def middle_of(values):
    rows, columns = values.shape
    return values[rows * 2 // 5 : rows * 13 // 20, columns * 7 // 20 : columns * 13 // 20]


@pytest.mark.parametrize("path", sorted(SAMPLES.rglob("*.dcm")), ids=lambda path: path.stem)
def test_real_files_hold_hu(path):
    volume = decode_file(path)

    assert volume.is_hu
    assert Code.HU_DOUBTFUL not in {notice.code for notice in volume.notices}


@pytest.mark.parametrize("padding", PADDINGS)
def test_padding_of_any_value_is_left_out(slice_hu, padding):
    outside = -1024 if padding == -32768 else padding

    assert judged(padded(slice_hu, outside)) == ""
    assert judged(padded(slice_hu + 1024, padding)) == Code.NOT_HU
    assert judged(padded(slice_hu + 1000, padding)) == Code.NOT_HU


@pytest.mark.parametrize("padding", [-3024, -2000, -1024])
@pytest.mark.parametrize("how", [cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4])
def test_padding_smeared_by_resampling_is_left_out(slice_hu, padding, how):
    def resampled(values):
        return cv2.resize(padded(values, padding), None, fx=0.7, fy=0.7, interpolation=how)

    assert judged(resampled(slice_hu)) == ""
    assert judged(resampled(slice_hu + 1024)) == Code.NOT_HU


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(lambda hu: hu + 1024, id="intercept lost"),
        pytest.param(lambda hu: hu - 1024, id="intercept twice"),
        pytest.param(lambda hu: (hu + 1024) / 2, id="slope and intercept lost"),
        pytest.param(lambda hu: (hu + 1024) * 4, id="another slope"),
        pytest.param(lambda hu: hu * 2, id="double"),
        pytest.param(lambda hu: np.clip((hu + 160) / 400 * 255, 0, 255), id="window of 8 bits"),
        pytest.param(lambda hu: np.clip((hu + 1000) / 2000 * 255, 0, 255), id="wide window"),
        pytest.param(lambda hu: (hu - hu.mean()) / hu.std(), id="standard score"),
        pytest.param(lambda hu: hu > -300, id="mask"),
        pytest.param(lambda hu: hu / 1000, id="per mille"),
        pytest.param(lambda hu: hu.astype(int) % 65536, id="signed of 16 bits called unsigned"),
        pytest.param(lambda hu: hu.astype(int) % 4096, id="signed of 12 bits called unsigned"),
        pytest.param(
            lambda hu: (hu + 1024).astype(np.uint16).byteswap().view(np.int16) - 1024.0,
            id="bytes swapped",
        ),
    ],
)
def test_what_is_no_longer_hu_is_refused(slice_hu, changed):
    assert judged(changed(slice_hu)) == Code.NOT_HU


def test_half_the_scale_never_passes_without_doubt(slice_hu):
    assert judged(slice_hu / 2) in (Code.NOT_HU, Code.HU_DOUBTFUL)


def test_unsigned_values_called_signed_are_refused(slice_hu):
    dense = slice_hu.copy()
    # Bone beyond the highest value that 11 bits hold.
    dense[100:140, 100:140] = np.random.default_rng(1).normal(1020, 60, (40, 40))
    wrapped = (dense.astype(int) + 1024 + 2048) % 4096 - 2048 - 1024

    assert judged(wrapped, representable=SIGNED_RANGE) == Code.NOT_HU
    assert judged(np.minimum(dense, 1023), representable=SIGNED_RANGE) == ""
    assert judged(dense) == ""


def test_slice_cut_to_the_body_is_possible(slice_hu):
    assert judged(middle_of(slice_hu)) in ("", Code.HU_DOUBTFUL)
    assert judged(middle_of(slice_hu) + 1024) == Code.NOT_HU


def test_body_without_air_is_doubtful():
    body = np.random.default_rng(1).normal(40, 40, (128, 128))

    assert judged(body) == Code.HU_DOUBTFUL
    assert judged(padded(body, -1024)) == ""


@pytest.mark.parametrize(
    "draw",
    [
        pytest.param(lambda noise: noise - 1000, id="air alone"),
        pytest.param(lambda noise: np.maximum(noise - 1010, -1024), id="air, cut off below"),
        pytest.param(lambda noise: noise * 5 - 850, id="lung alone"),
    ],
)
def test_air_and_lung_alone_are_hu(draw):
    noise = np.random.default_rng(1).normal(0, 15, (256, 256))

    assert judged(draw(noise)) == ""


def test_metal_contrast_medium_and_noise_leave_them_hu(slice_hu):
    metal = slice_hu.copy()
    metal[: len(metal) // 12] = 3071
    contrast = np.where((slice_hu > 0) & (slice_hu < 100), slice_hu + 120, slice_hu)
    noise = np.random.default_rng(1).normal(0, 60, slice_hu.shape)

    assert [judged(values) for values in (metal, contrast, slice_hu + noise)] == ["", "", ""]


def test_drawn_bodies_are_hu():
    volume = make_phantom_volume(generator=np.random.default_rng(1)).volume

    assert judged(volume.pixels) == ""
    assert judged(volume.pixels + 1024.0) == Code.NOT_HU
    assert judged(hollow_body_hu(inside_hu=-800)) == ""


def test_few_values_prove_nothing():
    for values in (np.full((64, 64), 5000), np.arange(3), np.zeros(1)):
        assert judged(values) == ""
        assert judged(values, is_declared=False) == Code.NOT_HU

    assert judged(np.array([-1000, 40, 60]), is_declared=False) == ""
    assert judged(np.array([-100, 40, 60]), is_declared=False) == Code.HU_DOUBTFUL


def test_slices_are_judged_together(slice_hu):
    judge = HounsfieldJudge(is_declared=True)
    # The first slice alone would be refused.
    for values in (np.full(slice_hu.shape, 60), slice_hu):
        judge.add(values.astype(np.int16))

    assert judge.judge() == ()
