import itertools
import zipfile
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from detection.imaging.errors import Code
from detection.imaging.ingest import choose_series, ingest
from detection.imaging.ingest.jobs import InProcess
from detection.imaging.ingest.result import IngestedSeries
from detection.imaging.limits import Limits
from detection.imaging.volume import load_volume
from tests.imaging.synthetic import enhanced_dataset, write_ct, write_series
from tests.properties import quick

SEVEN = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
    JPEG2000Lossless,
    JPEGLSLossless,
)
# Every element is different, so that none can be at a wrong place unseen.
PIXELS_HU = np.random.default_rng(4).permutation(5 * 32 * 34).reshape(5, 32, 34) - 900
SHUFFLED = ["c", "a", "e", "b", "d"]
TILTED = np.deg2rad(10)
ORIENTATIONS = {
    "axial": ((1, 0, 0, 0, 1, 0), (0, 0, 2.0)),
    "axial from above": ((1, 0, 0, 0, 1, 0), (0, 0, -2.0)),
    "axial prone": ((-1, 0, 0, 0, -1, 0), (0, 0, 2.0)),
    "axial mirrored": ((-1, 0, 0, 0, 1, 0), (0, 0, 2.0)),
    "axial on its side": ((0, 1, 0, 1, 0, 0), (0, 0, 2.0)),
    "coronal": ((1, 0, 0, 0, 0, -1), (0, 2.0, 0)),
    "coronal upside down": ((-1, 0, 0, 0, 0, 1), (0, -2.0, 0)),
    "sagittal": ((0, 1, 0, 0, 0, -1), (2.0, 0, 0)),
    "oblique": (
        (np.cos(TILTED), np.sin(TILTED), 0, -np.sin(TILTED), np.cos(TILTED), 0),
        (0, 0, 2.0),
    ),
}


@pytest.fixture
def read(tmp_path):
    """Reads paths in this process; the volumes are below `volumes`."""
    folder = tmp_path / "volumes"
    folder.mkdir()

    def run(*paths, **limits):
        limits = Limits(**limits)
        result = ingest(paths, target_folder=folder, limits=limits, worker=InProcess(limits=limits))
        left = {path.name for path in folder.iterdir()}
        assert left >= {series.volume_path.name for series in result.series}
        assert not [name for name in left if name.startswith(".")]
        return result

    return run


def only(result):
    (series,) = result.series
    return series, load_volume(series.volume_path)


def codes(series):
    return [notice.code for notice in series.notices]


def answers(result):
    return [(row.member or row.name, row.status, row.code) for row in result.report]


def value_at(volume, place_lps):
    column, row, slice_index, _ = np.linalg.inv(volume.affine_lps) @ [*place_lps, 1]
    index = np.array([slice_index, row, column])
    assert np.allclose(index, np.rint(index), atol=0.01)
    return int(volume.pixels[tuple(np.rint(index).astype(int))])


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_every_voxel_lies_where_simpleitk_says(tmp_path, read, name):
    orientation, step = ORIENTATIONS[name]
    folder = tmp_path / "in"
    write_series(folder, PIXELS_HU, orientation=orientation, step=step, names=SHUFFLED)
    series, volume = only(read(folder))
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    reference = sitk.GetArrayFromImage(image)

    for z, y, x in itertools.product((0, 2, 4), (0, 7, 31), (0, 5, 33)):
        place = image.TransformIndexToPhysicalPoint((x, y, z))
        assert value_at(volume, place) == reference[z, y, x]
    assert volume.plane == name.split()[0].replace("oblique", "axial")
    assert np.allclose(sorted(volume.spacing_mm), sorted(image.GetSpacing()))
    assert codes(series) == []


def test_feet_first_and_head_first_series_become_the_same_volume(tmp_path, read):
    write_series(tmp_path / "up", PIXELS_HU)
    write_series(tmp_path / "down", PIXELS_HU[::-1], origin=(-10, -20, -22), step=(0, 0, -2.0))
    _, up = only(read(tmp_path / "up"))
    _, down = only(read(tmp_path / "down"))

    assert np.array_equal(up.pixels, PIXELS_HU)
    assert np.array_equal(down.pixels, PIXELS_HU)
    assert up.header() == down.header()


