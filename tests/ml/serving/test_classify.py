import io
import json
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from detection.imaging.errors import Code, Notice
from detection.imaging.ingest import Sandbox
from detection.imaging.volume import load_volume
from detection.ml.errors import ReadingCode
from detection.ml.serving import Assessment, Extent, Finding, classify_paths
from tests.imaging.synthetic import enhanced_dataset, write_ct, write_series

PIXELS_HU = np.arange(3 * 40 * 50, dtype=np.int16).reshape(3, 40, 50) % 1000
KEYS = [
    "path", "status", "probability", "reason", "model_version", "size", "findings", "notices",
    "answer", "scope", "slices_read", "slices_unread",
]  # fmt: skip
STONE = Finding(
    plane="axial",
    slice_index=1,
    slice_first=0,
    slice_last=1,
    box=(1.0, 2.0, 3.0, 4.0),
    probability=0.9,
    diameter_mm=5.04,
    mean_hu=700.0,
    size_class="5-10 mm",
    side="left",
    centre_lps_mm=(1.0, 2.04, 3.0),
)


class FakePredictor:
    """Finds the same stone in every volume, and nothing in a single slice; reads no sagittal one.

    Of a volume it reads two slices.
    """

    bundle = SimpleNamespace(name="fake")

    def assess(self, volume):
        slices = volume.pixels.shape[0]
        if volume.plane == "sagittal":
            return Assessment(
                verdict="cannot_assess",
                probability=None,
                reason="Sagittal.",
                extent=Extent(slices_read=0, slices=slices),
            )
        if slices == 1:
            return Assessment(
                verdict="no_stone",
                probability=0.1,
                slice_probabilities=(0.1,),
                extent=Extent(slices_read=1, slices=1),
            )
        return Assessment(
            verdict="stone",
            probability=0.9,
            extent=Extent(slices_read=2, slices=slices, height_mm=6.0),
            findings=(STONE,),
            slice_probabilities=(0.25, 0.9, *[None] * (slices - 2)),
            notices=(Notice(ReadingCode.SERIES_RULE, "The rule was set on runs."),),
        )


def classify(*paths):
    out = io.StringIO()
    answered = classify_paths(map(str, paths), predictor=FakePredictor(), out=out)
    return [json.loads(line) for line in out.getvalue().splitlines()], answered


def zipped(path, folder):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return path


@pytest.mark.parametrize("kind", ["folder", "zip", "multi-frame"])
def test_series_is_one_object_with_its_slices_and_stones(tmp_path, kind):
    write_series(tmp_path / "in", PIXELS_HU)
    path = tmp_path / "in"
    if kind == "zip":
        path = zipped(tmp_path / "x", path)
    if kind == "multi-frame":
        path = tmp_path / "x"
        enhanced_dataset(PIXELS_HU).save_as(path, enforce_file_format=True)
    (result,), answered = classify(path)

    assert answered
    assert list(result) == [*KEYS, "slices"]
    assert result["path"] == str(path)
    assert (result["status"], result["size"]) == ("stone", [50, 40])
    assert result["slices"] == [0.25, 0.9, None]
    (finding,) = result["findings"]
    assert list(finding)[:4] == ["plane", "slice", "box", "probability"]
    assert finding["diameter_mm"] == 5.0
    assert finding["volume_mm3"] is None
    assert (finding["side"], finding["centre_lps_mm"]) == ("left", [1.0, 2.0, 3.0])
    assert set(finding) >= {
        "slice_first", "slice_last", "mean_hu", "peak_hu", "size_class", "extent_mm",
    }  # fmt: skip


def test_file_is_one_object_without_the_keys_of_a_series(tmp_path):
    results, answered = classify(*[write_ct(tmp_path / name) for name in "abc"])

    assert answered
    assert [list(result) for result in results] == [KEYS] * 3


