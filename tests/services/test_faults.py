"""Faults of the installation: the work waits, nothing is lost, and it goes on by itself."""

import errno
import logging
import shutil
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from django.conf import settings as django_settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError
from django.utils import timezone
from django_tasks_db.models import DBTaskResult

from detection.imaging.ingest import sandbox
from detection.ml.errors import BundleError
from detection.ml.serving import Assessment
from detection.models import ModelActivation, Prediction, SourceFile, Study, Upload
from detection.selectors.studies import series_volume_path
from detection.services import claims, imports, space
from detection.services.claims import PAUSES_SECONDS
from detection.services.imports import upload_import_run, upload_sweep
from detection.services.predictions import (
    prediction_claim,
    prediction_create,
    prediction_run,
    prediction_sweep,
)
from tests.disks import full, read_only, small_disk
from tests.factories import (
    dicom_upload,
    model_version_make,
    png_bytes,
    png_upload,
    series_make,
    zip_upload,
)
from tests.services.ingesting import make_stale, quarantined, statuses
from tests.services.reading import FakePredictor

pytestmark = pytest.mark.usefixtures("model_version")
MIB = 2**20
STONE = Assessment(
    verdict="stone", probability=0.9, stone_map=np.full((1, 64, 64), 0.25, np.float32)
)


@pytest.fixture
def media():
    return Path(django_settings.MEDIA_ROOT)


@pytest.fixture
def disk(media):
    with small_disk(media, size_bytes=MIB) as mounted:
        yield mounted


@pytest.fixture
def errors(caplog):
    return lambda: [r for r in caplog.records if r.levelno == logging.ERROR]


@pytest.fixture(autouse=True)
def no_patience(monkeypatch):
    monkeypatch.setattr(claims, "DATABASE_PAUSES_SECONDS", (0, 0))


def run(upload, **kwargs):
    upload_import_run(upload=Upload.objects.get(pk=upload.pk), **kwargs)
    upload.refresh_from_db()


def end_pause(row):
    type(row).objects.filter(pk=row.pk).update(retry_at=timezone.now() - timedelta(seconds=1))


def assert_waits(upload, files):
    """Nothing of the upload is decided, its bytes are kept, and it says so."""
    assert upload.status == Upload.Status.RECEIVED
    assert upload.retry_at > timezone.now()
    assert "files are kept" in upload.message
    assert statuses(upload) == ["received"] * files
    assert len(quarantined()) == files
    assert not Study.objects.exists()


def assert_imported(upload):
    assert upload.is_finished
    assert (upload.message, upload.retry_at) == ("", None)
    assert set(statuses(upload)) == {"accepted"}
    assert quarantined() == []


# Uploads.


@pytest.mark.parametrize("fault", [full, read_only])
def test_upload_waits_for_the_disk_and_goes_on_by_itself(send, disk, errors, fault):
    upload = send(png_upload("secret.png"), png_upload("b.png", seed=1))

    with fault(disk):
        run(upload)

    assert_waits(upload, files=2)
    (record,) = errors()
    assert record.fault == {full: "ENOSPC", read_only: "EROFS"}[fault]
    assert record.upload == upload.pk
    assert "secret" not in record.getMessage()
    # Nothing happens before the pause is over; then a sweep has it imported.
    DBTaskResult.objects.all().delete()
    upload_sweep()
    assert not DBTaskResult.objects.exists()
    run(upload)
    assert_waits(upload, files=2)
    end_pause(upload)
    upload_sweep()
    upload_sweep()
    assert DBTaskResult.objects.get().args_kwargs["args"] == [upload.pk]
    run(upload)
    assert_imported(upload)
    assert Study.objects.count() == 2


def test_disk_that_has_room_for_the_files_and_not_for_their_volumes(send, disk, monkeypatch):
    monkeypatch.setattr(space, "COPIES", 1)
    # 600 kB in quarantine; the volume of the picture is 640 kB.
    upload = send(png_upload("large.png", side=800))

    run(upload)

    assert_waits(upload, files=1)
    assert list((disk / "volumes").iterdir()) == []


def test_small_file_finds_the_room_that_a_large_one_lacks(send, disk, monkeypatch):
    monkeypatch.setattr(imports, "IMPORT_SECONDS", 60.0)
    monkeypatch.setattr(space, "COPIES", 1)
    upload = send(png_upload("large.png", side=800), png_upload("small.png", side=64))

    run(upload)

    assert statuses(upload) == ["received", "accepted"]
    assert upload.retry_at is not None
    assert (upload.faults, Study.objects.count()) == (1, 1)


def test_archive_waits_as_a_whole(send, disk):
    upload = send(zip_upload())

    with full(disk):
        run(upload)

    assert_waits(upload, files=1)


