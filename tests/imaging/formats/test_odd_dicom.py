"""Files that other programs write, against the standard or at its edge: read, or named as what
they are.
"""

import io

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from detection.imaging.errors import Code, ImageError
from detection.imaging.formats import HEAD_BYTES, Kind, decode_file, sniff
from detection.imaging.ingest import ingest
from detection.imaging.ingest.jobs import InProcess
from tests.imaging.synthetic import ct_dataset, enhanced_dataset, laid_out, write_ct

STORED = np.arange(34 * 36, dtype=np.int16).reshape(34, 36)
WANTED_HU = STORED - 1024
PLACE = {"ImagePositionPatient": [1, 2, 3]}
LAYOUTS = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)


def dataset(**changes):
    return ct_dataset(STORED, **{**PLACE, **changes})


def decoded(tmp_path, data):
    (tmp_path / "x").write_bytes(data)
    return decode_file(tmp_path / "x")


def refusal(tmp_path, data):
    with pytest.raises(ImageError) as caught:
        decoded(tmp_path, data)
    sentence = str(caught.value)
    assert len(sentence) <= 255
    assert "Please" in sentence
    return sentence, caught.value.code


def element(dataset, keyword, vr, value):
    """Replace an element by one of another value representation, in raw bytes or a value."""
    del dataset[keyword]
    dataset.add_new(keyword, vr, value)
    return dataset


# Preamble, meta group and encoding.


@pytest.mark.parametrize("syntax", LAYOUTS, ids=lambda uid: uid.name)
@pytest.mark.parametrize(
    ("preamble", "meta"), [(False, False), (False, True), (True, False)],
    ids=["neither preamble nor meta", "no preamble", "no meta"],
)  # fmt: skip
def test_dicom_without_preamble_or_meta_group_is_dicom(tmp_path, preamble, meta, syntax):
    data = laid_out(dataset(), preamble=preamble, meta=meta, told=syntax)

    assert sniff(data[:HEAD_BYTES]) is Kind.DICOM
    assert np.array_equal(decoded(tmp_path, data).pixels[0], WANTED_HU)


@pytest.mark.parametrize("syntax", LAYOUTS, ids=lambda uid: uid.name)
@pytest.mark.parametrize("meta", [True, False])
def test_mark_without_the_bytes_before_it_is_dicom(tmp_path, syntax, meta):
    data = laid_out(dataset(), meta=meta, told=syntax)[128:]

    assert sniff(data[:HEAD_BYTES]) is Kind.DICOM
    assert np.array_equal(decoded(tmp_path, data).pixels[0], WANTED_HU)


@pytest.mark.parametrize("found", LAYOUTS, ids=lambda uid: uid.name)
@pytest.mark.parametrize("preamble", [True, False])
def test_encoding_that_is_not_told_is_found(tmp_path, found, preamble):
    data = laid_out(dataset(), preamble=preamble, told=None, found=found)

    assert sniff(data[:HEAD_BYTES]) is Kind.DICOM
    assert np.array_equal(decoded(tmp_path, data).pixels[0], WANTED_HU)


