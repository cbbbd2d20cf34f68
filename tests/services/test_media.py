"""The disk of the images is away and comes back: nothing is written in its place, nothing lost."""

import logging
import shutil
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.urls import reverse

from detection.models import Prediction, Series, SourceFile, Upload
from detection.services.imports import leftovers_delete, upload_import_run, upload_sweep
from detection.services.media import MARK, media_prepare, media_root
from detection.services.predictions import prediction_create, prediction_run
from tests.factories import png_upload
from tests.services.ingesting import statuses
from tests.services.reading import FakePredictor
from tests.services.test_faults import STONE, end_pause

pytestmark = pytest.mark.usefixtures("model_version")


@pytest.fixture
def media():
    return Path(django_settings.MEDIA_ROOT)


@pytest.fixture(params=["nothing", "empty folder", "folders of an empty disk", "file"])
def away(request, media):
    """Take the disk away, with something in its place; call it to bring the disk back."""

    def take():
        media.rename(media.with_name("disk"))
        if request.param == "file":
            media.touch()
        elif request.param != "nothing":
            media.mkdir()
        if request.param.startswith("folders"):
            (media / "quarantine").mkdir()
            (media / "volumes").mkdir()
        before = found(media)

        def back():
            assert found(media) == before
            shutil.rmtree(media, ignore_errors=True)
            media.unlink(missing_ok=True)
            media.with_name("disk").rename(media)

        return back

    return take


def found(folder):
    return folder.is_file() or sorted(folder.rglob("*"))


def run(upload):
    upload_import_run(upload=Upload.objects.get(pk=upload.pk))
    upload.refresh_from_db()


def test_upload_outlasts_a_disk_that_is_away_while_others_upload(send, away):
    upload = send(png_upload("a.png"))
    back = away()

    run(upload)
    with pytest.raises(ValidationError, match="not mounted. The files were not stored") as refused:
        send(png_upload("b.png", seed=1))
    media_prepare()
    end_pause(upload)
    run(upload)

    assert refused.value.code == "not_stored"
    assert Upload.objects.get() == upload
    assert (statuses(upload), upload.faults) == (["received"], 2)
    assert "not mounted" in upload.message
    back()
    end_pause(upload)
    upload_sweep()
    run(upload)
    assert upload.is_finished
    assert statuses(upload) == ["accepted"]
    assert send(png_upload("b.png", seed=1)).status == Upload.Status.RECEIVED


def test_page_says_that_the_disk_is_away(radiologist_client, send, away):
    send(png_upload())
    back = away()

    page = radiologist_client.post(reverse("upload-create"), {"files": [png_upload("b.png")]})

    assert page.status_code == 507
    assert "The disk of the server is not mounted." in page.content.decode()
    assert SourceFile.objects.count() == 1
    health = radiologist_client.get("/healthz").json()
    assert health == {"status": "degraded", "reason": "The disk of the server is not mounted."}
    back()


@pytest.mark.parametrize("when", ["before the volume is read", "before the map is stored"])
def test_reading_outlasts_a_disk_that_is_away(series, away, when):
    prediction = prediction_create(series=series)
    taken = []

    def load_predictor(_):
        if not taken:
            taken.append(away())
        return FakePredictor(STONE)

    if when == "before the volume is read":
        taken.append(away())
    prediction_run(prediction=prediction, load_predictor=load_predictor)
    prediction.refresh_from_db()

    assert prediction.status == Prediction.Status.QUEUED
    assert "not mounted" in prediction.message
    taken[0]()
    end_pause(prediction)
    prediction_run(
        prediction=Prediction.objects.get(pk=prediction.pk), load_predictor=load_predictor
    )
    prediction.refresh_from_db()
    assert prediction.status == Prediction.Status.SUCCEEDED


def test_first_start_makes_the_folder(media, send):
    shutil.rmtree(media)

    media_prepare()
    media_prepare()

    assert media_root() == media
    assert media.stat().st_mode & 0o777 == 0o700
    assert (media / MARK).read_bytes() == b""
    upload = send(png_upload())
    run(upload)
    assert upload.is_finished


@pytest.mark.parametrize("left", ["volume", "quarantined file"])
def test_disk_of_an_earlier_version_is_marked(media, series, send, left):
    upload = send(png_upload())
    file = media / upload.source_files.get().quarantine_path
    volume = media / Series.objects.get().volume_path
    (file if left == "volume" else volume).unlink()
    (media / MARK).unlink()

    call_command("requeue")

    assert media_root() == media


@pytest.mark.parametrize("place", ["nothing", "strange files"])
def test_start_never_marks_another_disk(media, series, place, caplog):
    media.rename(media.with_name("disk"))
    if place == "strange files":
        (media / "volumes").mkdir(parents=True)
        (media / "volumes" / "other").touch()

    media_prepare()

    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    with pytest.raises(OSError, match="not mounted"):
        leftovers_delete()
    assert not (media / MARK).exists()
    assert media.exists() == (place == "strange files")