def test_seven_encodings_give_the_same_voxels(tmp_path, read):
    for number, syntax in enumerate(SEVEN):
        write_series(tmp_path / str(number), PIXELS_HU, syntax=syntax, names=SHUFFLED)
        _, volume = only(read(tmp_path / str(number)))

        assert np.array_equal(volume.pixels, PIXELS_HU), syntax.name
        assert volume.notices == ()


def test_rescale_is_that_of_each_slice(tmp_path, read):
    pixels_hu = np.stack([np.full((4, 4), value, np.int16) for value in (0, 100, 200)])
    write_series(
        tmp_path / "in",
        pixels_hu,
        each=lambda i: {"RescaleSlope": 2, "RescaleIntercept": -1024 * 2 + i} if i else {},
    )
    _, volume = only(read(tmp_path / "in"))

    assert volume.pixels[:, 0, 0].tolist() == [0, 201, 402]


@pytest.mark.parametrize("syntax", SEVEN)
def test_enhanced_multi_frame_is_a_series(tmp_path, read, syntax):
    pixels_hu = (PIXELS_HU // 4) * 4
    dataset = enhanced_dataset(
        pixels_hu, order=[3, 0, 4, 1, 2], slopes=[1, 2, 1, 4, 1], syntax=syntax
    )
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
        dataset["PixelData"].VR = "OW"
    dataset.save_as(tmp_path / "x", enforce_file_format=True)
    series, volume = only(read(tmp_path / "x"))

    assert np.array_equal(volume.pixels, pixels_hu)
    assert volume.spacing_mm == (2, 0.7, 0.8)
    assert np.array(volume.affine_lps)[:3, 3].tolist() == [-10, -20, -30]
    assert series.is_original


def test_multi_frame_that_does_not_say_where_its_frames_lie_is_refused(tmp_path, read):
    dataset = enhanced_dataset(PIXELS_HU)
    del dataset.PerFrameFunctionalGroupsSequence
    dataset.save_as(tmp_path / "x", enforce_file_format=True)

    assert answers(read(tmp_path / "x")) == [("x", "refused", Code.MULTI_FRAME)]


def test_each_picture_stays_a_series_of_its_own(tmp_path, read):
    for name in ("a.png", "b.png"):
        Image.fromarray(np.full((4, 6), 9, np.uint8)).save(tmp_path / name)
    result = read(tmp_path / "a.png", tmp_path / "b.png")

    assert [series.description for series in result.series] == ["picture", "picture"]
    assert [series.source_indices for series in result.series] == [(0,), (1,)]
    assert len({series.group for series in result.series}) == 2
    assert answers(result) == [("a.png", "accepted", ""), ("b.png", "accepted", "")]


def test_several_series_of_one_study_are_told_and_a_localiser_is_skipped(tmp_path, read):
    write_series(tmp_path / "in/one", PIXELS_HU)
    write_series(tmp_path / "in/two", PIXELS_HU, series="1.2.3.5", SliceThickness=1)
    write_ct(tmp_path / "in/scout", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    write_ct(tmp_path / "in/mr", Modality="MR")
    (tmp_path / "in/.DS_Store").write_bytes(b"x")
    result = read(tmp_path / "in")

    assert [series.rows for series in result.series] == [
        (2, 3, 4, 5, 6),
        (8, 9, 10, 11, 12),
    ]
    assert result.series[0].study == result.series[1].study
    assert all(codes(series) == [Code.SEVERAL_SERIES] for series in result.series)
    assert [answer for answer in answers(result) if answer[1] != "accepted"] == [
        (".DS_Store", "skipped", Code.SYSTEM_FILE),
        ("mr", "refused", Code.NOT_CT),
        ("scout", "skipped", Code.LOCALISER),
    ]
    assert "Please" in result.report[1].advice
    assert "Please" not in result.report[1].reason


def test_nested_archives_and_folders_are_one_upload(tmp_path, read):
    paths = write_series(tmp_path / "in", PIXELS_HU)
    inner = tmp_path / "inner.zip"
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in paths[:2]:
            archive.write(path, f"deep/er/{path.name}")
    outer = tmp_path / "outer.zip"
    with zipfile.ZipFile(outer, "w") as archive:
        archive.mkdir("empty")
        archive.write(inner, "x/inner.zip")
        archive.write(paths[2], "three")
    result = read(*paths[3:], outer)
    series, volume = only(result)

    assert np.array_equal(volume.pixels, PIXELS_HU)
    assert series.source_indices == (0, 1, 2)
    assert [row.member for row in result.report] == [
        "",
        "",
        "three",
        "x/inner.zip/deep/er/0000",
        "x/inner.zip/deep/er/0001",
    ]


def test_slices_that_cannot_be_read_are_left_out_and_named(tmp_path, read):
    paths = write_series(tmp_path / "in", PIXELS_HU, syntax=JPEG2000Lossless)
    data = paths[1].read_bytes()
    paths[1].write_bytes(data[:-300] + bytes(300))
    result = read(tmp_path / "in")
    series, volume = only(result)

    assert volume.pixels.shape[0] == 4
    # The gap is told once, with its cause.
    assert codes(series) == [Code.SLICES_LEFT_OUT]
    assert volume.slices_unread == 1
    assert not volume.is_evenly_spaced
    assert [row.status for row in result.report] == ["accepted", "refused", *["accepted"] * 3]


def test_identifiers_come_in_a_record_of_their_own_and_nowhere_else(tmp_path, read):
    planted = {
        "PatientName": "PLANTED^NAME",
        "PatientID": "PLANTED-ID",
        "PatientBirthDate": "19510203",
        "AccessionNumber": "PLANTED-ACC",
        "PatientAddress": "PLANTED STREET",
        "SeriesDescription": "PLANTED DESCRIPTION",
        "ImageComments": "PLANTED COMMENT",
    }
    write_series(tmp_path / "in", PIXELS_HU, **planted)
    result = read(tmp_path / "in")
    series, _ = only(result)

    assert astuple(series.identifiers) == (
        "PLANTED-ID",
        "PLANTED^NAME",
        "19510203",
        "PLANTED-ACC",
        "1.2.3",
    )
    elsewhere = repr((series.header, series.group, series.study, series.notices))
    elsewhere += series.description + repr(result.report)
    stored = series.volume_path.read_bytes()
    for word in ("PLANTED", "19510203", "1.2.3"):
        assert word not in elsewhere
        assert word.encode() not in stored


def test_two_patients_never_share_a_series(tmp_path, read):
    write_series(
        tmp_path / "in", PIXELS_HU[:4], each=lambda i: {"PatientID": "a" if i < 2 else "b"}
    )

    assert [series.header["slices"] for series in read(tmp_path / "in").series] == [2, 2]


def test_links_in_a_folder_are_not_followed(tmp_path, read):
    write_ct(tmp_path / "x")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/link").symlink_to(tmp_path / "x")

    assert answers(read(tmp_path / "in")) == [("link", "refused", Code.LINK)]


def test_too_many_files_are_refused_and_the_first_read(tmp_path, read):
    write_series(tmp_path / "in", PIXELS_HU)
    result = read(tmp_path / "in", max_files=3)

    assert only(result)[1].pixels.shape[0] == 3
    assert answers(result)[3:] == [("0003", "refused", Code.TOO_MANY_FILES)]


@pytest.mark.parametrize(
    "changes",
    [
        {"count": 1, "SpacingBetweenSlices": "1e200"},
        {"count": 1, "SliceThickness": "1e308"},
        {"count": 3, "step": (0, 0, 1e160)},
        {"count": 3, "origin": (1e307, 1e307, -6e307), "step": (0, 0, 4e307)},
    ],
    ids=["one slice", "one thick slice", "a series", "a series far away"],
)
def test_slices_at_no_place_are_refused_and_the_others_read(tmp_path, read, changes):
    changes = dict(changes)
    pixels_hu = PIXELS_HU[: changes.pop("count")]
    bad = write_series(tmp_path / "bad", pixels_hu, series="1.2.3.5", **changes)
    write_series(tmp_path / "good", PIXELS_HU)
    result = read(tmp_path / "bad", tmp_path / "good")

    assert only(result)[1].pixels.shape[0] == 5
    assert answers(result)[: len(bad)] == [(p.name, "refused", Code.DAMAGED) for p in bad]


def test_missing_file_is_a_row_of_the_report(tmp_path, read):
    assert answers(read(tmp_path / "nothing")) == [("nothing", "refused", Code.UNREADABLE)]


@pytest.mark.parametrize("damage", range(4))
def test_copy_stands_in_for_a_file_that_cannot_be_read(tmp_path, read, damage):
    paths = write_series(tmp_path / "in", PIXELS_HU, syntax=JPEG2000Lossless)
    whole = paths[1].read_bytes()
    (tmp_path / "in/copy").write_bytes(whole)
    paths[1].write_bytes(whole[:-300] + bytes([damage]) * 300)
    result = read(tmp_path / "in")
    series, volume = only(result)

    assert np.array_equal(volume.pixels, PIXELS_HU)
    assert (codes(series), volume.slices_unread) == ([Code.DUPLICATE_SLICE], 0)
    # Which of the two is read first is not known: their headers are the same.
    assert result.report[1].status in ("refused", "skipped")
    assert [row.status for row in result.report if row.member != "0001"] == ["accepted"] * 5


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, RLELossless])
def test_slices_that_were_compressed_again_are_read_once(tmp_path, read, syntax):
    write_series(tmp_path / "a", PIXELS_HU)
    write_series(tmp_path / "b", PIXELS_HU, syntax=syntax)
    series, volume = only(read(tmp_path / "a", tmp_path / "b"))

    assert np.array_equal(volume.pixels, PIXELS_HU)
    assert codes(series) == [Code.DUPLICATE_SLICE]


