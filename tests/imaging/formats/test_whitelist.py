"""De-identification: of a DICOM file nothing but the whitelisted elements is parsed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset

from detection.imaging.formats import (
    damage_named,
    decode_file,
    frame_datasets,
    open_dicom,
    read_identifiers,
    slice_facts,
)
from detection.imaging.formats.dicom_header import _ELEMENTS
from detection.imaging.limits import LIMITS
from tests.imaging.synthetic import ct_dataset
from tests.properties import quick

PLANTED = "PLANTED^NAME"
# Groups 0000 to 0007 are no part of a data set.
TEXTS = sorted(
    keyword
    for tag, (vr, vm, _, _, keyword) in DicomDictionary.items()
    if vr in {"PN", "LO", "SH", "ST", "LT", "UT"} and vm == "1" and tag >> 16 >= 0x0008
    and keyword not in _ELEMENTS
)  # fmt: skip
SEQUENCES = ("ReferencedStudySequence", "RequestAttributesSequence", "OtherPatientIDsSequence")


@st.composite
def datasets(draw):
    """A CT image with a name in elements of any kind: known, private, and within sequences."""
    dataset = ct_dataset(ImagePositionPatient=[0, 0, 0])
    for keyword in draw(st.lists(st.sampled_from(TEXTS), min_size=1, max_size=6, unique=True)):
        setattr(dataset, keyword, PLANTED)
    group = draw(st.integers(0x0009, 0x4001).filter(lambda number: number % 2))
    dataset.private_block(group, PLANTED, create=True).add_new(
        draw(st.integers(1, 9)), "LO", PLANTED
    )
    for keyword in draw(st.lists(st.sampled_from(SEQUENCES), max_size=2, unique=True)):
        item = Dataset()
        setattr(item, draw(st.sampled_from(TEXTS)), PLANTED)
        setattr(dataset, keyword, [item])
    return dataset


@quick
@given(dataset=datasets())
def test_nothing_but_the_whitelist_is_parsed(tmp_path, dataset):
    path = tmp_path / "x.dcm"
    dataset.save_as(path, enforce_file_format=True)
    with damage_named():
        opened = open_dicom(path, limits=LIMITS)
        facts = slice_facts(opened)
        frames = list(frame_datasets(opened))

    assert {element.keyword for element in opened.dataset} <= set(_ELEMENTS)
    assert PLANTED not in str([opened.dataset, facts, *frames])
    assert PLANTED not in str(decode_file(path).header())


@quick
@given(dataset=datasets())
def test_identifiers_hold_what_finds_a_study_and_nothing_else(tmp_path, dataset):
    path = tmp_path / "x.dcm"
    named = {"PatientID", "PatientName", "AccessionNumber"}
    for keyword in named & {element.keyword for element in dataset}:
        delattr(dataset, keyword)
    dataset.save_as(path, enforce_file_format=True)
    with damage_named():
        identifiers, keys = read_identifiers(path)

    assert PLANTED not in str([identifiers, keys])


@pytest.mark.parametrize("keyword", ["PatientID", "PatientName", "AccessionNumber"])
def test_names_that_are_planted_would_be_found(tmp_path, keyword):
    path = tmp_path / "x.dcm"
    ct_dataset(**{keyword: PLANTED}).save_as(path, enforce_file_format=True)
    with damage_named():
        identifiers, _ = read_identifiers(path)

    assert PLANTED in str(identifiers)
