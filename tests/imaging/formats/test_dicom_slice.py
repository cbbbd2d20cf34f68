from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from detection.imaging.errors import Code, ImageError
from detection.imaging.formats import decode_file
from detection.imaging.limits import Limits
from detection.imaging.window import grey_slice
from tests.imaging.synthetic import ct_dataset, write_ct

ENCODINGS = Path(__file__).resolve().parents[2] / "samples" / "ct_encodings"
J2K = ENCODINGS / "JPEG2000LosslessOnly_1.2.840.10008.1.2.4.90.dcm"
AXIAL = [1, 0, 0, 0, 1, 0]


def refusal_of(path, **limits):
    with pytest.raises(ImageError) as caught:
        decode_file(path, limits=Limits(**limits))
    sentence = str(caught.value)
    assert len(sentence) <= 255
    assert sentence.endswith(".")
    return sentence


@pytest.mark.parametrize(
    ("slope", "intercept", "stored", "hu"),
    [
        (1, -1024, [0, 1024, 2048], [-1024, 0, 1024]),
        (2, 0, [-512, 0, 100], [-1024, 0, 200]),
        (0.5, -0.25, [3, -3, 2], [1, -2, 1]),
        # What does not fit is clipped, never wrapped.
        (10, 0, [30000, -30000, 1], [32767, -32768, 10]),
        (-1, 100, [0, 100, 200], [100, 0, -100]),
    ],
)
def test_hu_are_slope_times_stored_plus_intercept(tmp_path, slope, intercept, stored, hu):
    path = write_ct(
        tmp_path / "x", np.array([stored], np.int16), RescaleSlope=slope, RescaleIntercept=intercept
    )
    volume = decode_file(path)

    assert volume.is_hu
    assert volume.pixels.dtype == np.int16
    assert volume.pixels.tolist() == [[hu]]


def test_12_bits_are_read_without_what_stands_in_the_other_four(tmp_path):
    stored = np.array([[0xF000 | 1000, 0x0FFF, 0xA000]], np.uint16)
    path = write_ct(tmp_path / "x", stored, BitsStored=12, HighBit=11)

    assert decode_file(path).pixels.tolist() == [[[1000 - 1024, 4095 - 1024, -1024]]]


def test_signed_12_bits_keep_their_sign(tmp_path):
    stored = np.array([[0x0FFF, 0x0800, 5]], np.int16)
    path = write_ct(tmp_path / "x", stored, BitsStored=12, HighBit=11, RescaleIntercept=0)

    assert decode_file(path).pixels.tolist() == [[[-1, -2048, 5]]]


def test_monochrome1_shows_bone_white_and_air_black(tmp_path):
    # Air, water, bone: the photometric interpretation never changes what the values measure.
    stored = np.array([[24, 1024, 2024]], np.uint16)
    volumes = [
        decode_file(write_ct(tmp_path / name, stored, PhotometricInterpretation=name))
        for name in ("MONOCHROME1", "MONOCHROME2")
    ]

    assert volumes[0].pixels.tolist() == [[[-1000, 0, 1000]]]
    assert np.array_equal(volumes[0].pixels, volumes[1].pixels)
    assert grey_slice(volumes[0], 0).tolist() == [[0, 102, 255]]


def test_monochrome1_stored_upside_down_comes_right_by_its_negative_slope(tmp_path):
    stored = np.array([[2024, 1024, 24]], np.uint16)
    path = write_ct(
        tmp_path / "x",
        stored,
        PhotometricInterpretation="MONOCHROME1",
        RescaleSlope=-1,
        RescaleIntercept=1024,
    )

    assert decode_file(path).pixels.tolist() == [[[-1000, 0, 1000]]]


@pytest.mark.parametrize(
    ("photometric", "grey"),
    [("MONOCHROME2", [0, 100, 255]), ("MONOCHROME1", [255, 155, 0])],
)
def test_8_bit_picture_in_dicom_is_grey_without_hu(tmp_path, photometric, grey):
    path = write_ct(
        tmp_path / "x",
        np.array([[0, 100, 255, 0]], np.uint8),
        PhotometricInterpretation=photometric,
        RescaleSlope=None,
        RescaleIntercept=None,
    )
    volume = decode_file(path)

    assert not volume.is_hu
    assert volume.pixels[0, 0, :3].tolist() == grey
    assert "Hounsfield units are lost" in volume.notices[0].text