@pytest.mark.parametrize("syntax", LAYOUTS, ids=lambda uid: uid.name)
def test_file_without_preamble_is_one_row_of_one_upload(tmp_path, syntax):
    named = dataset(PatientID="P1", StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.3.4")
    (tmp_path / "x").write_bytes(laid_out(named, preamble=False, meta=False, told=syntax))
    (tmp_path / "volumes").mkdir()
    result = ingest([tmp_path / "x"], target_folder=tmp_path / "volumes", worker=InProcess())

    assert [(row.status, row.code) for row in result.report] == [("accepted", "")]
    assert result.series[0].identifiers.patient_id == "P1"


@pytest.mark.parametrize("compressed", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_compressed_file_without_preamble_is_read_by_its_meta_group(tmp_path, compressed):
    packed = dataset()
    packed.compress(compressed, generate_instance_uid=False)
    data = laid_out(packed, preamble=False, told=compressed)

    assert np.array_equal(decoded(tmp_path, data).pixels[0], WANTED_HU)


def test_deflated_file_without_preamble_is_read(tmp_path):
    file = io.BytesIO()
    dataset(syntax=DeflatedExplicitVRLittleEndian).save_as(file, enforce_file_format=True)

    assert np.array_equal(decoded(tmp_path, file.getvalue()[132:]).pixels[0], WANTED_HU)


def test_compressed_file_that_names_no_compression_is_named(tmp_path):
    packed = dataset()
    packed.compress(JPEG2000Lossless, generate_instance_uid=False)
    sentence, code = refusal(tmp_path, laid_out(packed, told=None))

    assert "has no Transfer Syntax UID (0002,0010)" in sentence
    assert code is Code.ELEMENT_ABSENT


@pytest.mark.parametrize("told", LAYOUTS, ids=lambda uid: f"says {uid.name}")
@pytest.mark.parametrize("found", LAYOUTS, ids=lambda uid: f"is {uid.name}")
def test_encoding_is_believed_as_it_is_found(tmp_path, told, found):
    data = laid_out(dataset(), told=told, found=found)

    assert np.array_equal(decoded(tmp_path, data).pixels[0], WANTED_HU)


def test_header_of_a_compressed_file_may_be_implicit(tmp_path):
    packed = dataset()
    packed.compress(JPEG2000Lossless, generate_instance_uid=False)
    data = laid_out(packed, told=JPEG2000Lossless, found=ImplicitVRLittleEndian)

    assert np.array_equal(decoded(tmp_path, data).pixels[0], WANTED_HU)


def test_file_that_says_deflated_and_is_not_is_read(tmp_path):
    data = laid_out(dataset(), told=DeflatedExplicitVRLittleEndian, found=ExplicitVRLittleEndian)

    assert np.array_equal(decoded(tmp_path, data).pixels[0], WANTED_HU)


@pytest.mark.parametrize(
    ("packed", "told", "words"),
    [
        (True, ExplicitVRLittleEndian, "says that its pixels are uncompressed, but they are comp"),
        (False, JPEG2000Lossless, "says that its pixels are compressed, but they are uncompressed"),
        (False, RLELossless, "says that its pixels are compressed, but they are uncompressed"),
    ],
)
def test_pixels_that_are_stored_otherwise_are_told_as_that(tmp_path, packed, told, words):
    one = dataset()
    if packed:
        one.compress(JPEG2000Lossless, generate_instance_uid=False)

    assert words in refusal(tmp_path, laid_out(one, told=told, found=ExplicitVRLittleEndian))[0]


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"\x08\x00\x05\x00" + bytes(508), id="zeros"),
        pytest.param(b"\x08\x00" * 256, id="the same element again and again"),
        pytest.param(b"\x02\x00" + bytes(range(256)), id="any bytes"),
        pytest.param(b"\x08\x00\x60\x00CS\x02\x00CT\x08\x00\x05\x00CS\x0a\x00" + b"A" * 480,
                     id="elements in no order"),
        pytest.param(b"\x08\x00\x05\x00CS\xff\xffISO_IR 100" + bytes(490), id="too long a value"),
        pytest.param(b"\x00\x08\x00\x05" + b"text " * 100, id="text"),
    ],
)  # fmt: skip
def test_what_only_begins_like_dicom_is_none(head):
    with pytest.raises(ImageError) as caught:
        sniff(head[:HEAD_BYTES])

    assert caught.value.code is Code.NOT_AN_IMAGE


@pytest.mark.parametrize("share", [0.05, 0.1, 0.3, 0.9])
@pytest.mark.parametrize("syntax", LAYOUTS, ids=lambda uid: uid.name)
def test_file_without_preamble_that_ends_early_is_refused(tmp_path, syntax, share):
    data = laid_out(dataset(), preamble=False, meta=False, told=syntax)
    _, code = refusal(tmp_path, data[: int(len(data) * share)])

    assert code in {Code.DAMAGED, Code.NO_IMAGE, Code.ELEMENT_ABSENT}


# Numbers under other value representations.


@pytest.mark.parametrize(
    ("keyword", "vr", "value"),
    [
        ("PixelSpacing", "UT", "0.7\\0.8"),
        ("PixelSpacing", "LT", "0.7\\0.8 "),
        ("PixelSpacing", "LO", ["0.7", "0.8"]),
        ("PixelSpacing", "SH", ["0.7", "0.8"]),
        ("PixelSpacing", "FD", [0.7, 0.8]),
        ("PixelSpacing", "UN", b"0.7\\0.8 "),
        ("PixelSpacing", "OB", b"0.7\\0.8 "),
        ("SliceThickness", "IS", "3"),
        ("SliceThickness", "US", 3),
        ("SliceThickness", "FL", 3.0),
        ("RescaleIntercept", "IS", "-1024"),
        ("RescaleIntercept", "SS", -1024),
        ("RescaleIntercept", "SL", -1024),
        ("RescaleIntercept", "UT", "-1.024e3"),
        ("RescaleSlope", "FL", 1.0),
        ("RescaleSlope", "UC", "1.0"),
        ("Rows", "IS", "34"),
        ("Rows", "UL", 34),
        ("Columns", "SS", 36),
        ("BitsStored", "LO", "16"),
        ("PixelRepresentation", "SS", 1),
        ("ImagePositionPatient", "UT", "1\\2\\3"),
        ("ImageOrientationPatient", "UT", "1\\0\\0\\0\\1\\0"),
        ("ImageOrientationPatient", "FD", [1.0, 0, 0, 0, 1, 0]),
    ],
)
def test_number_under_another_vr_is_read(tmp_path, keyword, vr, value):
    as_usual = decoded(tmp_path, laid_out(dataset()))
    volume = decoded(tmp_path, laid_out(element(dataset(), keyword, vr, value)))

    assert volume.header() == as_usual.header()
    assert np.array_equal(volume.pixels, as_usual.pixels)


