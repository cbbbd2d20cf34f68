import numpy as np
import pytest
from pydicom.uid import CTImageStorage, SecondaryCaptureImageStorage

from detection.imaging.errors import Code, ImageError
from detection.imaging.formats import decode_file
from detection.imaging.ingest import ingest
from tests.imaging.synthetic import enhanced_dataset, write_ct


@pytest.mark.parametrize(
    ("image_type", "kind"),
    [
        (["DERIVED", "PRIMARY", "PERFUSION", "RCBF"], "perfusion map"),
        (["DERIVED", "SECONDARY", "AXIAL", "CT_VA1 SPI", "MTT"], "perfusion map"),
        (["DERIVED", "PRIMARY", "PERFUSION", "NONE"], "perfusion map"),
        (["DERIVED", "SECONDARY", "REFORMATTED", "MAX_IP"], "projection"),
        (["DERIVED", "SECONDARY", "MPR", "CSA MIP"], "projection"),
        (["DERIVED", "PRIMARY", "VOLUME", "MINIMUM"], "projection"),
        (["DERIVED", "PRIMARY", "VOLUME", "SUBTRACTION"], "difference"),
        (["DERIVED", "PRIMARY", "AXIAL", "MAT_SPECIFIC"], "material map"),
        (["DERIVED", "SECONDARY", "AXIAL", "VNC"], "material map"),
    ],
)
def test_a_map_is_refused_by_what_it_is(tmp_path, image_type, kind):
    path = write_ct(tmp_path / "x.dcm", ImageType=image_type)

    with pytest.raises(ImageError, match=kind) as caught:
        decode_file(path)

    assert caught.value.code == Code.DERIVED_MAP
    (row,) = ingest([path], target_folder=tmp_path).report
    assert (row.status, row.code) == ("refused", Code.DERIVED_MAP)


@pytest.mark.parametrize(
    "image_type",
    [
        ["ORIGINAL", "PRIMARY", "AXIAL"],
        ["ORIGINAL", "PRIMARY", "PERFUSION", "NONE"],
        ["ORIGINAL", "PRIMARY", "AXIAL", "CT_VA1 SPI DUAL"],
        ["DERIVED", "PRIMARY", "AXIAL", "VMI"],
        ["DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE"],
        ["DERIVED", "SECONDARY", "MPR", "MEAN"],
        "ORIGINAL",
    ],
)
def test_what_holds_hounsfield_units_is_read(tmp_path, image_type):
    assert decode_file(write_ct(tmp_path / "x.dcm", ImageType=image_type)).is_hu


def test_a_map_of_many_frames_is_refused(tmp_path):
    dataset = enhanced_dataset(np.zeros((2, 6, 8), np.int16))
    dataset.ImageType = ["DERIVED", "PRIMARY", "PERFUSION", "RCBF"]
    path = tmp_path / "x.dcm"
    dataset.save_as(path, enforce_file_format=True)

    (row,) = ingest([path], target_folder=tmp_path).report

    assert row.code == Code.DERIVED_MAP


@pytest.mark.parametrize(
    "changes",
    [
        {"SOPClassUID": SecondaryCaptureImageStorage, "RescaleSlope": None},
        {"SOPClassUID": f"{SecondaryCaptureImageStorage}.2", "ImageOrientationPatient": None},
        {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]},
        {"ImageType": ["DERIVED", "SECONDARY", "OTHER", "DOSE_INFO"]},
        {
            "SOPClassUID": SecondaryCaptureImageStorage,
            "RescaleSlope": None,
            "PhotometricInterpretation": "RGB",
            "SamplesPerPixel": 3,
        },
    ],
    ids=["capture", "grey capture", "screen save", "dose report", "coloured capture"],
)
def test_a_capture_is_refused_as_one(tmp_path, changes):
    with pytest.raises(ImageError, match="secondary capture") as caught:
        decode_file(write_ct(tmp_path / "x.dcm", **changes))

    assert caught.value.code == Code.SECONDARY_CAPTURE


def test_a_slice_that_a_converter_called_a_capture_is_read(tmp_path):
    path = write_ct(tmp_path / "x.dcm", SOPClassUID=SecondaryCaptureImageStorage)

    assert decode_file(path).is_hu


@pytest.mark.parametrize(
    ("told", "code"),
    [
        ("HEAD", Code.BODY_PART_FAR),
        ("BRAIN W/O", Code.BODY_PART_FAR),
        ("CSPINE", Code.BODY_PART_FAR),
        ("Knee", Code.BODY_PART_FAR),
        ("CHEST", Code.BODY_PART_NEAR),
        ("BREAST", Code.BODY_PART_NEAR),
        ("HIP", Code.BODY_PART_NEAR),
    ],
)
def test_another_part_of_the_body_is_told_and_read(tmp_path, told, code):
    volume = decode_file(write_ct(tmp_path / "x.dcm", BodyPartExamined=told))

    (notice,) = volume.notices
    assert notice.code == code
    assert notice.text.startswith("The file says that it shows ")


@pytest.mark.parametrize("told", ["", "ABDOMEN", "KIDNEY", "CHESTABDPELVIS", "WHOLEBODY", "LSPINE"])
def test_a_part_that_may_hold_kidneys_is_not_told(tmp_path, told):
    assert decode_file(write_ct(tmp_path / "x.dcm", BodyPartExamined=told)).notices == ()


@pytest.mark.parametrize(("told", "codes"), [("YES", [Code.BURNED_IN]), ("NO", []), ("", [])])
def test_burnt_in_text_is_told(tmp_path, told, codes):
    path = write_ct(tmp_path / "x.dcm", BurnedInAnnotation=told, SOPClassUID=CTImageStorage)

    assert [notice.code for notice in decode_file(path).notices] == codes
    (series,) = ingest([path], target_folder=tmp_path).series
    assert codes == [n.code for n in series.notices if n.code == Code.BURNED_IN]