def test_16_bits_without_scale_are_shown_by_the_window_of_the_file(tmp_path):
    path = write_ct(
        tmp_path / "x",
        np.array([[0, 500, 1000]], np.int16),
        RescaleSlope=None,
        RescaleIntercept=None,
        WindowCenter=[500, 40],
        WindowWidth=[1000, 400],
    )
    volume = decode_file(path)

    assert not volume.is_hu
    assert volume.pixels.tolist() == [[[0, 128, 255]]]
    assert "lost" in volume.notices[0].text
    assert volume.notices[0].code == Code.HU_UNKNOWN


def test_padding_that_would_shine_is_air(tmp_path):
    stored = np.array([[63536, 1024, 63536]], np.uint16)
    path = write_ct(tmp_path / "x", stored, PixelPaddingValue=63536)

    assert decode_file(path).pixels.tolist() == [[[-1024, 0, -1024]]]


def test_padding_below_air_stays_as_it_is(tmp_path):
    stored = np.array([[-2000, 1024]], np.int16)
    path = write_ct(tmp_path / "x", stored, PixelPaddingValue=-2000)

    assert decode_file(path).pixels.tolist() == [[[-3024, 0]]]


@pytest.mark.parametrize("unit", ["HU", "US", "Houndsfield Unit", "hu"])
def test_unit_may_be_misspelt(tmp_path, unit):
    assert decode_file(write_ct(tmp_path / "x", RescaleType=unit)).is_hu


@pytest.mark.parametrize(
    ("orientation", "plane"),
    [
        (AXIAL, "axial"),
        ([-1, 0, 0, 0, -1, 0], "axial"),
        ([1, 0, 0, 0, 0, -1], "coronal"),
        ([0, 1, 0, 0, 0, -1], "sagittal"),
        # Tilted about the x axis by 25 and by 40 degrees.
        ([1, 0, 0, 0, 0.9063, 0.4226], "axial"),
        ([1, 0, 0, 0, 0.7660, 0.6428], "unknown"),
        ([1, 0, 0, 1, 0, 0], "unknown"),
        ([0, 0, 0, 0, 0, 0], "unknown"),
        ([1, 0, 0], "unknown"),
        (None, "unknown"),
    ],
)
def test_plane_is_the_axis_nearest_to_the_normal(tmp_path, orientation, plane):
    path = write_ct(tmp_path / "x", ImageOrientationPatient=orientation)

    assert decode_file(path).plane == plane


@pytest.mark.parametrize(
    ("changes", "spacing_mm"),
    [
        ({}, (3.0, 0.7, 0.8)),
        ({"SpacingBetweenSlices": 2.5}, (2.5, 0.7, 0.8)),
        ({"SliceThickness": None}, (0.0, 0.7, 0.8)),
        ({"PixelSpacing": None}, None),
        ({"PixelSpacing": [0.7]}, None),
        ({"PixelSpacing": [0, 0]}, None),
        ({"PixelSpacing": [-0.7, 0.7]}, None),
        ({"PixelSpacing": [700, 700]}, None),
    ],
)
def test_spacing_is_believed_if_it_can_be(tmp_path, changes, spacing_mm):
    assert decode_file(write_ct(tmp_path / "x", **changes)).spacing_mm == spacing_mm


def test_once_lossy_is_lossy_for_good(tmp_path):
    volume = decode_file(write_ct(tmp_path / "x", LossyImageCompression="01"))

    assert len(volume.notices) == 1
    assert "lossy" in volume.notices[0].text
    assert volume.notices[0].code == Code.LOSSY


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"Modality": "MR"}, "not a CT image (its modality is MR)"),
        ({"Modality": "X1"}, "not a CT image. "),
        ({"Modality": "CT1"}, "not a CT image. "),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localiser"),
        ({"NumberOfFrames": 40}, "40 images in one"),
        ({"PixelData": None}, "holds no image"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "in colour"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "in colour"),
        ({"PhotometricInterpretation": "MONOCHROME3"}, "what its grey values mean"),
        ({"RescaleSlope": None, "RescaleIntercept": None}, "does not say how its values become"),
        ({"RescaleType": "Z_EFF"}, "another measure"),
        ({"Rows": 0}, "no pixels"),
        ({"Rows": 12}, "part of its image is missing"),
        ({"Rows": 60000, "Columns": 60000}, "too large (60000 x 60000 pixels"),
        ({"BitsAllocated": 32, "BitsStored": 32}, "32 of 32 bits"),
        ({"BitsStored": 12, "HighBit": 15}, "retired layout"),
    ],
)
def test_what_is_no_single_ct_slice_is_refused_with_its_reason(tmp_path, changes, words):
    assert words in refusal_of(write_ct(tmp_path / "x", **changes))