@pytest.mark.parametrize("vr", ["UT", "LO", "FD"])
def test_numbers_of_each_frame_are_read_under_another_vr(tmp_path, vr):
    many = enhanced_dataset(np.stack([WANTED_HU, WANTED_HU]))
    transform = many.PerFrameFunctionalGroupsSequence[0].PixelValueTransformationSequence[0]
    element(transform, "RescaleIntercept", vr, -1024.0 if vr == "FD" else "-1024")
    measures = many.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    element(measures, "PixelSpacing", vr, [0.7, 0.8] if vr == "FD" else "0.7\\0.8")
    many.save_as(tmp_path / "x", enforce_file_format=True)
    (tmp_path / "volumes").mkdir()
    (series,) = ingest(
        [tmp_path / "x"], target_folder=tmp_path / "volumes", worker=InProcess()
    ).series

    assert series.header["is_hu"]
    assert series.header["spacing_mm"][1:] == [0.7, 0.8]


@pytest.mark.parametrize(("told", "stored"), [("US", 63536), ("SS", -2000)])
@pytest.mark.parametrize("signed", [False, True])
def test_padding_value_is_read_by_the_sign_of_the_pixels(tmp_path, told, stored, signed):
    values = np.array([[63536, 1024]], np.uint16)
    one = ct_dataset(values, PixelRepresentation=int(signed))
    one.add_new("PixelPaddingValue", told, stored)
    volume = decoded(tmp_path, laid_out(one))

    # Below air it may stay as it is.
    assert volume.pixels.tolist() == [[[-3024 if signed else -1024, 0]]]


# The end of a compressed frame.