@pytest.mark.parametrize("lost", ["folder of volumes is a file", "nothing is mounted"])
def test_upload_waits_for_its_folders(send, media, lost):
    upload = send(png_upload())
    if lost == "nothing is mounted":
        media.rename(media.with_name("elsewhere"))
    else:
        (media / "volumes").write_bytes(b"")

    run(upload)

    assert upload.retry_at is not None
    assert statuses(upload) == ["received"]
    if lost == "nothing is mounted":
        # Nothing is written where the disk should be.
        assert not media.exists()
        media.with_name("elsewhere").rename(media)
    else:
        (media / "volumes").unlink()
    end_pause(upload)
    run(upload)
    assert_imported(upload)


def test_file_whose_bytes_are_missing_waits_for_a_day_and_the_others_go_on(send, media, errors):
    upload = send(png_upload("a.png"), png_upload("b.png", seed=1))
    gone = upload.source_files.earliest("pk")
    (media / gone.quarantine_path).unlink()

    run(upload)

    assert statuses(upload) == ["received", "accepted"]
    assert upload.faults == 1
    assert "files are kept" in upload.message
    Upload.objects.update(faults=148)
    end_pause(upload)
    run(upload)
    assert statuses(upload) == ["received", "accepted"]
    assert upload.faults == 149
    end_pause(upload)
    run(upload)

    gone.refresh_from_db()
    assert upload.is_finished
    assert (gone.status, gone.code) == (SourceFile.Status.REFUSED, "lost")
    assert gone.advice == "Please upload it again."
    assert Study.objects.count() == 1
    records = [record for record in errors() if hasattr(record, "source_file")]
    assert [record.source_file for record in records] == [gone.pk] * 3


def test_bytes_that_come_back_within_the_day_are_imported(send, media):
    upload = send(dicom_upload("a.dcm"), dicom_upload("b.dcm"))
    gone = media / upload.source_files.earliest("pk").quarantine_path
    kept = gone.rename(media / "kept")
    run(upload)
    # Nothing of the series is decided without it.
    assert statuses(upload) == ["received"] * 2

    kept.rename(gone)
    end_pause(upload)
    run(upload)

    assert upload.is_finished
    assert quarantined() == []


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, "Input/output error"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        ChildProcessError("The decoding process does not start."),
        OperationalError(2006, "MySQL server has gone away"),
    ],
    ids=["EIO", "EDQUOT", "no child", "database"],
)
def test_other_faults_are_waited_for_too(send, errors, error):
    upload = send(png_upload())

    def failing(paths, **kwargs):
        raise error

    run(upload, ingest=failing)

    assert_waits(upload, files=1)
    assert len(errors()) == 1
    end_pause(upload)
    run(upload)
    assert_imported(upload)


def test_decoding_process_that_does_not_start_refuses_nothing(send, monkeypatch, tmp_path):
    upload = send(png_upload())
    with monkeypatch.context() as broken:
        broken.setattr(sandbox, "_PROJECT_ROOT", tmp_path)
        run(upload)

    assert_waits(upload, files=1)


