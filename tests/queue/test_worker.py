"""`manage.py worker` as it is run: from upload to result, with a damaged model, with a training."""

import shutil
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from detection.ml.bundle import default_bundle_path
from detection.models import (
    ModelActivation,
    ModelVersion,
    Prediction,
    SourceFile,
    Study,
    TrainingRun,
    Upload,
)
from detection.services.registry import model_version_register
from detection.services.training import training_run_create, training_run_sweep
from detection.services.uploads import upload_create
from tests.disks import full, small_disk
from tests.processes import children_of, is_alive, wait_for
from tests.queue.conftest import SLICES

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


def start_ready(start, *, queue):
    worker = start("manage.py", "worker", "--queue", queue)
    wait_for(worker.is_ready)
    return worker


def test_upload_is_imported_and_read(start, shipped_model, radiologist):
    files = [SimpleUploadedFile("a.dcm", path.read_bytes()) for path in SLICES]
    files.append(SimpleUploadedFile("notes.txt", b"not an image"))
    upload = upload_create(uploaded_by=radiologist, files=files)

    worker = start_ready(start, queue="default")
    # Studies come into being while the upload is imported.
    wait_for(lambda: Upload.objects.get().is_finished)
    wait_for(lambda: all(study.is_final for study in Study.objects.filter(upload=upload)))

    read = list(upload.studies.order_by("pk"))
    assert [study.status for study in read] == [Study.Status.SUCCEEDED] * len(SLICES)
    assert all(study.verdict and 0 <= study.probability <= 1 for study in read)
    kept_out = upload.source_files.exclude(status=SourceFile.Status.ACCEPTED).get()
    assert "text" in kept_out.reason
    # Keys alone: no name of a person or of a file is in any log.
    assert not [name for name in ("radiologist", "a.dcm", "notes") if name in worker.log()]
    assert worker.stop() == 0


def send(radiologist):
    file = SimpleUploadedFile("a.dcm", SLICES[0].read_bytes())
    return upload_create(uploaded_by=radiologist, files=[file])


def is_read():
    return Prediction.objects.filter(status=Prediction.Status.SUCCEEDED).exists()


def test_worker_outlives_a_damaged_model_and_reads_when_it_is_mended(
    start, settings, data_dir, process_environment, radiologist
):
    shipped = default_bundle_path(settings.SHIPPED_MODEL_ROOT)
    bundle = shutil.copytree(shipped, data_dir / "models" / shipped.name)
    version = model_version_register(path=bundle, origin=ModelVersion.Origin.SITE)
    ModelActivation.objects.create(model_version=version)
    damaged = bytearray((bundle / "model.onnx").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (bundle / "model.onnx").write_bytes(damaged)
    send(radiologist)

    worker = start_ready(start, queue="default")
    wait_for(lambda: Prediction.objects.filter(retry_at__isnull=False).exists())

    study = Study.objects.get()
    assert (study.status, study.probability) == (Study.Status.QUEUED, None)
    assert "model of the server cannot be loaded" in study.message
    assert '"ERROR"' in worker.log()
    assert worker.process.poll() is None
    shutil.copyfile(shipped / "model.onnx", bundle / "model.onnx")
    # By itself, after its pause.
    wait_for(is_read)
    assert Study.objects.get().message == ""
    assert worker.stop() == 0


def test_upload_on_a_full_disk_is_imported_when_there_is_room(
    start, shipped_model, settings, radiologist
):
    with small_disk(Path(settings.MEDIA_ROOT), size_bytes=4 * 2**20) as disk:
        upload = send(radiologist)
        with full(disk):
            worker = start_ready(start, queue="default")
            wait_for(lambda: Upload.objects.get().retry_at)
            worker.kill()
        upload.refresh_from_db()
        assert upload.status == Upload.Status.RECEIVED
        assert "no free space" in upload.message
        assert '"ENOSPC"' in worker.log()

        # Another worker goes on after the pause.
        worker = start_ready(start, queue="default")
        wait_for(is_read)

        assert Study.objects.get().verdict
        assert [file.status for file in upload.source_files.all()] == ["accepted"]
        assert worker.stop() == 0


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_training_never_outlives_its_worker(start, shipped_model, administrator, data_dir, how):
    folder = data_dir / "training" / "some"
    folder.mkdir(parents=True)
    (folder / "manifest.csv").touch()
    worker = start_ready(start, queue="training")
    training_run = training_run_create(requested_by=administrator, data_folder="some")
    (child,) = wait_for(lambda: children_of(worker.pid))

    if how == "killed":
        worker.kill()
        TrainingRun.objects.update(heartbeat_at="2000-01-01T00:00Z")
        training_run_sweep()
    else:
        assert worker.stop() == 0
    wait_for(lambda: not is_alive(child))

    training_run.refresh_from_db()
    assert training_run.status == TrainingRun.Status.FAILED
    assert "worker was stopped" in training_run.message
    assert not list((data_dir / "models").glob(".training-*"))
