import os
import time
from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone
from django_tasks_db.models import DBTaskResult

from detection.imaging.ingest import Decoded
from detection.imaging.volume import save_volume
from detection.models import Prediction, Series, SourceFile, Study, Upload
from detection.selectors.studies import series_volume_path
from detection.services import imports
from detection.services.imports import (
    leftovers_delete,
    upload_claim,
    upload_import_run,
    upload_sweep,
)
from detection.services.uploads import upload_create
from tests.services.factories import png_bytes, png_upload, volume_make
from tests.services.ingesting import make_stale, quarantined

pytestmark = pytest.mark.usefixtures("model_version")


def fake_decode(jobs):
    """Decodes what begins with "good", refuses the rest."""
    volume = volume_make(spacing_mm=(1.0, 0.5, 0.7), plane="axial", caveats=("Lossy.",))
    for index, (source, target) in enumerate(jobs):
        if source.read_bytes().endswith(b"good"):
            save_volume(volume, target)
            yield Decoded(index=index, header=volume.header())
        else:
            yield Decoded(index=index, error="The file is damaged.")


def file_make(name="slice.png", *, is_good=True):
    return SimpleUploadedFile(name, png_bytes() + (b"good" if is_good else b"bad"))


def test_import_stores_the_outcome_of_each_file(radiologist):
    upload = upload_create(uploaded_by=radiologist, files=[file_make(), file_make(is_good=False)])

    upload_import_run(upload=upload, decode=fake_decode)

    upload.refresh_from_db()
    good, bad = upload.source_files.order_by("pk")
    assert upload.is_finished
    assert good.status == SourceFile.Status.ACCEPTED
    assert good.study.status == Study.Status.QUEUED
    series = good.study.series.get()
    assert series_volume_path(series=series).is_file()
    assert (series.rows, series.columns, series.plane) == (160, 160, "axial")
    assert (series.row_spacing_mm, series.column_spacing_mm) == (0.5, 0.7)
    assert series.caveats == ["Lossy."]
    assert series.predictions.get().status == Prediction.Status.QUEUED
    assert (bad.status, bad.reason) == (SourceFile.Status.REFUSED, "The file is damaged.")
    assert bad.study.status == Study.Status.NOT_IMPORTED
    assert bad.study.message == bad.reason
    assert quarantined() == []
    assert (good.quarantine_path, bad.quarantine_path) == ("", "")


def test_import_delivered_twice_is_run_once(radiologist):
    upload = upload_create(uploaded_by=radiologist, files=[file_make()])
    upload_import_run(upload=upload, decode=fake_decode)

    upload_import_run(upload=upload, decode=fake_decode)

    assert (Series.objects.count(), Prediction.objects.count()) == (1, 1)


def test_import_goes_on_with_the_rest_after_a_crash(radiologist):
    upload = upload_create(uploaded_by=radiologist, files=[file_make(), file_make(), file_make()])

    def dying_decode(jobs):
        yield from list(fake_decode(jobs))[:2]
        raise MemoryError

    with pytest.raises(MemoryError):
        upload_import_run(upload=upload, decode=dying_decode)
    make_stale(upload)
    upload_sweep()
    seen = []

    def second_decode(jobs):
        seen.extend(jobs)
        yield from fake_decode(jobs)

    upload_import_run(upload=upload, decode=second_decode)

    upload.refresh_from_db()
    assert upload.is_finished
    assert len(seen) == 1
    assert (Series.objects.count(), Prediction.objects.count()) == (3, 3)


def test_file_at_which_the_worker_died_three_times_is_refused_and_the_rest_goes_on(radiologist):
    upload = upload_create(uploaded_by=radiologist, files=[file_make(), file_make()])
    for _ in range(3):
        assert upload_claim(upload=upload)
        make_stale(upload)
        upload_sweep()

    upload_import_run(upload=upload, decode=fake_decode)

    upload.refresh_from_db()
    culprit, other = upload.source_files.order_by("pk")
    assert upload.is_finished
    assert "crashed the worker three times" in culprit.study.message
    assert other.study.status == Study.Status.QUEUED


def test_import_that_lost_its_claim_stores_nothing_more(radiologist):
    upload = upload_create(uploaded_by=radiologist, files=[file_make(), file_make()])

    def slow_decode(jobs):
        outcomes = fake_decode(jobs)
        yield next(outcomes)
        # Meanwhile this worker counted as dead.
        make_stale(upload)
        upload_sweep()
        yield next(outcomes)

    upload_import_run(upload=upload, decode=slow_decode)

    upload.refresh_from_db()
    assert upload.status == Upload.Status.RECEIVED
    assert Series.objects.count() == 1


def test_long_import_queues_up_again_behind_its_first_predictions(radiologist, monkeypatch):
    monkeypatch.setattr(imports, "IMPORT_SECONDS", 0)
    upload = upload_create(uploaded_by=radiologist, files=[file_make(), file_make()])

    upload_import_run(upload=upload, decode=fake_decode)

    upload.refresh_from_db()
    assert (upload.status, upload.attempts) == (Upload.Status.RECEIVED, 0)
    tasks = DBTaskResult.objects.order_by("enqueued_at")
    assert [task.task_name for task in tasks] == [
        "upload_import",
        "prediction_task",
        "upload_import",
    ]
    upload_import_run(upload=upload, decode=fake_decode)
    upload.refresh_from_db()
    assert upload.is_finished
    assert Prediction.objects.count() == 2


def test_waiting_upload_without_a_task_gets_one(radiologist):
    upload = upload_create(uploaded_by=radiologist, files=[file_make()])
    Upload.objects.update(created_at=timezone.now() - timedelta(minutes=5))
    DBTaskResult.objects.all().delete()

    upload_sweep()
    upload_sweep()

    assert DBTaskResult.objects.get().args_kwargs["args"] == [upload.pk]


def test_leftovers_of_killed_processes_are_deleted(radiologist):
    upload_create(uploaded_by=radiologist, files=[file_make()])
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


def test_real_decoding_of_a_real_picture(radiologist, monkeypatch):
    monkeypatch.setattr(imports, "IMPORT_SECONDS", 60.0)
    files = [png_upload("a.png"), SimpleUploadedFile("cut.png", png_bytes()[:400])]
    upload = upload_create(uploaded_by=radiologist, files=files)

    upload_import_run(upload=upload)

    good, cut = upload.studies.order_by("pk")
    assert good.status == Study.Status.QUEUED
    assert cut.status == Study.Status.NOT_IMPORTED
    assert cut.message