@pytest.mark.parametrize("padding", [b"\0", b"\0" * 200, b"\0" * 4097, b"\xff" * 99, b"\xff\0\0"])
@pytest.mark.parametrize(
    "syntax", [JPEG2000Lossless, JPEGLSLossless, RLELossless], ids=lambda uid: uid.name
)
def test_complete_stream_may_be_padded(tmp_path, syntax, padding):
    one = dataset()
    one.compress(syntax, generate_instance_uid=False)
    frame = pydicom.encaps.get_frame(one.PixelData, 0, number_of_frames=1)
    one.PixelData = encapsulate([frame.rstrip(b"\0") + padding])
    one["PixelData"].VR = "OB"
    data = laid_out(one, told=syntax)
    cut = dataset()
    cut.PixelData = encapsulate([frame[: len(frame) * 2 // 3] + padding])
    cut["PixelData"].VR = "OB"

    assert np.array_equal(decoded(tmp_path, data).pixels[0], WANTED_HU)
    assert refusal(tmp_path, laid_out(cut, told=syntax))[1] is Code.DAMAGED


# Elements that are absent, malformed, or in a file that is damaged.


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")
@pytest.mark.parametrize(
    "changes",
    [
        {"PhotometricInterpretation": None},
        {"PhotometricInterpretation": ""},
        {"SamplesPerPixel": None},
        {"SamplesPerPixel": None, "PhotometricInterpretation": None},
        {"PhotometricInterpretation": "monochrome1"},
        {"HighBit": None},
        {"Modality": None},
        {"Modality": ""},
        {"Modality": "ct"},
        {"SOPClassUID": None},
        {"ImageType": None},
    ],
)
def test_what_can_safely_be_supposed_is(tmp_path, changes):
    volume = decoded(tmp_path, laid_out(dataset(**changes)))

    assert np.array_equal(volume.pixels[0], WANTED_HU)


REQUIRED = {
    "Rows": "Rows (0028,0010)",
    "Columns": "Columns (0028,0011)",
    "BitsAllocated": "Bits Allocated (0028,0100)",
    "BitsStored": "Bits Stored (0028,0101)",
    "PixelRepresentation": "Pixel Representation (0028,0103)",
}


@pytest.mark.parametrize("keyword", REQUIRED)
def test_absent_element_is_named(tmp_path, keyword):
    sentence, code = refusal(tmp_path, laid_out(dataset(**{keyword: None})))

    assert f"The DICOM file has no {REQUIRED[keyword]}." in sentence
    assert code is Code.ELEMENT_ABSENT


def test_absent_modality_of_an_image_that_is_not_said_to_be_ct_is_named(tmp_path):
    one = dataset(Modality=None, SOPClassUID="1.2.840.10008.5.1.4.1.1.7")

    assert "has no Modality (0008,0060)." in refusal(tmp_path, laid_out(one))[0]


def test_absent_image_is_named(tmp_path):
    sentence, code = refusal(tmp_path, laid_out(dataset(PixelData=None)))

    assert "it has no Pixel Data (7FE0,0010)" in sentence
    assert code is Code.NO_IMAGE


@pytest.mark.parametrize("lost", ["RescaleSlope", "RescaleIntercept"])
def test_half_a_scale_gives_no_hounsfield_units(tmp_path, lost):
    one = dataset(**{lost: None}, WindowCenter=40, WindowWidth=400)
    sentence, code = refusal(tmp_path, laid_out(one))

    assert "not Hounsfield units: the DICOM file has no Rescale " in sentence
    assert code is Code.NOT_HU


@pytest.mark.parametrize("value", ["abc", "", "1\\2", "-5", "nan", "inf", "1.5", "0x10", "1_0"])
@pytest.mark.parametrize("keyword", REQUIRED)
def test_malformed_element_is_named(tmp_path, keyword, value):
    one = element(dataset(), keyword, "UT", value)
    sentence, code = refusal(tmp_path, laid_out(one))

    assert f"The DICOM file has a malformed {REQUIRED[keyword]}." in sentence
    assert code is Code.ELEMENT_MALFORMED


@pytest.mark.parametrize("value", ["abc", "", "1\\2", "nan", "inf", "1e999", "1,5"])
@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
def test_malformed_scale_is_named(tmp_path, keyword, value):
    one = element(dataset(), keyword, "UT", value)
    sentence, code = refusal(tmp_path, laid_out(one))

    assert "malformed Rescale " in sentence
    assert code is Code.ELEMENT_MALFORMED


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("NumberOfFrames", "many"), ("NumberOfFrames", "0"), ("SamplesPerPixel", "one"),
     ("HighBit", "x"), ("PixelRepresentation", "2"), ("RescaleSlope", "0")],
)  # fmt: skip
def test_other_impossible_values_are_named(tmp_path, keyword, value):
    one = dataset()
    one.add_new(keyword, "UT", value)

    assert refusal(tmp_path, laid_out(one))[1] is Code.ELEMENT_MALFORMED


@pytest.mark.parametrize("value", ["abc", "1", "nan\\nan\\nan", "", "1\\2\\3\\4\\5\\6\\7"])
@pytest.mark.parametrize(
    "keyword",
    ["PixelSpacing", "SliceThickness", "ImagePositionPatient", "ImageOrientationPatient"],
)
def test_malformed_place_is_as_none(tmp_path, keyword, value):
    one = element(dataset(), keyword, "UT", value)

    assert np.array_equal(decoded(tmp_path, laid_out(one)).pixels[0], WANTED_HU)


def test_three_faults_are_three_sentences(tmp_path):
    good = laid_out(dataset())
    sentences = {
        refusal(tmp_path, laid_out(dataset(BitsStored=None))),
        refusal(tmp_path, laid_out(element(dataset(), "BitsStored", "UT", "x"))),
        refusal(tmp_path, good[: len(good) - 20]),
    }

    assert len({code for _, code in sentences}) == 3


def test_colour_that_is_not_said_is_not_read_as_grey(tmp_path):
    one = dataset(SamplesPerPixel=None, PhotometricInterpretation=None)
    one.PixelData = one.PixelData * 3

    assert "has no Samples per Pixel (0028,0002)" in refusal(tmp_path, laid_out(one))[0]


def test_a_table_of_contents_without_preamble_is_told_as_that(tmp_path):
    one = Dataset()
    one.update(dataset())
    data = laid_out(one, preamble=False).replace(
        b"1.2.840.10008.5.1.4.1.1.2\0", b"1.2.840.10008.1.3.10\0\0\0\0\0\0", 1
    )

    assert refusal(tmp_path, data)[1] is Code.DICOMDIR


def test_numbers_do_not_change_what_is_written_as_usual(tmp_path):
    assert np.array_equal(decode_file(write_ct(tmp_path / "x", STORED)).pixels[0], WANTED_HU)