def test_pauses_grow_and_a_fault_is_no_crash(send):
    upload = send(png_upload())

    def failing(paths, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    pauses = []
    for _ in range(8):
        run(upload, ingest=failing)
        pauses.append(round((upload.retry_at - timezone.now()).total_seconds()))
        end_pause(upload)

    assert pauses == [*PAUSES_SECONDS, 600, 600]
    assert (upload.faults, upload.attempts) == (8, 0)
    run(upload)
    assert_imported(upload)


def test_worker_that_is_killed_after_a_fault_loses_nothing(send, disk):
    upload = send(png_upload())
    with full(disk):
        run(upload)
    end_pause(upload)
    imports.upload_claim(upload=upload)
    make_stale(upload)
    upload_sweep()

    run(upload)

    assert_imported(upload)


def test_fault_that_another_worker_has_overtaken_changes_nothing(send):
    upload = send(png_upload())

    def slow(paths, **kwargs):
        make_stale(upload)
        upload_sweep()
        raise OSError(errno.ENOSPC, "No space left on device")

    run(upload, ingest=slow)

    assert (upload.status, upload.retry_at, upload.faults) == (Upload.Status.RECEIVED, None, 0)


def test_database_that_is_away_for_a_moment_gets_the_wait_all_the_same(send, monkeypatch):
    upload = send(png_upload())
    tried = []
    claimed = claims.rows_claimed

    def away(**kwargs):
        tried.append(1)
        if len(tried) == 2:
            raise OperationalError(2006, "MySQL server has gone away")
        return claimed(**kwargs)

    monkeypatch.setattr(claims, "rows_claimed", away)

    def failing(paths, **kwargs):
        tried.append(0)
        raise OperationalError(2006, "MySQL server has gone away")

    run(upload, ingest=failing)

    assert_waits(upload, files=1)


def test_stored_outcome_stands_where_the_bytes_cannot_be_deleted(send, monkeypatch, errors):
    upload = send(png_upload())
    monkeypatch.setattr(
        Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(OSError(errno.EROFS, "read-only"))
    )

    run(upload)

    assert upload.is_finished
    assert statuses(upload) == ["accepted"]
    assert len(errors()) == 1


def test_file_that_is_damaged_is_refused_on_a_small_disk_too(send, disk):
    upload = send(SimpleUploadedFile("cut.png", png_bytes()[:300]))

    run(upload)

    assert upload.is_finished
    assert statuses(upload) == ["refused"]


# Readings.


@pytest.fixture
def prediction(series, model_version):
    return prediction_create(series=series)


def read(prediction, outcome=STONE, **kwargs):
    if outcome is not None:
        kwargs["load_predictor"] = lambda _: FakePredictor(outcome)
    prediction_run(prediction=Prediction.objects.get(pk=prediction.pk), **kwargs)
    prediction.refresh_from_db()


def assert_reading_waits(prediction):
    assert prediction.status == Prediction.Status.QUEUED
    assert prediction.retry_at > timezone.now()
    study = Study.objects.get(pk=prediction.series.study_id)
    assert study.status == Study.Status.QUEUED
    assert study.message == prediction.message
    assert "images are kept" in study.message


def test_reading_waits_for_room_for_its_map(radiologist, media, model_version, errors):
    with small_disk(media, size_bytes=MIB) as disk:
        prediction = prediction_create(series=series_make(uploaded_by=radiologist))
        with full(disk):
            read(prediction)

        assert_reading_waits(prediction)
        (record,) = errors()
        assert (record.prediction, record.fault) == (prediction.pk, "ENOSPC")
        # No half of a map takes what is left.
        assert list((disk / "maps").glob("*")) == []
        end_pause(prediction)
        prediction_sweep()
        read(prediction)
        assert prediction.status == Prediction.Status.SUCCEEDED
        assert Study.objects.get().message == ""


def test_reading_waits_for_a_read_only_disk(radiologist, media, model_version):
    with small_disk(media, size_bytes=MIB) as disk:
        prediction = prediction_create(series=series_make(uploaded_by=radiologist))
        with read_only(disk):
            read(prediction)

        assert_reading_waits(prediction)
        assert "cannot be written" in prediction.message


def test_reading_waits_for_the_disk_of_its_volume(prediction, media):
    (media / "volumes").rename(media / "away")

    read(prediction)

    assert_reading_waits(prediction)
    (media / "away").rename(media / "volumes")
    end_pause(prediction)
    read(prediction)
    assert prediction.status == Prediction.Status.SUCCEEDED


@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_volume_that_is_lost_for_good_fails_and_can_be_read_again(prediction, damage):
    path = series_volume_path(series=prediction.series)
    kept = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(kept[:-20] + bytes(20))

    read(prediction)

    assert prediction.status == Prediction.Status.FAILED
    assert damage in prediction.message
    path.write_bytes(kept)
    again = prediction_create(series=prediction.series)
    read(again)
    assert again.status == Prediction.Status.SUCCEEDED


def break_bundle(folder, how):
    if how == "folder is missing":
        folder.rename(folder.with_name("moved"))
    elif how == "file is missing":
        (folder / "model.onnx").unlink()
    elif how == "one byte is changed":
        data = bytearray((folder / "model.onnx").read_bytes())
        data[0] ^= 1
        (folder / "model.onnx").write_bytes(data)
    else:
        with (folder / "model.json").open("a") as file:
            file.write(" ")


@pytest.mark.parametrize(
    "how",
    ["folder is missing", "file is missing", "one byte is changed", "another model.json"],
)
def test_reading_waits_for_its_bundle(prediction, settings, errors, how):
    folder = Path(settings.MODEL_ROOT) / prediction.model_version.name
    shutil.copytree(folder, folder.with_name("copy"))
    break_bundle(folder, how)

    read(prediction, outcome=None)

    assert_reading_waits(prediction)
    assert "model of the server cannot be loaded" in prediction.message
    (record,) = errors()
    assert "bundle" in record.fault
    # The bundle comes back: the next attempt loads it. (That of the tests holds no network.)
    shutil.rmtree(folder, ignore_errors=True)
    folder.with_name("copy").rename(folder)
    end_pause(prediction)
    prediction_sweep()
    read(prediction)
    assert prediction.status == Prediction.Status.SUCCEEDED


def test_reading_goes_on_with_the_version_that_was_put_into_service_instead(prediction):
    other = model_version_make("model-2")
    ModelActivation.objects.create(model_version=other)

    read(prediction, outcome=BundleError("The model bundle model-1 is missing."))

    assert prediction.model_version == other
    assert prediction.retry_at <= timezone.now()
    read(prediction)
    assert prediction.status == Prediction.Status.SUCCEEDED


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EIO, "Input/output error"), OperationalError(1205, "Lock wait timeout")],
    ids=["EIO", "database"],
)
def test_reading_waits_for_other_faults(prediction, errors, error):
    read(prediction, error)

    assert_reading_waits(prediction)
    assert (prediction.attempts, prediction.faults) == (0, 1)
    assert len(errors()) == 1


def test_task_that_comes_before_the_pause_is_over_does_nothing(prediction):
    read(prediction, OSError(errno.EIO, "Input/output error"))

    read(prediction)

    assert_reading_waits(prediction)
    assert not prediction_claim(prediction=prediction)