def test_compression_that_is_not_known_is_refused(tmp_path):
    dataset = ct_dataset(syntax="1.2.840.10008.1.2.4.100", PixelData=encapsulate([b"\x00" * 8]))
    dataset["PixelData"].VR = "OB"
    dataset.save_as(tmp_path / "x", enforce_file_format=True)

    assert "MPEG2" in refusal_of(tmp_path / "x")


def test_table_of_contents_is_refused(tmp_path):
    dataset = ct_dataset(SOPClassUID="1.2.840.10008.1.3.10")
    dataset.save_as(tmp_path / "x", enforce_file_format=True)

    assert "DICOMDIR" in refusal_of(tmp_path / "x")


def test_codestream_of_another_size_is_refused_before_it_is_decoded(tmp_path):
    dataset = pydicom.dcmread(J2K)
    frame = bytearray(get_frame(dataset.PixelData, 0, number_of_frames=1))
    # Width and height of the image and of its one tile, in the size segment (T.800, A.5.1).
    for offset in (8, 12, 24, 28):
        frame[offset : offset + 4] = (60000).to_bytes(4, "big")
    dataset.PixelData = encapsulate([bytes(frame)])
    dataset.save_as(tmp_path / "x")

    assert "another size than it says" in refusal_of(tmp_path / "x")


def test_deflated_bomb_is_refused_before_it_is_inflated(tmp_path):
    path = tmp_path / "x"
    write_ct(path, np.zeros((1024, 1024), np.int16), syntax=DeflatedExplicitVRLittleEndian)
    assert path.stat().st_size < 10_000

    assert "too large when unpacked" in refusal_of(path, max_inflated_bytes=2**20)
    assert decode_file(path).pixels.shape == (1, 1024, 1024)


def test_run_length_bomb_is_refused(tmp_path):
    dataset = ct_dataset(syntax=RLELossless, PixelData=encapsulate([bytes(2**18)]))
    dataset["PixelData"].VR = "OB"
    dataset.save_as(tmp_path / "x", enforce_file_format=True)

    assert "more data than its image" in refusal_of(tmp_path / "x")


def test_frame_that_is_no_image_is_refused(tmp_path):
    dataset = ct_dataset(syntax=JPEG2000Lossless, PixelData=encapsulate([b"no image" * 9]))
    dataset["PixelData"].VR = "OB"
    dataset.save_as(tmp_path / "x", enforce_file_format=True)

    assert "damaged" in refusal_of(tmp_path / "x")


@pytest.mark.parametrize("path", sorted(ENCODINGS.glob("*.dcm")), ids=lambda path: path.stem)
@pytest.mark.parametrize("share", [0.0005, 0.01, 0.5, 0.99])
def test_truncated_file_is_refused(tmp_path, path, share):
    data = path.read_bytes()
    (tmp_path / "x").write_bytes(data[: int(len(data) * share)])

    assert "lease" in refusal_of(tmp_path / "x")


def test_file_over_the_byte_limit_is_refused(tmp_path):
    assert "too large" in refusal_of(write_ct(tmp_path / "x"), max_file_bytes=100)


def test_pixel_limit_counts_rows_times_columns(tmp_path):
    path = write_ct(tmp_path / "x")

    assert "too large (8 x 6 pixels" in refusal_of(path, max_pixels=47)
    assert decode_file(path, limits=Limits(max_pixels=48)).pixels.shape == (1, 6, 8)


def test_file_that_is_not_there_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        decode_file(tmp_path / "nothing")


def test_folder_is_refused(tmp_path):
    assert "folder" in refusal_of(tmp_path)


@pytest.mark.parametrize(
    ("agent", "is_enhanced"), [("APPLIED", True), ("NON IONIC", True), ("NONE", False), ("", False)]
)
def test_contrast_medium_is_a_notice(tmp_path, agent, is_enhanced):
    volume = decode_file(write_ct(tmp_path / "a.dcm", ContrastBolusAgent=agent))

    codes = [notice.code for notice in volume.notices]
    assert (Code.CONTRAST_MEDIUM in codes) is is_enhanced


def test_what_is_no_single_image_is_told_by_name(tmp_path):
    (tmp_path / "archive").write_bytes(b"PK\x03\x04" + bytes(100))
    (tmp_path / "volume").write_bytes(b"\x5c\x01\x00\x00" + bytes(340) + b"n+1\x00")
    (tmp_path / "folder").mkdir()
    names = {"archive": Code.IS_ARCHIVE, "volume": Code.IS_VOLUME, "folder": Code.IS_FOLDER}
    for name, code in names.items():
        with pytest.raises(ImageError) as caught:
            decode_file(tmp_path / name)

        assert caught.value.code is code
