"""Images that are here already: the report says so, and nothing is stored or read twice."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from detection.models import Prediction, Series, SourceFile, Study, Upload
from detection.selectors.studies import import_report
from detection.services import imports
from detection.services.imports import upload_import_run
from detection.services.requeue import study_read_again
from detection.services.uploads import upload_create
from tests.factories import model_version_make, png_upload
from tests.imaging.synthetic import write_series
from tests.services.ingesting import quarantined, statuses, volumes

pytestmark = pytest.mark.usefixtures("model_version")


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(imports, "IMPORT_SECONDS", 600.0)


@pytest.fixture
def sent(radiologist):
    """Sends files and has them imported."""

    def send(*files, by=radiologist):
        upload = upload_create(uploaded_by=by, files=list(files))
        upload_import_run(upload=upload)
        upload.refresh_from_db()
        assert upload.is_finished
        return upload

    return send


def dicom(tmp_path, *, slices=3, **changes):
    pixels = np.random.default_rng(1).integers(-100, 200, (slices, 16, 16)).astype(np.int16)
    paths = write_series(tmp_path / f"{slices}{len(changes)}", pixels, **changes)
    return [SimpleUploadedFile(path.name, path.read_bytes()) for path in paths]


def packed(files):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for file in files:
            file.seek(0)
            archive.writestr(f"CD/{file.name}", file.read())
    return SimpleUploadedFile("cd.zip", content.getvalue())


def assert_already_here(upload, study):
    rows = list(upload.source_files.order_by("pk"))
    # The row of an archive that was unpacked stands for its members.
    told = [row for row in rows if row.kind != "zip"]
    assert {(row.status, row.code) for row in told} == {("skipped", "already_here")}
    assert {row.duplicate_of for row in told} == {study}
    assert {(row.study, row.series) for row in rows} == {(None, None)}
    assert not upload.studies.exists()
    assert quarantined() == []
    # One of each: nothing was stored or read a second time.
    assert (Study.objects.count(), Series.objects.count(), len(volumes())) == (1, 1, 1)
    assert Prediction.objects.count() == 1


def test_same_picture_under_another_name(sent):
    study = sent(png_upload("a.png")).studies.get()

    assert_already_here(sent(png_upload("b.png")), study)


def test_same_file_twice_in_one_upload(sent):
    upload = sent(png_upload("a.png"), png_upload("b.png"))

    study = Study.objects.get()
    assert statuses(upload) == ["accepted", "skipped"]
    assert upload.source_files.get(status="skipped").duplicate_of == study
    assert Prediction.objects.count() == 1


def test_same_series_in_another_order_and_packed(sent, tmp_path):
    study = sent(*dicom(tmp_path)).studies.get()

    assert_already_here(sent(*reversed(dicom(tmp_path))), study)
    assert_already_here(sent(packed(dicom(tmp_path))), study)


def test_same_series_with_a_letter_beside_it(sent, tmp_path):
    study = sent(*dicom(tmp_path)).studies.get()

    upload = sent(*dicom(tmp_path), SimpleUploadedFile("letter.txt", b"Dear colleague"))

    assert set(statuses(upload)) == {"skipped"}
    assert Study.objects.get() == study


def test_series_with_one_more_slice_is_a_study_that_names_the_other(sent, tmp_path):
    study = sent(*dicom(tmp_path)).studies.get()

    more = sent(*dicom(tmp_path, slices=4)).studies.get()

    (notice,) = [n for n in more.series.get().notices if n["code"] == "same_examination"]
    assert notice["text"].startswith(f"Study {study.pk} holds other images")
    assert "same_examination" not in {n["code"] for n in study.series.get().notices}


@pytest.mark.parametrize(
    "changes", [{"StudyInstanceUID": "9.9"}, {"PatientID": "other"}, {"PixelSpacing": [0.9, 0.9]}]
)
def test_same_pixels_of_another_examination_or_scale_are_new(sent, tmp_path, changes):
    sent(*dicom(tmp_path))

    assert sent(*dicom(tmp_path, **changes)).studies.count() == 1
    assert Study.objects.count() == 2


def test_blank_pictures_of_different_size_are_new(sent):
    def blank(side):
        from PIL import Image

        content = io.BytesIO()
        Image.new("L", (side, side)).save(content, "PNG")
        return SimpleUploadedFile(f"{side}.png", content.getvalue())

    assert sent(blank(64), blank(65)).studies.count() == 2


def test_study_of_somebody_else_is_not_told_of(sent, other_radiologist, lead):
    theirs = sent(png_upload(), by=other_radiologist).studies.get()

    mine = sent(png_upload())

    assert mine.studies.count() == 1
    # Who sees all studies is told of the newest.
    assert sent(png_upload(), by=lead).source_files.get().duplicate_of == mine.studies.get()
    assert theirs != mine.studies.get()


def test_study_whose_reading_failed_is_read_anew(sent):
    study = sent(png_upload()).studies.get()
    Study.objects.filter(pk=study.pk).update(status=Study.Status.FAILED, message="It failed.")

    assert sent(png_upload()).studies.count() == 1


def test_file_that_was_refused_is_tried_again(sent, monkeypatch):
    def cut():
        return SimpleUploadedFile("cut.png", png_upload().read()[:300])

    first, second = sent(cut()), sent(cut())

    assert (statuses(first), statuses(second)) == (["refused"], ["refused"])
    assert second.source_files.get().duplicate_of is None


def test_study_of_an_older_model_version_offers_the_one_in_service(sent, radiologist_client):
    study = sent(png_upload()).studies.get()
    Prediction.objects.update(status="succeeded", verdict="no_stone", probability=0.1)
    Study.objects.update(status="succeeded", verdict="no_stone", probability=0.1)
    page = radiologist_client.get(study.get_absolute_url()).content.decode()
    assert "Read with the model in service" not in page
    newer = model_version_make("model-2", is_active=True)

    page = radiologist_client.get(sent(png_upload()).get_absolute_url()).content.decode()

    assert "already here" in page
    assert study.get_absolute_url() in page
    page = radiologist_client.get(study.get_absolute_url()).content.decode()
    assert "Read with the model in service" in page
    assert study_read_again(study=study).readings == 1
    assert study_read_again(study=study).readings == 0
    assert Prediction.objects.latest("pk").model_version == newer


def test_report_of_a_duplicate_goes_with_its_upload_alone(sent, lead):
    study = sent(png_upload("mine.png")).studies.get()

    sent(png_upload("of the lead.png"), by=lead)

    assert [row.display_name for row in import_report(of=study).rows] == ["mine.png"]


def test_study_that_was_deleted_is_no_longer_here(sent):
    upload = sent(png_upload())
    sent(png_upload())
    study = upload.studies.get()
    (Path(settings.MEDIA_ROOT) / study.series.get().volume_path).unlink()
    Prediction.objects.all().delete()
    study.delete()

    assert sent(png_upload()).studies.count() == 1
    # The reports of before stay.
    assert SourceFile.objects.count() == 3


def test_upload_of_duplicates_alone_says_that_there_is_no_new_study(sent, radiologist_client):
    sent(png_upload())
    upload = sent(png_upload())

    page = radiologist_client.get(upload.get_absolute_url()).content.decode()

    assert "No new study was made" in page
    listed = radiologist_client.get(reverse("upload-list"))
    assert dict(listed.context["rows"])[upload] == {"skipped": 1}
    assert Upload.objects.count() == 2
