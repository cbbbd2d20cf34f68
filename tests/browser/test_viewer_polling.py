"""A study that is read while somebody looks at it: news arrive, the view stays as it was set."""

import re

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from detection.models import Prediction, Study
from tests.browser.conftest import pane
from tests.factories import study_make
from tests.pictures import BLOCK_SIDES, block_volume

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
SLICES, _, COLUMNS = BLOCK_SIDES


@pytest.fixture
def running(radiologist):
    study = study_make(uploaded_by=radiologist, status=Study.Status.RUNNING, volume=block_volume())
    Prediction.objects.filter(series__study=study).update(slices_total=SLICES, slices_done=1)
    return study


def finish(study):
    outcome = {"status": "succeeded", "verdict": "no_stone", "probability": 0.03}
    read = {"slices_read": SLICES, "slices_given": SLICES, **outcome}
    Prediction.objects.filter(series__study=study).update(finished_at=timezone.now(), **read)
    prediction = Prediction.objects.get(series__study=study)
    Study.objects.filter(pk=study.pk).update(prediction=prediction, series_read=1, **read)


@pytest.mark.parametrize("can_move", [True, False], ids=["moveBefore", "no moveBefore"])
def test_news_of_a_reading_leave_the_view_alone(page, running, cookie, can_move, complaints):
    if not can_move:
        page.add_init_script("delete Element.prototype.moveBefore")
    page.context.add_cookies([cookie])
    page.set_viewport_size({"width": 1280, "height": 1100})
    page.goto(running.get_absolute_url())
    coronal = pane(page, "coronal")
    stage = page.locator("[data-stage]")

    def expect_the_view_as_it_was_set():
        expect(coronal).to_have_class(re.compile("is-main"))
        expect(coronal).to_have_attribute("data-slice", "27")
        expect(pane(page, "sagittal")).to_have_attribute("data-slice", str(COLUMNS // 2))
        expect(page.locator("[data-zoom-level]")).to_have_text("156 %")
        expect(coronal.locator("[data-window-readout]")).to_have_text("L 400 W 1500")
        for title in ("Invert black and white", "Dragging moves the image"):
            expect(page.get_by_title(title)).to_have_attribute("aria-pressed", "true")
        expect(stage).to_have_attribute("data-tool", "move")
        expect(stage).to_be_focused()

    expect(page.locator("[data-viewer]")).to_have_attribute("data-state", "ready")
    stage.focus()
    for key in ("t", "ArrowUp", "ArrowUp", "ArrowUp", "2", "+", "+", "i", "g"):
        page.keyboard.press(key)
    expect_the_view_as_it_was_set()

    Prediction.objects.filter(series__study=running).update(slices_done=9)
    expect(page.get_by_text(f"Slice 9 of {SLICES}")).to_be_visible()
    expect_the_view_as_it_was_set()

    finish(running)
    expect(page.get_by_text("series score", exact=True)).to_be_visible()
    expect_the_view_as_it_was_set()
    page.keyboard.press("3")
    expect(coronal.locator("[data-window-readout]")).to_have_text("L 500 W 2000")
    assert complaints == []
