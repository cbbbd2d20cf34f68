"""The whole main job through the pages: upload, result, history, retraining, activation."""

import io
import re
from pathlib import Path

import pytest
from django.core.management import call_command
from PIL import Image
from playwright.sync_api import Page, expect

from detection.imaging.display import pixels_png
from detection.imaging.formats import decode_file

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.xdist_group("browser")]
SAMPLES = Path(__file__).resolve().parent.parent / "samples"
READ_TIMEOUT_MS = 180_000
TRAINING_TIMEOUT_MS = 1_200_000
VERDICT = re.compile("Stone suspected|No stone suspected|Cannot assess")


@pytest.fixture
def uploads(tmp_path) -> list[Path]:
    """A PNG, a JPEG, two DICOM files, and a picture that was cut off."""
    slices = sorted((SAMPLES / "ct_slices").glob("*.dcm"))
    pictures = [pixels_png(decode_file(path).pixels[0], is_hu=True) for path in slices]
    png, jpeg, cut = (tmp_path / name for name in ("first.png", "second.jpg", "cut.png"))
    png.write_bytes(pictures[0])
    Image.open(io.BytesIO(pictures[1])).convert("L").save(jpeg, quality=95)
    cut.write_bytes(pictures[0][:1000])
    encoded = SAMPLES / "ct_encodings/JPEG2000LosslessOnly_1.2.840.10008.1.2.4.90.dcm"
    return [png, jpeg, slices[0], encoded, cut]


@pytest.fixture
def phantoms(data_dir) -> str:
    # As few as a training takes: each part needs patients with and without stones.
    call_command("make_phantoms", images=24)
    return "phantoms"


def sign_in(page: Page, *, username: str, password: str) -> None:
    page.goto("/")
    page.get_by_label("Username").fill(username)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="History")).to_be_visible()


def sign_out(page: Page, *, name: str) -> None:
    page.goto("/")
    page.get_by_role("button", name=name).click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def row_of(page: Page, text: str):
    return page.get_by_role("row").filter(has_text=text)


def put_into_service(page: Page, *, name: str) -> None:
    page.goto("/admin/detection/modelversion/")
    row_of(page, name).get_by_role("link", name="Put into service").click()
    page.get_by_label("Why").fill("tried in a test")
    page.get_by_role("button", name="Put into service").click()
    expect(page.get_by_text(f"{name} is in service for all new readings.")).to_be_visible()


def test_radiologist_uploads_reads_and_finds_again(
    page, reading_worker, uploads, radiologist, password, complaints
):
    sign_in(page, username=radiologist.username, password=password)

    page.get_by_role("link", name="Upload", exact=True).click()
    page.get_by_label("Image files").set_input_files(uploads)
    page.get_by_role("button", name="Upload and read").click()
    answer = page.get_by_role("main").get_by_text("All 4 studies have an answer.")
    expect(answer).to_be_visible(timeout=READ_TIMEOUT_MS)
    for path in uploads[:4]:
        expect(row_of(page, path.name)).to_contain_text(VERDICT)
    expect(row_of(page, "cut.png")).to_contain_text("Refused")

    row_of(page, uploads[2].name).get_by_role("link", name="Study").click()
    reading = page.get_by_role("region", name="Reading")
    expect(reading).to_contain_text("calibrated probability of a stone")
    expect(reading).to_contain_text("Decision support for research use, not a diagnosis.")
    expect(page.get_by_role("img", name="CT slice")).to_be_visible()
    expect(page.locator("[data-viewer]")).to_have_attribute("data-state", "ready")
    picture = page.locator("[data-pane].is-main")
    # The map is a second opinion on the image, not a part of it.
    expect(picture).to_have_attribute("data-map", "hidden")
    page.get_by_role("button", name="Map").click()
    expect(picture).to_have_attribute("data-map", "shown")

    sign_out(page, name=str(radiologist))
    sign_in(page, username=radiologist.username, password=password)
    page.get_by_label("file name or study number").fill("second")
    page.get_by_role("button", name="Filter").click()
    expect(row_of(page, "second.jpg")).to_contain_text(VERDICT)
    expect(row_of(page, "first.png")).to_have_count(0)
    page.get_by_role("link", name="Clear").click()
    # What was refused is no study: the report of its upload has it.
    expect(row_of(page, "cut.png")).to_have_count(0)
    page.get_by_role("link", name="Uploads", exact=True).click()
    page.get_by_role("row").nth(1).get_by_role("link").click()
    expect(row_of(page, "cut.png")).to_contain_text("Refused")
    assert complaints == []


def test_administrator_retrains_activates_and_goes_back(
    page, training_worker, model_in_service, phantoms, administrator, password, complaints
):
    sign_in(page, username=administrator.username, password=password)

    page.get_by_role("link", name="Administration").click()
    page.get_by_role("link", name="Training runs").first.click()
    page.get_by_role("link", name="Start a retraining").click()
    page.get_by_label("Training data").select_option(phantoms)
    # The lightest of the shipped ones; it starts from the candidate of its architecture.
    page.get_by_label("Architecture").select_option("mobilenetv2")
    page.get_by_text("Options", exact=True).click()
    page.get_by_label("Epochs").fill("1")
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="Start the retraining").click()
    expect(page.get_by_text("waits for the training worker")).to_be_visible()
    ended = page.get_by_role("heading", name=re.compile("^(Succeeded|Failed)"))
    expect(ended).to_be_visible(timeout=TRAINING_TIMEOUT_MS)
    expect(ended).to_have_text("Succeeded")
    candidate = page.get_by_text("The new model is a candidate").get_by_role("link").inner_text()
    assert candidate.startswith("mobilenetv2-")

    put_into_service(page, name=candidate)
    expect(row_of(page, candidate).get_by_role("img", name="True")).to_be_visible()
    put_into_service(page, name=model_in_service)
    expect(row_of(page, candidate).get_by_role("img", name="False")).to_be_visible()

    page.goto("/admin/detection/modelactivation/")
    by_the_administrator = row_of(page, str(administrator)).filter(has_text="tried in a test")
    expect(by_the_administrator).to_have_count(2)
    assert complaints == []
