import pytest
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError
from django_tasks_db.models import DBTaskResult

from detection.models import SourceFile, Study, Upload
from detection.services import uploads
from detection.services.uploads import upload_create
from tests.factories import dicom_upload, png_bytes, png_upload
from tests.services.ingesting import quarantined, statuses

pytestmark = pytest.mark.usefixtures("model_version")


def test_each_file_is_quarantined_and_no_study_before_its_import(radiologist):
    upload = upload_create(uploaded_by=radiologist, files=[png_upload("a.png"), png_upload("b")])

    assert upload.status == Upload.Status.RECEIVED
    assert [f.display_name for f in upload.source_files.order_by("pk")] == ["a.png", "b"]
    assert statuses(upload) == ["received", "received"]
    assert not Study.objects.exists()
    assert [path.read_bytes() for path in quarantined()] == [png_bytes()] * 2
    # Under names of our own, which nobody else can read.
    assert not {"a.png", "b"} & {path.name for path in quarantined()}
    assert {path.stat().st_mode & 0o777 for path in quarantined()} == {0o600}
    assert DBTaskResult.objects.get().args_kwargs["args"] == [upload.pk]


def test_file_of_unknown_kind_is_refused_beside_the_good_ones(radiologist):
    files = [SimpleUploadedFile("report.png", b"%PDF-1.7 text"), png_upload()]

    upload = upload_create(uploaded_by=radiologist, files=files)

    refused, accepted = upload.source_files.order_by("pk")
    assert refused.status == SourceFile.Status.REFUSED
    assert "PDF" in refused.reason
    assert refused.study is None
    assert accepted.status == SourceFile.Status.RECEIVED
    assert len(quarantined()) == 1


def test_upload_of_refused_files_alone_is_finished_at_once(radiologist):
    upload = upload_create(uploaded_by=radiologist, files=[SimpleUploadedFile("empty.dcm", b"")])

    assert upload.is_finished
    assert "empty" in upload.source_files.get().reason
    assert not Study.objects.exists()
    assert not DBTaskResult.objects.exists()


def test_file_that_is_too_large_is_refused(radiologist, monkeypatch):
    monkeypatch.setattr(uploads, "MAX_FILE_BYTES", 2**20)
    large = SimpleUploadedFile("large.png", png_bytes() + bytes(2**20))

    upload = upload_create(uploaded_by=radiologist, files=[large, png_upload()])

    assert [bool(f.reason) for f in upload.source_files.order_by("pk")] == [True, False]


@pytest.mark.parametrize(
    ("bound", "value", "files", "message"),
    [
        ("MAX_FILES", 1, 2, "too many"),
        ("MAX_UPLOAD_BYTES", 100, 1, "larger than"),
        ("MAX_FILES", 1, 0, "No file was sent"),
    ],
)
def test_upload_beyond_the_bounds_stores_nothing(
    radiologist, monkeypatch, bound, value, files, message
):
    monkeypatch.setattr(uploads, bound, value)

    with pytest.raises(ValidationError, match=message):
        upload_create(uploaded_by=radiologist, files=[png_upload() for _ in range(files)])

    assert not Upload.objects.exists()
    assert quarantined() == []


def test_upload_without_a_model_in_service_stores_nothing(radiologist, model_version):
    model_version.activations.all().delete()

    with pytest.raises(ValidationError, match="No detection model is in service"):
        upload_create(uploaded_by=radiologist, files=[png_upload()])

    assert quarantined() == []


def test_full_disk_is_a_sentence_and_leaves_nothing(radiologist):
    class Unreadable(SimpleUploadedFile):
        def chunks(self, chunk_size=None):
            raise OSError(28, "No space left on device")

    with pytest.raises(ValidationError, match="has no free space"):
        upload_create(
            uploaded_by=radiologist, files=[png_upload(), Unreadable("x.png", png_bytes())]
        )

    assert quarantined() == []
    assert not Upload.objects.exists()


def test_database_that_does_not_answer_is_a_sentence_and_leaves_nothing(radiologist, monkeypatch):
    def away(**_):
        raise OperationalError("database or disk is full")

    monkeypatch.setattr(uploads, "_upload_store", away)

    with pytest.raises(ValidationError, match="database of the server did not answer"):
        upload_create(uploaded_by=radiologist, files=[png_upload()])

    assert quarantined() == []


def test_what_lies_beside_a_series_is_skipped(send):
    readme = SimpleUploadedFile("README.TXT", b"How to use this disc")
    upload = send(readme, dicom_upload("IM1"), dicom_upload("IM2"), png_upload("photo.png"))

    assert statuses(upload) == ["skipped", "received", "received", "received"]
    skipped = upload.source_files.get(status="skipped")
    assert skipped.code == "not_an_image"
    assert "text" in skipped.reason
    # Nothing has to be done about it.
    assert skipped.advice == ""


def test_what_cannot_be_opened_beside_a_series_is_refused_not_skipped(send):
    upload = send(dicom_upload(), SimpleUploadedFile("IM2", b""))

    assert statuses(upload) == ["received", "refused"]
