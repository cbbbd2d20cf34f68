"""What a reader sees when the server has no room, and when images are here already."""

from pathlib import Path

import pytest
from django.conf import settings as django_settings
from playwright.sync_api import Page, expect

from detection.models import Upload
from detection.services.imports import upload_import_run
from detection.services.uploads import upload_create
from tests.disks import full, small_disk
from tests.factories import model_version_make, png_bytes, png_upload, study_make

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.xdist_group("browser")]
MIB = 2**20


@pytest.fixture
def reader(page: Page, cookie) -> Page:
    page.context.add_cookies([cookie])
    return page


@pytest.fixture
def disk(radiologist):
    model_version_make(is_active=True)
    with small_disk(Path(django_settings.MEDIA_ROOT), size_bytes=MIB) as mounted:
        yield mounted


def run(upload, **kwargs):
    upload_import_run(upload=Upload.objects.get(pk=upload.pk), **kwargs)


def test_upload_without_room_is_a_sentence_and_the_files_stay_chosen(reader, disk, tmp_path):
    large = tmp_path / "large.png"
    large.write_bytes(png_bytes(side=1200))
    reader.goto("/studies/new/")
    reader.get_by_label("Image files").set_input_files([large])

    reader.get_by_role("button", name="Upload and read").click()

    expect(reader.get_by_role("alert")).to_contain_text("too little free space for these files")
    expect(reader.get_by_label("Chosen files")).to_contain_text("large.png")
    assert not Upload.objects.exists()


def test_upload_that_waits_says_so_and_goes_on_by_itself(reader, disk, radiologist):
    upload = upload_create(uploaded_by=radiologist, files=[png_upload("first.png")])
    with full(disk):
        run(upload)
    reader.goto("/studies/")
    expect(reader.get_by_role("main")).to_contain_text("The server has no free space.")
    reader.get_by_role("link", name="An upload of").click()
    progress = reader.locator("#upload-progress")
    expect(progress).to_contain_text("Waiting for the server")
    expect(progress).to_contain_text("The files are kept")
    expect(progress).to_contain_text("The next attempt is at")

    Upload.objects.update(retry_at=None)
    run(upload)

    # Nobody has loaded the page again.
    expect(progress).to_contain_text("Waiting to be read")
    expect(progress).not_to_contain_text("no free space")


def test_images_that_are_here_lead_to_their_study(reader, disk, radiologist):
    for name in ("first.png", "second.png"):
        upload = upload_create(uploaded_by=radiologist, files=[png_upload(name)])
        run(upload)
    reader.goto(upload.get_absolute_url())

    row = reader.get_by_role("row").filter(has_text="second.png")
    expect(row).to_contain_text("already here")
    row.get_by_role("link", name="Study").click()

    expect(reader.get_by_role("heading", name="Study")).to_be_visible()
    expect(reader.get_by_role("main")).to_contain_text("first.png")


def test_failed_study_is_read_again(reader, radiologist):
    model_version_make(is_active=True)
    study = study_make(uploaded_by=radiologist, status="failed", message="It crashed.")
    reader.goto(study.get_absolute_url())

    reader.get_by_role("button", name="Read again").click()

    expect(reader.get_by_role("region", name="Reading")).to_contain_text("Waiting to be read")
