import os
import time
from datetime import timedelta
from io import BytesIO

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone
from django_tasks_db.models import DBTaskResult
from PIL import Image

from detection.imaging.errors import Code, Notice
from detection.imaging.ingest import ingest
from detection.models import Prediction, Series, SourceFile, Study, Upload
from detection.selectors.studies import series_volume_path
from detection.services import imports
from detection.services.imports import (
    leftovers_delete,
    upload_claim,
    upload_import_run,
    upload_sweep,
)
from tests.factories import dicom_upload, png_bytes, png_upload, volume_make
from tests.imaging.synthetic import png_bytes as png_header
from tests.services.ingesting import FakePictures, make_stale, quarantined, statuses, volumes

pytestmark = pytest.mark.usefixtures("model_version")


@pytest.fixture
def pictures():
    return FakePictures(
        volume_make(spacing_mm=(1.0, 0.5, 0.7), plane="axial", notices=(Notice("lossy", "Lossy."),))
    )


def file_make(name="slice.png", *, is_good=True):
    return SimpleUploadedFile(name, png_bytes() + (b"good" if is_good else b"bad"))


def test_import_stores_the_outcome_of_each_file(send, pictures):
    upload = send(file_make(), file_make(is_good=False))

    upload_import_run(upload=upload, ingest=pictures)

    upload.refresh_from_db()
    good, bad = upload.source_files.order_by("pk")
    assert upload.is_finished
    assert good.status == SourceFile.Status.ACCEPTED
    assert good.study.status == Study.Status.QUEUED
    series = good.study.series.get()
    assert series_volume_path(series=series).is_file()
    assert (series.rows, series.columns, series.plane) == (160, 160, "axial")
    assert (series.row_spacing_mm, series.column_spacing_mm) == (0.5, 0.7)
    assert series.notices == [{"code": "lossy", "text": "Lossy."}]
    assert series.predictions.get().status == Prediction.Status.QUEUED
    assert (bad.status, bad.reason) == (SourceFile.Status.REFUSED, "The file is damaged.")
    # What was refused is in no study.
    assert bad.study is None
    assert Study.objects.get() == good.study
    assert quarantined() == []
    assert (good.quarantine_path, bad.quarantine_path) == ("", "")


def test_import_delivered_twice_is_run_once(send, pictures):
    upload = send(file_make())
    upload_import_run(upload=upload, ingest=pictures)

    upload_import_run(upload=upload, ingest=pictures)

    assert (Series.objects.count(), Prediction.objects.count()) == (1, 1)


def test_import_goes_on_with_the_rest_after_a_crash(send, pictures):
    upload = send(file_make(), file_make(), file_make())

    def dying(paths, **kwargs):
        if len(pictures.seen) == 2:
            raise MemoryError
        return pictures(paths, **kwargs)

    with pytest.raises(MemoryError):
        upload_import_run(upload=upload, ingest=dying)
    make_stale(upload)
    upload_sweep()
    pictures.seen.clear()

    upload_import_run(upload=upload, ingest=pictures)

    upload.refresh_from_db()
    assert upload.is_finished
    assert len(pictures.seen) == 1
    assert (Series.objects.count(), Prediction.objects.count()) == (3, 3)


def test_file_at_which_the_worker_died_three_times_is_refused_and_the_rest_goes_on(send, pictures):
    upload = send(file_make(), file_make())
    for _ in range(3):
        assert upload_claim(upload=upload)
        make_stale(upload)
        upload_sweep()

    upload_import_run(upload=upload, ingest=pictures)

    upload.refresh_from_db()
    culprit, other = upload.source_files.order_by("pk")
    assert upload.is_finished
    assert (culprit.status, culprit.code) == (SourceFile.Status.REFUSED, "crashed")
    assert "crashed the worker three times" in culprit.reason
    assert other.study.status == Study.Status.QUEUED


