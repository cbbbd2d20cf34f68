"""The view of NiiVue, where the browser has WebGL 2, and the sentence where it has not."""

import io
import re

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.conftest import CHROMIUM, pane

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
NO_GPU_OF_ITS_OWN = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
WITHOUT_WEBGL2 = """
const original = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
  return kind === "webgl2" ? null : original.call(this, kind, ...rest);
};
"""


@pytest.fixture
def rendering_page(live_server, browser, cookie):
    renderer = browser.browser_type.launch(
        executable_path=CHROMIUM, args=["--no-sandbox", *NO_GPU_OF_ITS_OWN]
    )
    context = renderer.new_context(
        base_url=live_server.url, viewport={"width": 1280, "height": 1100}
    )
    context.set_default_timeout(60_000)
    context.add_cookies([cookie])
    yield context.new_page()
    renderer.close()


def test_three_planes_in_radiological_convention_and_linked(rendering_page, stack):
    complaints = []
    rendering_page.on("pageerror", lambda error: complaints.append(str(error)))
    rendering_page.goto(stack.get_absolute_url())
    button = rendering_page.get_by_role("button", name="3D", exact=True)
    expect(button).to_be_visible()
    expect(rendering_page.get_by_text("This browser has no WebGL 2")).to_be_hidden()
    button.click()
    scene = rendering_page.locator("[data-3d] canvas")
    expect(scene).to_have_attribute("data-loaded", "true")

    rendering_page.keyboard.press("2")
    expect(pane(rendering_page, "axial")).to_contain_text("L 400 W 1500")
    rendering_page.keyboard.press("1")
    invert = rendering_page.get_by_title("Invert black and white")
    rendering_page.keyboard.press("i")
    expect(invert).to_have_attribute("aria-pressed", "false")

    # The block of bone is bright, everything else is air: coronal at the top left, axial below.
    picture = Image.open(io.BytesIO(scene.screenshot())).convert("RGB")
    red, green, blue = np.moveaxis(np.asarray(picture, np.int16), 2, 0)
    half, middle = red.shape[0] // 2, red.shape[1] // 2
    is_cross = (blue > 150) & (blue - red > 60)
    is_bright = (red > 180) & (abs(red - green) < 8) & (abs(red - blue) < 8)
    for rows in (slice(0, half), slice(half, None)):
        cross_x = int(is_cross[rows, :middle].sum(axis=0).argmax())
        left, right = is_bright[rows, :cross_x].sum(), is_bright[rows, cross_x:middle].sum()
        assert left > 500
        assert left > 3 * right

    # A click on it moves the cross-hairs of the whole viewer there, and so does what is chosen.
    y, x = (int(np.median(places)) for places in np.nonzero(is_bright[half:, : cross_x - 30]))
    scene.click(position={"x": x, "y": y + half})
    expect(pane(rendering_page, "sagittal")).to_have_attribute("data-slice", re.compile("^1[3-6]$"))
    button.click()
    expect(scene).to_have_count(0)
    assert complaints == []


def test_browser_without_webgl2_is_told_so(page, stack, cookie):
    page.add_init_script(WITHOUT_WEBGL2)
    page.context.add_cookies([cookie])
    page.goto(stack.get_absolute_url())

    expect(page.get_by_text("This browser has no WebGL 2: there is no 3D view")).to_be_visible()
    expect(page.get_by_role("button", name="3D", exact=True)).to_be_hidden()
    expect(page.locator("[data-viewer]")).to_have_attribute("data-state", "ready")
