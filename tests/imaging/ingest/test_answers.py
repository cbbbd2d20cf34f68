"""A decoding process that a file has taken over may answer anything; the import goes on."""

import json
import math

import numpy as np
import pytest
from PIL import Image

from detection.imaging.errors import Code, ImageError
from detection.imaging.ingest import ingest
from detection.imaging.ingest.answers import (
    Unreadable,
    believed,
    checked,
    members_believed,
    notices_believed,
    unreadable_believed,
)
from detection.imaging.ingest.jobs import InProcess
from detection.imaging.volume import Volume, load_volume
from tests.imaging.synthetic import write_ct, write_series

PIXELS_HU = np.zeros((3, 6, 8), np.int16)
MEMBER = {"name": "a", "path": "", "code": "link", "sentence": "A link.", "is_skipped": False}
NONSENSE = [None, 7, "text", [7], [None], [{}], {"file": 0}]


class TakenOver(InProcess):
    """Does its jobs, but answers one of them as it likes."""

    def __init__(self, *, job, answer):
        super().__init__()
        self.job, self.answer = job, answer

    def run(self, job, *, timeout_seconds, progress=None):
        told = super().run(job, timeout_seconds=timeout_seconds, progress=progress)
        return self.answer if job["do"] == self.job else told


def imported(folder, *, job, answer):
    (folder / "volumes").mkdir()
    write_series(folder / "in", PIXELS_HU)
    Image.new("L", (8, 6)).save(folder / "in/picture.png")
    worker = TakenOver(job=job, answer=answer)
    return ingest([folder / "in"], target_folder=folder / "volumes", worker=worker)


@pytest.mark.parametrize("nonsense", NONSENSE, ids=repr)
def test_nonsense_about_members_is_not_believed(nonsense):
    with pytest.raises(ImageError) as caught:
        members_believed(nonsense)

    assert caught.value.code == Code.DECODER_DIED


def test_members_are_what_is_told():
    (member,) = members_believed([MEMBER])

    assert (member.name, member.path, member.code) == ("a", "", "link")


@pytest.mark.parametrize(
    "told",
    [*NONSENSE, *([{"file": at, "code": "x", "error": "y"}] for at in (-1, 3, math.inf, math.nan))],
    ids=repr,
)
def test_nonsense_about_unreadable_files_is_not_believed(told):
    with pytest.raises(ImageError) as caught:
        unreadable_believed(told, files=3)

    assert caught.value.code == Code.DECODER_DIED


def test_unreadable_files_are_what_is_told():
    told = [{"file": 2, "code": "damaged", "error": "It is damaged."}]

    assert unreadable_believed(told, files=3) == [Unreadable(2, "damaged", "It is damaged.")]


@pytest.mark.parametrize("code", [["lossy"], {"lossy": 1}, None, 7], ids=repr)
def test_a_notice_whose_code_is_no_text_is_not_believed(code):
    assert notices_believed([{"code": code, "text": "x"}]) == ()


@pytest.mark.parametrize("answer", [{}, {"bad": 7}, {"bad": [{}]}, {"notices": [[]]}], ids=repr)
def test_the_others_are_imported_beside_a_series_that_is_not_believed(tmp_path, answer):
    result = imported(tmp_path, job="stack", answer=answer)

    kinds = [series.kind for series in result.series]
    codes = {row.code for row in result.report if row.status == "refused"}
    # A series whose volume is right needs no more than that.
    assert "png" in kinds
    assert codes <= {Code.DECODER_DIED}
    assert bool(codes) == ("bad" in answer)


def test_a_volume_of_the_first_version_is_not_believed(tmp_path):
    """It is compressed, so that a small file can fill the memory of the worker."""
    volume = Volume(pixels=np.zeros((1, 60, 80), np.uint8), is_hu=False)
    header = {"format": 1, **volume.header()}
    with (tmp_path / "volume").open("wb") as file:
        np.savez_compressed(file, pixels=volume.pixels, header=np.array(json.dumps(header)))

    assert load_volume(tmp_path / "volume").header() == volume.header()
    with pytest.raises(ImageError) as caught:
        checked(tmp_path / "volume", volume.header())
    assert caught.value.code == Code.DECODER_DIED


@pytest.mark.parametrize(
    ("name", "value"),
    [("kvp", math.nan), ("acquired_s", math.inf), ("instance_number", math.inf), ("kvp", "x")],
)
def test_a_slice_whose_numbers_are_none_is_not_believed(tmp_path, name, value):
    path = write_ct(tmp_path / "x")
    job = {"do": "scan", "source": str(path)}
    answer = InProcess().run(job, timeout_seconds=9)
    _, (ref,) = believed(answer, row=3)

    assert (ref.row, ref.facts.rows) == (3, 6)

    answer["slices"][0][name] = value
    with pytest.raises(ImageError) as caught:
        believed(answer, row=3)
    assert caught.value.code == Code.DECODER_DIED


@pytest.mark.parametrize(
    "answer", [{}, {"kind": "dicom"}, {"kind": "dicom", "slices": [{"frame": math.inf}]}], ids=repr
)
def test_a_scan_that_is_not_believed_refuses_its_file(tmp_path, answer):
    (tmp_path / "volumes").mkdir()
    worker = TakenOver(job="scan", answer=answer)
    result = ingest([write_ct(tmp_path / "x")], target_folder=tmp_path / "volumes", worker=worker)

    assert result.series == ()
    assert [row.code for row in result.report] == [Code.DECODER_DIED]
