"""Values that are no Hounsfield units get one sentence, by whichever road and in any format."""

from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.uid import JPEG2000Lossless

from detection.imaging.errors import Code, ImageError
from detection.imaging.formats import decode_file
from detection.imaging.ingest import ingest
from detection.imaging.ingest.jobs import InProcess
from detection.imaging.volume import load_volume
from tests.imaging.synthetic import ct_dataset, enhanced_dataset, write_series

SAMPLE = Path(__file__).resolve().parents[2] / "samples" / "ct_slices" / "A027284_01.dcm"
TOO_HIGH = "The values are not Hounsfield units: they are about 1024 too high (Rescale Intercept)."


@pytest.fixture(scope="module")
def slice_hu():
    """A real slice at half its size, as three of a series."""
    one = decode_file(SAMPLE).pixels[0][::2, ::2]
    return np.stack([np.maximum(one, -1024)] * 3)


def answer(tmp_path, *paths):
    folder = tmp_path / "volumes"
    folder.mkdir(exist_ok=True)
    result = ingest(paths, target_folder=folder, worker=InProcess())
    return result, {(row.status, row.code, row.reason) for row in result.report}


@pytest.mark.parametrize("changes", [
    pytest.param({"RescaleIntercept": 0}, id="intercept 0"),
    pytest.param({"RescaleIntercept": 24}, id="intercept 24"),
    pytest.param({"RescaleIntercept": 0, "PixelPaddingValue": -2000}, id="padding is told"),
    pytest.param({"RescaleIntercept": 0, "BitsStored": 12, "HighBit": 11}, id="12 bits"),
])  # fmt: skip
def test_lost_intercept_is_told_alike_of_one_slice_and_of_a_series(tmp_path, slice_hu, changes):
    paths = write_series(tmp_path / "series", slice_hu, **changes)
    refused = ("refused", Code.NOT_HU, TOO_HIGH)
    with pytest.raises(ImageError) as caught:
        decode_file(paths[0])

    assert (caught.value.code, caught.value.reason) == refused[1:]
    assert answer(tmp_path, paths[0])[1] == {refused}
    result, rows = answer(tmp_path, *paths)
    assert rows == {refused}
    assert not result.series


@pytest.mark.parametrize("bad", [{0}, {1}, {0, 2}])
def test_slices_without_their_intercept_take_no_others_with_them(tmp_path, slice_hu, bad):
    paths = write_series(tmp_path / "series", slice_hu)
    for number in bad:
        dataset = pydicom.dcmread(paths[number])
        dataset.RescaleIntercept = 0
        dataset.save_as(paths[number])

    result, rows = answer(tmp_path, *paths)
    statuses = [row.status for row in result.report]
    assert [number for number, one in enumerate(statuses) if one == "refused"] == sorted(bad)
    assert ("refused", Code.NOT_HU, TOO_HIGH) in rows
    assert [one.header["slices_unread"] for one in result.series] == [len(bad)]


def test_lost_intercept_of_a_multi_frame_file_is_told(tmp_path, slice_hu):
    many = enhanced_dataset(slice_hu)
    for groups in many.PerFrameFunctionalGroupsSequence:
        groups.PixelValueTransformationSequence[0].RescaleIntercept = 0
    many.save_as(tmp_path / "x", enforce_file_format=True)

    assert answer(tmp_path, tmp_path / "x")[1] == {("refused", Code.NOT_HU, TOO_HIGH)}


@pytest.mark.parametrize("padding", [-2000, -32768, 0, None])
def test_nifti_gets_the_same_sentence(tmp_path, slice_hu, padding):
    values = (slice_hu + 1024).astype(np.int16)
    if padding is not None:
        values[:, :20] = padding
    nibabel.Nifti1Image(values.T, np.eye(4)).to_filename(tmp_path / "x.nii.gz")

    assert answer(tmp_path, tmp_path / "x.nii.gz")[1] == {("refused", Code.NOT_HU, TOO_HIGH)}


@pytest.mark.parametrize("outside", [-32768, -20000, -np.inf, np.nan])
def test_what_is_outside_of_a_nifti_volume_is_air(tmp_path, slice_hu, outside):
    values = slice_hu.astype(np.float32)
    values[:, :20] = outside
    nibabel.Nifti1Image(values.T, np.eye(4)).to_filename(tmp_path / "x.nii.gz")
    result, rows = answer(tmp_path, tmp_path / "x.nii.gz")

    assert rows == {("accepted", "", "")}
    assert not result.series[0].notices