TWO_SCANS = {
    "acquisition": lambda scan, i: {"AcquisitionNumber": scan + 1},
    "acquisition time": lambda scan, i: {
        "AcquisitionDate": "20240102",
        "AcquisitionTime": f"10{scan:02}0{i}.5",
    },
    "acquisition time at midnight": lambda scan, i: {
        "AcquisitionDateTime": f"2024010{1 + scan}{'000000' if scan else '235959'}.{i}+0100"
    },
    "content time": lambda scan, i: {"ContentTime": f"1{scan}000{i}"},
    "kVp": lambda scan, i: {"KVP": 100 + 20 * scan},
    "contrast": lambda scan, i: {"ContrastBolusAgent": ("NONE", "IV")[scan]},
    "runs of numbers": lambda scan, i: {"InstanceNumber": 5 * scan + i + 1},
}


@pytest.mark.parametrize("name", TWO_SCANS)
@settings(quick, max_examples=6)
@given(order=st.permutations(range(10)))
def test_two_scans_in_one_series_whatever_their_files_are_called(tmp_path_factory, name, order):
    folder = tmp_path_factory.mktemp("scans")
    difference = TWO_SCANS[name]
    # Without a number of its own only `name` tells the slices of a place apart.
    for scan in (0, 1):
        write_series(
            folder / "in",
            PIXELS_HU + scan,
            names=[f"{order[5 * scan + i]}" for i in range(5)],
            each=lambda i, scan=scan: {
                "SOPInstanceUID": f"1.2.3.4.{scan + 1}.{i}",
                "InstanceNumber": 1,
                **difference(scan, i),
            },
        )
    (folder / "volumes").mkdir()
    result = ingest([folder / "in"], target_folder=folder / "volumes", worker=InProcess())
    found = [load_volume(series.volume_path) for series in result.series]

    assert sorted(int((one.pixels - PIXELS_HU).max()) for one in found) == [0, 1]
    assert sorted(int((one.pixels - PIXELS_HU).min()) for one in found) == [0, 1]
    assert all(Code.SEVERAL_ACQUISITIONS in codes(series) for series in result.series)
    # Which one is read first is said by the headers too.
    chosen = found[choose_series(result.series)]
    assert np.array_equal(chosen.pixels, PIXELS_HU)


