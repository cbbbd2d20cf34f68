"""One image alone says the same by way of `ingest` as it says to `decode_file`."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from detection.imaging.errors import Code
from detection.imaging.formats import decode_file
from detection.imaging.ingest import Sandbox, ingest
from detection.imaging.ingest.jobs import InProcess
from detection.imaging.volume import load_volume
from tests.imaging.synthetic import enhanced_dataset, png_bytes, write_ct

SAMPLES = sorted((Path(__file__).resolve().parents[2] / "samples").rglob("*.dcm"))
PIXELS_HU = np.arange(2 * 6 * 8, dtype=np.int16).reshape(2, 6, 8)
PLACE = {"ImagePositionPatient": [-10, -20, -30]}
# Seven degrees from a right angle: no place in the body, but a plane.
SKEWED = [1, 0, 0, float(np.sin(0.12)), float(np.cos(0.12)), 0]
CHANGES = {
    "placed": PLACE,
    "coronal": {**PLACE, "ImageOrientationPatient": [1, 0, 0, 0, 0, -1]},
    "sagittal": {**PLACE, "ImageOrientationPatient": [0, 1, 0, 0, 0, -1]},
    "lying the wrong way": {**PLACE, "ImageOrientationPatient": [-1, 0, 0, 0, -1, 0]},
    "rows for columns": {**PLACE, "ImageOrientationPatient": [0, 1, 0, 1, 0, 0]},
    "askew": {**PLACE, "ImageOrientationPatient": SKEWED},
    "axial without a position": {},
    "upside down without a scale": {
        **PLACE,
        "PixelSpacing": None,
        "ImageOrientationPatient": [-1, 0, 0, 0, -1, 0],
    },
    "rows for columns without a position": {"ImageOrientationPatient": [0, 1, 0, 1, 0, 0]},
    "coronal without a position": {"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]},
    "askew without a position": {"ImageOrientationPatient": SKEWED},
    "without an orientation": {**PLACE, "ImageOrientationPatient": None},
    "without a scale": {**PLACE, "PixelSpacing": None},
    "of no thickness": {**PLACE, "SliceThickness": None},
    "thick": {**PLACE, "SliceThickness": 8},
    "inverted": {**PLACE, "PhotometricInterpretation": "MONOCHROME1"},
    "lossy, with contrast": {"LossyImageCompression": "01", "ContrastBolusAgent": "IV"},
    "without HU": {
        "RescaleSlope": None,
        "RescaleIntercept": None,
        "WindowCenter": 40,
        "WindowWidth": 400,
    },
}


def assert_same(found, path):
    alone, (one,) = decode_file(path), found.series
    volume = load_volume(one.volume_path)
    # What is odd about its place is noticed where slices are put in order.
    planned = {Code.NO_POSITION, Code.NO_PIXEL_SIZE, Code.THICK_SLICES}
    told = [notice for notice in volume.notices if notice.code not in planned]
    assert told == list(alone.notices)
    assert replace(volume, notices=()).header() == replace(alone, notices=()).header()
    assert volume.pixels.dtype == alone.pixels.dtype
    assert np.array_equal(volume.pixels, alone.pixels)
    assert one.is_single_image


def test_samples_say_the_same(tmp_path):
    with Sandbox() as sandbox:
        for path in SAMPLES:
            assert_same(ingest([path], target_folder=tmp_path, worker=sandbox), path)

    assert len(SAMPLES) > 15


@pytest.mark.parametrize("name", CHANGES)
def test_slice_says_the_same(tmp_path, name):
    path = write_ct(tmp_path / "x", **CHANGES[name])

    assert_same(ingest([path], target_folder=tmp_path, worker=InProcess()), path)


def test_picture_says_the_same(tmp_path):
    rows = b"".join(b"\0" + bytes([9, 99, 199] * 5) for _ in range(4))
    path = tmp_path / "x"
    path.write_bytes(png_bytes(width=5, height=4, colour_type=2, rows=rows))

    assert_same(ingest([path], target_folder=tmp_path, worker=InProcess()), path)


def test_multi_frame_file_of_one_frame_is_a_single_image_and_one_of_several_is_not(tmp_path):
    enhanced_dataset(PIXELS_HU[:1]).save_as(tmp_path / "one", enforce_file_format=True)
    two = enhanced_dataset(PIXELS_HU)
    # Both lie at one place: their order in the file is all that is known.
    groups = two.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0]
    groups.ImagePositionPatient = [-10, -20, -30]
    two.save_as(tmp_path / "two", enforce_file_format=True)
    (one,), (both,) = (
        ingest([tmp_path / name], target_folder=tmp_path, worker=InProcess()).series
        for name in ("one", "two")
    )

    assert (one.is_single_image, one.header["slices"]) == (True, 1)
    assert (both.is_single_image, both.header["slices"]) == (False, 2)
    assert [notice.code for notice in both.notices] == [Code.ORDER_DOUBTFUL]
