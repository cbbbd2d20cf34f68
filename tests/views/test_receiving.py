"""Uploads for which the server has no room: a sentence, and nothing is stored."""

import logging
import tempfile
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.urls import reverse

from detection.models import Upload
from detection.services.media import MARK
from tests.disks import full, read_only, small_disk
from tests.factories import model_version_make, png_bytes, png_upload

MIB = 2**20
pytestmark = pytest.mark.usefixtures("model_version")


@pytest.fixture
def model_version(db):
    return model_version_make(is_active=True)


@pytest.fixture
def media():
    with small_disk(Path(django_settings.MEDIA_ROOT), size_bytes=MIB) as disk:
        yield disk


@pytest.fixture
def temporary(settings, tmp_path):
    with small_disk(tmp_path / "temporary", size_bytes=MIB) as disk:
        settings.FILE_UPLOAD_TEMP_DIR = str(disk)
        yield disk


@pytest.fixture
def send(radiologist_client):
    return lambda *files: radiologist_client.post(reverse("upload-create"), {"files": list(files)})


def large_upload():
    return png_upload("secret.png", side=1400)


def assert_refused(response, words, caplog):
    assert response.status_code == 507
    page = " ".join(response.content.decode().split())
    assert words in page
    assert "Please tell an administrator" in page
    assert page.count('class="invalid-feedback"') <= 1
    assert "No file was sent" not in page
    assert not Upload.objects.exists()
    ours = [r for r in caplog.records if r.name.startswith("detection.")]
    (record,) = [r for r in ours if r.levelno == logging.ERROR]
    assert "secret" not in record.getMessage()


def test_upload_for_which_the_data_folder_has_no_room(send, media, caplog):
    assert_refused(send(large_upload()), "too little free space", caplog)
    assert list(media.iterdir()) == [media / MARK]
    # A smaller one is taken.
    assert send(png_upload()).status_code == 302


def test_upload_that_would_use_the_reserve(send, media, settings, caplog):
    settings.MIN_FREE_BYTES = 2 * MIB
    assert_refused(send(png_upload("secret.png")), "too little free space", caplog)


def test_upload_for_which_the_folder_of_temporary_files_has_no_room(send, temporary, caplog):
    assert_refused(send(large_upload()), "too little free space", caplog)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("fault", "words"), [(full, "no free space"), (read_only, "cannot be written")]
)
def test_disk_that_fails_while_files_arrive(send, temporary, caplog, monkeypatch, fault, words):
    # What was free when the upload began is not any more.
    monkeypatch.setattr("detection.views.receiving.space_check", lambda **_: None)
    with fault(temporary):
        assert_refused(send(png_upload("secret.png")), words, caplog)


@pytest.mark.parametrize("side", [600, 1400])
def test_disk_that_fills_up_while_files_arrive(send, temporary, caplog, monkeypatch, side):
    monkeypatch.setattr("detection.views.receiving.space_check", lambda **_: None)
    files = [png_upload("secret.png", side=side, seed=seed) for seed in range(4)]

    assert_refused(send(*files), "no free space", caplog)


def test_last_bytes_that_the_buffer_holds_do_not_fit(send, temporary, caplog, monkeypatch):
    monkeypatch.setattr("detection.views.receiving.space_check", lambda **_: None)
    small = png_upload("secret.png", side=16)
    assert len(png_bytes(side=16)) < 4096
    with full(temporary):
        assert_refused(send(small), "no free space", caplog)


def test_disk_that_fills_up_while_files_go_to_quarantine(send, media, caplog, monkeypatch):
    for place in ("views.receiving", "services.uploads"):
        monkeypatch.setattr(f"detection.{place}.space_check", lambda **_: None)

    assert_refused(send(png_upload("a.png"), large_upload()), "no free space", caplog)

    assert [path for path in media.rglob("*") if path.is_file()] == [media / MARK]


def test_form_without_files_is_no_matter_of_space(radiologist_client, media, settings):
    settings.MIN_FREE_BYTES = 2 * MIB

    response = radiologist_client.post(reverse("upload-create"), {"nothing": "here"})

    assert response.status_code == 200
    assert "No file was sent" in response.content.decode()


def test_no_temporary_file_is_left(send, settings, tmp_path):
    settings.FILE_UPLOAD_TEMP_DIR = tempfile.mkdtemp(dir=tmp_path)
    assert send(png_upload()).status_code == 302
    assert list(Path(settings.FILE_UPLOAD_TEMP_DIR).iterdir()) == []
