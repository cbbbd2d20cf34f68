"""Fingers on the viewer: what a tablet beside the workstation sends."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import pane
from tests.factories import study_make
from tests.pictures import BLOCK_SIDES

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
SLICES = BLOCK_SIDES[0]


@pytest.fixture
def phone(live_server, browser, cookie):
    context = browser.new_context(
        base_url=live_server.url, has_touch=True, viewport={"width": 390, "height": 844}
    )
    context.add_cookies([cookie])
    yield context.new_page()
    context.close()


def touch(phone, picture, *steps):
    """Put fingers at places of a picture, counted from its middle, move and lift them."""
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    session = phone.context.new_cdp_session(phone)
    for number, fingers in enumerate(steps):
        points = [
            {"x": middle[0] + x, "y": middle[1] + y, "id": finger}
            for finger, (x, y) in enumerate(fingers)
        ]
        kind = "touchMove" if number else "touchStart"
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_a_finger_scrolls_and_two_zoom(phone, stack):
    phone.goto(stack.get_absolute_url())
    axial = pane(phone, "axial")
    zoom = phone.locator("[data-zoom-level]")
    expect(axial).to_have_attribute("data-slice", str(SLICES // 2))

    touch(phone, axial, [(0, 0)], [(0, 20)], [(0, 40)])
    expect(axial).to_have_attribute("data-slice", str(SLICES // 2 - 3))
    expect(zoom).to_have_text("100 %")

    touch(phone, axial, [(-30, 0), (30, 0)], [(-45, 0), (45, 0)], [(-60, 0), (60, 0)])
    expect(zoom).to_have_text("200 %")
    expect(axial).to_have_attribute("data-slice", str(SLICES // 2 - 3))

    # Zoomed in, one finger still scrolls, and the page stays as wide as the screen.
    touch(phone, axial, [(0, 0)], [(0, -24)])
    expect(axial).to_have_attribute("data-slice", str(SLICES // 2 - 1))
    expect(zoom).to_have_text("200 %")
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    assert phone.evaluate("visualViewport.scale") == 1


def test_two_fingers_zoom_a_picture_and_not_its_page(phone, radiologist):
    phone.goto(study_make(uploaded_by=radiologist).get_absolute_url())
    expect(phone.locator("[data-viewer]")).to_have_attribute("data-state", "ready")

    picture = pane(phone, "unknown")
    touch(phone, picture, [(-30, 0), (30, 0)], [(-60, 0), (60, 0)], [(-75, 0), (75, 0)])
    expect(phone.locator("[data-zoom-level]")).to_have_text("250 %")
    assert phone.evaluate("visualViewport.scale") == 1