def test_slice_in_a_folder_or_archive_is_a_series(tmp_path):
    (tmp_path / "in").mkdir()
    write_ct(tmp_path / "in/x")
    results, answered = classify(tmp_path / "in", zipped(tmp_path / "zip", tmp_path / "in"))

    assert answered
    for result in results:
        assert list(result) == [*KEYS, "member", "slices", "warnings"]
        assert (result["member"], result["slices"]) == ("x", [0.1])


def test_file_says_why_it_cannot_be_read(tmp_path):
    (tmp_path / "text").write_text("no image")
    write_ct(tmp_path / "scout", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    write_ct(tmp_path / "far", ImagePositionPatient=[0, 0, 0], SpacingBetweenSlices="1e200")
    results, answered = classify(tmp_path / "text", tmp_path / "scout", tmp_path / "far")

    assert not answered
    assert [list(result) for result in results] == [KEYS] * 3
    assert [result["reason"] for result in results] == [
        "This file is not a CT image: it seems to be text. Please export the CT slices as DICOM, "
        "PNG or JPEG and upload those.",
        "This DICOM file is a localiser (scout view), not a CT slice. Please upload CT slices.",
        "The DICOM file is damaged or was not copied completely. Please export it again or upload "
        "it again.",
    ]


def test_files_are_decoded_in_one_limited_child_and_not_here(tmp_path, monkeypatch):
    jobs = []
    run = Sandbox.run

    def watched(self, job, **how):
        jobs.append((self, job["do"]))
        return run(self, job, **how)

    monkeypatch.setattr(Sandbox, "run", watched)
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "x.png")
    _, answered = classify(tmp_path / "x.png", write_ct(tmp_path / "y"))

    assert answered
    assert [what for _, what in jobs] == ["scan", "picture", "scan", "stack"]
    assert len({sandbox for sandbox, _ in jobs}) == 1


def test_folder_of_several_series_numbers_them_and_counts_what_was_refused(tmp_path):
    folder = tmp_path / "in"
    write_series(folder, PIXELS_HU)
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(folder / "x.png")
    (folder / "y.txt").write_text("no image")
    (first, second), answered = classify(folder)

    assert answered
    assert [first["series"], second["series"]] == [1, 2]
    assert second["member"] == "x.png"
    assert [first["files_refused"], second["files_refused"]] == [1, 1]
    assert "member" not in first


def test_folder_without_a_ct_is_an_error_with_its_reason(tmp_path):
    (tmp_path / "a").write_text("no image")
    (tmp_path / "b").write_text("no image")
    (tmp_path / "empty").mkdir()
    (result, empty), answered = classify(tmp_path, tmp_path / "empty")

    assert not answered
    assert (result["status"], list(result)) == ("error", KEYS)
    assert "None of the 2 files could be read. The first: " in result["reason"]
    assert empty["reason"] == "The folder is empty."


def test_faults_of_one_path_leave_the_others(tmp_path):
    results, answered = classify(tmp_path / "nothing", write_ct(tmp_path / "x"))

    assert not answered
    assert [result["status"] for result in results] == ["error", "no_stone"]
    assert "No such file" in results[0]["reason"]


def test_notices_of_import_and_reading_are_told_with_their_codes(tmp_path):
    write_series(tmp_path / "in", PIXELS_HU, step=(0, 0, 5.0))
    (result,), _ = classify(tmp_path / "in")

    codes = [notice["code"] for notice in result["notices"]]
    assert codes == [Code.THICK_SLICES, ReadingCode.SERIES_RULE]
    assert all(set(notice) == {"code", "text"} for notice in result["notices"])
    # The sentences of the import under their key of before, without what to do.
    assert result["warnings"][0] == result["notices"][0]["text"].partition(" Please ")[0]