def test_import_that_lost_its_claim_stores_nothing_more(send, pictures):
    upload = send(file_make(), file_make())

    def slow(paths, **kwargs):
        if pictures.seen:
            # Meanwhile this worker counted as dead.
            make_stale(upload)
            upload_sweep()
        return pictures(paths, **kwargs)

    upload_import_run(upload=upload, ingest=slow)

    upload.refresh_from_db()
    assert upload.status == Upload.Status.RECEIVED
    assert Series.objects.count() == 1
    assert len(volumes()) == 1


def test_long_import_queues_up_again_behind_its_first_predictions(send, monkeypatch, pictures):
    monkeypatch.setattr(imports, "IMPORT_SECONDS", 0)
    upload = send(file_make(), file_make())

    upload_import_run(upload=upload, ingest=pictures)

    upload.refresh_from_db()
    assert (upload.status, upload.attempts) == (Upload.Status.RECEIVED, 0)
    tasks = DBTaskResult.objects.order_by("enqueued_at")
    assert [task.task_name for task in tasks] == [
        "upload_import",
        "prediction_task",
        "upload_import",
    ]
    upload_import_run(upload=upload, ingest=pictures)
    upload.refresh_from_db()
    assert upload.is_finished
    assert Prediction.objects.count() == 2


def test_waiting_upload_without_a_task_gets_one(send):
    upload = send(file_make())
    Upload.objects.update(created_at=timezone.now() - timedelta(minutes=5))
    DBTaskResult.objects.all().delete()

    upload_sweep()
    upload_sweep()

    assert DBTaskResult.objects.get().args_kwargs["args"] == [upload.pk]


def test_leftovers_of_killed_processes_are_deleted(send):
    send(file_make())
    (named,) = quarantined()
    orphan = named.with_name("orphan")
    orphan.write_bytes(b"pixels")
    fresh = named.with_name("fresh")
    fresh.write_bytes(b"pixels")
    two_days_ago = time.time() - 2 * 24 * 60 * 60
    for path in (named, orphan):
        os.utime(path, (two_days_ago, two_days_ago))

    leftovers_delete()

    assert quarantined() == sorted([named, fresh])


def test_real_decoding_of_a_real_picture(send, monkeypatch):
    monkeypatch.setattr(imports, "IMPORT_SECONDS", 60.0)
    files = [png_upload("a.png"), SimpleUploadedFile("cut.png", png_bytes()[:400])]
    upload = send(*files)

    upload_import_run(upload=upload)

    assert upload.studies.get().status == Study.Status.QUEUED
    assert statuses(upload) == ["accepted", "refused"]


def test_all_of_an_upload_is_read_by_one_child(send, monkeypatch):
    monkeypatch.setattr(imports, "IMPORT_SECONDS", 60.0)
    upload = send(png_upload("a.png"), png_upload("b.png"), dicom_upload())
    workers = []

    def watched(paths, *, target_folder, worker):
        result = ingest(paths, target_folder=target_folder, worker=worker)
        workers.append((worker, worker._child._process.pid))
        return result

    upload_import_run(upload=upload, ingest=watched)

    assert (len(workers), len(set(workers))) == (3, 1)


def animation():
    content = BytesIO()
    first, second = (Image.new("L", (20, 20), shade) for shade in (0, 99))
    first.save(content, "PNG", save_all=True, append_images=[second])
    return content.getvalue()


def jpeg_bytes():
    content = BytesIO()
    Image.new("L", (200, 200)).save(content, "JPEG")
    return content.getvalue()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (png_bytes()[:400], Code.DAMAGED),
        (jpeg_bytes()[:300], Code.DAMAGED),
        (animation(), Code.ANIMATION),
        (png_header(width=20_000, height=20_000, rows=bytes(20_001)), Code.TOO_MANY_PIXELS),
    ],
    ids=["PNG that ends early", "JPEG that ends early", "animation", "too many pixels"],
)
def test_refused_picture_keeps_its_code(send, data, code):
    upload = send(SimpleUploadedFile("x", data))

    upload_import_run(upload=upload)

    file = upload.source_files.get()
    assert (file.status, file.code) == (SourceFile.Status.REFUSED, code)
    assert file.reason
    assert file.advice.startswith("Please ")
    assert not Study.objects.exists()