def test_scans_of_a_multi_frame_file_are_parted(tmp_path, read):
    dataset = enhanced_dataset(np.concatenate([PIXELS_HU, PIXELS_HU + 1]))
    for index, groups in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        place = groups.PlanePositionSequence[0]
        place.ImagePositionPatient = [-10, -20, -30 + 2.0 * (index % 5)]
        groups.FrameContentSequence[0].TemporalPositionIndex = 1 + index // 5
    dataset.save_as(tmp_path / "x", enforce_file_format=True)
    one, other = read(tmp_path / "x").series

    assert np.array_equal(load_volume(one.volume_path).pixels, PIXELS_HU)
    assert np.array_equal(load_volume(other.volume_path).pixels, PIXELS_HU + 1)
    assert one.rows == other.rows == (0,)


def test_malformed_numbers_that_only_help_to_sort_refuse_nothing(tmp_path, read):
    paths = write_series(tmp_path / "in", PIXELS_HU, AcquisitionTime="101010", KVP=120)
    for path in paths:
        data = path.read_bytes()
        for told in (b"101010", b"120"):
            assert told in data
            data = data.replace(told, b"x" * len(told))
        path.write_bytes(data)

    assert np.array_equal(only(read(tmp_path / "in"))[1].pixels, PIXELS_HU)