def test_answer_says_what_was_read_and_what_is_not_judged(tmp_path):
    write_series(tmp_path / "in", PIXELS_HU)
    results, _ = classify(tmp_path / "in", write_ct(tmp_path / "x"), tmp_path / "nothing")

    assert [result["answer"] for result in results] == [
        "Stone suspected in the 2 of 3 slices read (6 mm)",
        "No stone suspected in the one slice read",
        "",
    ]
    assert [(one["slices_read"], one["slices_unread"]) for one in results] == [
        (2, 1), (1, 0), (0, 0),
    ]  # fmt: skip
    scope = "Kidneys only: ureter and bladder are not judged."
    assert [result["scope"] for result in results] == [scope] * 3


SAGITTAL = {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}


@pytest.mark.parametrize("order", [("a-axial", "b-sagittal"), ("b-axial", "a-sagittal")])
def test_series_of_one_study_say_what_the_study_answers(tmp_path, order):
    axial, sagittal = order
    write_series(tmp_path / "in" / axial, PIXELS_HU)
    write_series(
        tmp_path / "in" / sagittal,
        PIXELS_HU,
        step=(3.0, 0, 0),
        SeriesInstanceUID="1.2.840.1",
        **SAGITTAL,
    )
    results, answered = classify(tmp_path / "in")

    assert answered
    assert sorted(result["status"] for result in results) == ["cannot_assess", "stone"]
    # What cannot be read takes nothing from the answer, whichever is told first.
    assert {result["study_status"] for result in results} == {"stone"}
    assert {result["study_answer"] for result in results} == {
        "Stone suspected in the 2 of 3 slices read (6 mm); 1 more series not read"
    }


def test_studies_of_one_folder_are_told_in_order_each_by_itself(tmp_path):
    for number, study in enumerate(("1.2.1", "1.2.2", "1.2.1")):
        write_ct(
            tmp_path / f"{number}",
            StudyInstanceUID=study,
            SeriesInstanceUID=f"1.3.{number}",
            # What lies in another frame of reference is stacked with nothing.
            FrameOfReferenceUID=f"1.4.{number}",
        )
    results, _ = classify(tmp_path)

    assert [result["series"] for result in results] == [1, 2, 3]
    assert ["study_status" in result for result in results] == [True, False, True]
    assert results[0]["study_answer"] == "No stone suspected in the 2 slices read"


def test_series_over_which_the_model_fails_leaves_its_study_without_an_answer(
    tmp_path, monkeypatch
):
    assess = FakePredictor.assess

    def broken(self, volume):
        if volume.plane == "sagittal":
            raise RuntimeError
        return Assessment(verdict="no_stone", probability=0.1, extent=assess(self, volume).extent)

    monkeypatch.setattr(FakePredictor, "assess", broken)
    write_series(tmp_path / "in" / "a", PIXELS_HU)
    write_series(
        tmp_path / "in" / "b", PIXELS_HU, step=(3.0, 0, 0), SeriesInstanceUID="1.2.9", **SAGITTAL
    )
    results, answered = classify(tmp_path / "in")

    assert not answered
    assert [result["study_status"] for result in results] == ["error", "error"]
    broken_one = next(result for result in results if result["status"] == "error")
    assert (broken_one["slices_read"], broken_one["slices_unread"]) == (0, 3)


def test_volume_that_cannot_be_read_back_costs_no_other_series_its_answer(tmp_path, monkeypatch):
    write_series(tmp_path / "in" / "a", PIXELS_HU)
    write_series(
        tmp_path / "in" / "b", PIXELS_HU, step=(3.0, 0, 0), SeriesInstanceUID="1.2.9", **SAGITTAL
    )
    loaded = []

    def load(path):
        loaded.append(path)
        if len(loaded) == 2:
            raise OSError(5, "Input/output error")
        return load_volume(path)

    monkeypatch.setattr("detection.ml.serving.classify.load_volume", load)
    results, answered = classify(tmp_path / "in")

    assert not answered
    assert [result["status"] for result in results] == ["stone", "error"]
    assert "Input/output error" in results[1]["reason"]
    assert {result["study_status"] for result in results} == {"stone"}