@pytest.mark.parametrize("padding", [4095, 20_000, 63536, 65535])
def test_padding_that_shines_is_air_even_if_it_is_not_told(tmp_path, slice_hu, padding):
    stored = (slice_hu[0] + 1024).astype(np.uint16)
    stored[:20] = stored[-20:] = padding
    ct_dataset(stored).save_as(tmp_path / "x", enforce_file_format=True)
    nibabel.Nifti1Image((stored.T[..., None] - 1024.0).astype(np.float32), np.eye(4)).to_filename(
        tmp_path / "y.nii"
    )
    for name in ("x", "y.nii"):
        (series,) = answer(tmp_path, tmp_path / name)[0].series
        pixels = load_volume(series.volume_path).pixels[0]

        assert np.array_equal(np.sort(pixels.ravel()), np.sort(expected(slice_hu[0]).ravel()))


def expected(pixels_hu):
    pixels_hu = pixels_hu.copy()
    pixels_hu[:20] = pixels_hu[-20:] = -1024
    return pixels_hu


def test_signed_data_called_unsigned_is_told(tmp_path, slice_hu):
    paths = write_series(tmp_path / "series", slice_hu - 1024, PixelRepresentation=0,
                         RescaleIntercept=0)  # fmt: skip

    assert {(status, code) for status, code, _ in answer(tmp_path, *paths)[1]} == {
        ("refused", Code.NOT_HU)
    }


def test_unsigned_data_called_signed_is_told(tmp_path, slice_hu):
    dense = slice_hu.copy()
    # Bone at both sides of the highest value that 12 bits hold with a sign.
    dense[:, 40:70, 40:70] = np.random.default_rng(1).normal(1024, 60, (3, 30, 30))
    signed, unsigned = (
        write_series(tmp_path / str(sign), dense, BitsStored=12, HighBit=11,
                     PixelRepresentation=sign)
        for sign in (1, 0)
    )  # fmt: skip
    (refused,) = answer(tmp_path, *signed)[1]

    assert refused[1] == Code.NOT_HU
    assert "Pixel Representation" in refused[2]
    assert answer(tmp_path, *unsigned)[1] == {("accepted", "", "")}


def test_values_without_any_scale_are_not_shown_by_a_window_for_others(tmp_path, slice_hu):
    stored = (slice_hu[0] + 1024).astype(np.int16)
    lost = {"RescaleSlope": None, "RescaleIntercept": None, "WindowWidth": 400}
    for name, center in (("x", 40), ("y", 1064)):
        one = ct_dataset(stored, **lost, WindowCenter=center)
        one.save_as(tmp_path / name, enforce_file_format=True)
    (refused,) = answer(tmp_path, tmp_path / "x")[1]

    assert refused[1] == Code.NOT_HU
    assert refused[2].startswith("The values are not Hounsfield units: ")
    # Its own window shows it rightly.
    assert answer(tmp_path, tmp_path / "y")[1] == {("accepted", "", "")}


def test_overlay_in_a_compressed_series_changes_nothing(tmp_path, slice_hu):
    plain = write_series(tmp_path / "plain", slice_hu, BitsStored=12, HighBit=11,
                         PixelRepresentation=0)  # fmt: skip
    found = []
    for overlay in (0, 0x1000, 0xF000):
        paths = []
        for path in plain:
            one = pydicom.dcmread(path)
            stored = np.frombuffer(one.PixelData, np.uint16).reshape(one.Rows, one.Columns)
            # The encoder is told that all bits are of the image, as scanners that did so were.
            one.BitsStored, one.HighBit = 16, 15
            one.PixelData = (
                np.where(stored > 1000, stored | overlay, stored).astype("<u2").tobytes()
            )
            one.compress(JPEG2000Lossless, generate_instance_uid=False)
            one.BitsStored, one.HighBit = 12, 11
            paths.append(tmp_path / f"{overlay}-{path.name}")
            one.save_as(paths[-1])
        (series,) = answer(tmp_path, *paths)[0].series
        found.append(series.volume_path.read_bytes()[: slice_hu.nbytes])

    assert found[0] == found[1] == found[2]


def test_series_cut_to_the_body_is_read_with_a_doubt(tmp_path):
    body = np.random.default_rng(1).normal(40, 40, (3, 128, 128)).astype(np.int16)
    paths = write_series(tmp_path / "series", body)
    (series,) = answer(tmp_path, *paths)[0].series

    assert Code.HU_DOUBTFUL in {notice.code for notice in series.notices}
    assert Code.HU_DOUBTFUL in {notice.code for notice in decode_file(paths[0]).notices}