def test_reconstructions_of_one_scan_share_its_key(tmp_path, read):
    scan = {"AcquisitionNumber": 1, "AcquisitionTime": "101010", "KVP": 120}
    scan |= {"FrameOfReferenceUID": "1.2.9"}
    write_series(tmp_path / "in/soft", PIXELS_HU, **scan, ConvolutionKernel="B30f")
    write_series(tmp_path / "in/sharp", PIXELS_HU, series="1.2.3.5", **scan)
    scan["AcquisitionNumber"] = 2
    write_series(tmp_path / "in/later", PIXELS_HU, series="1.2.3.6", **scan)
    del scan["KVP"]
    write_series(tmp_path / "in/untold", PIXELS_HU, series="1.2.3.7", **scan)
    later, sharp, soft, untold = [series.scan for series in read(tmp_path / "in").series]

    assert soft == sharp != later
    assert (len(later), untold) == (32, "")


def series_of(**header):
    is_original = header.pop("is_original", True)
    is_contrast_told = header.pop("is_contrast_told", False)
    order = header.pop("order", 0)
    header = {"plane": "axial", "is_hu": True, "slices": 100, "spacing_mm": [1.0, 1, 1]} | header
    return IngestedSeries(
        volume_path=Path(),
        header=header,
        kind="dicom",
        study="",
        group="",
        description="",
        is_original=is_original,
        notices=(),
        rows=(),
        source_indices=(),
        is_contrast_told=is_contrast_told,
        order=order,
    )


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({}, {"plane": "coronal", "slices": 400}),
        ({"plane": "coronal"}, {"plane": "sagittal"}),
        ({}, {"is_hu": False}),
        ({}, {"is_original": False}),
        ({"slices": 300}, {"spacing_mm": [3.0, 1, 1]}),
        ({"spacing_mm": [3.0, 1, 1]}, {"spacing_mm": [5.0, 1, 1], "slices": 60}),
        # Thin slices of a small part of the body are not the scan.
        ({"spacing_mm": [3.0, 1, 1]}, {"slices": 20}),
        ({"slices": 300}, {"slices": 200}),
        ({}, {"spacing_mm": None, "slices": 1}),
        ({}, {"is_ordered": False, "slices": 200}),
        ({"spacing_mm": [3.0, 1, 1]}, {"is_contrast_told": True, "slices": 300}),
        ({"is_contrast_told": True}, {"slices": 40}),
        ({}, {"order": 1}),
    ],
)
def test_series_that_suits_best_is_chosen(better, worse):
    assert choose_series([series_of(**better), series_of(**worse)]) == 0
    assert choose_series([series_of(**worse), series_of(**better)]) == 1


def test_the_first_of_equals_is_chosen():
    assert choose_series([series_of(), series_of()]) == 0
