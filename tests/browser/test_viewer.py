"""The viewer in Chromium, on an asymmetric synthetic volume whose sides are known."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import pane
from tests.factories import study_make
from tests.pictures import BLOCK_HU, BLOCK_SIDES

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
SLICES, ROWS, COLUMNS = BLOCK_SIDES

# Where the centre of what is bright lies in a pane, as shares of the drawn picture's width and
# height, read back from the canvas itself: only pure greys count, not what is drawn in colour.
BRIGHT_PLACE = """
(pane) => {
  const canvas = pane.querySelector("canvas");
  const { width, height } = canvas;
  const data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
  let [sumX, sumY, count] = [0, 0, 0];
  for (let i = 0; i < data.length; i += 4) {
    const [r, g, b] = [data[i], data[i + 1], data[i + 2]];
    if (r > 180 && r === g && g === b) {
      sumX += (i / 4) % width;
      sumY += Math.floor(i / 4 / width);
      count += 1;
    }
  }
  return count ? [sumX / count / width, sumY / count / height, count] : null;
}
"""


def test_the_patients_right_is_at_the_left_and_named_so(complaints, focused):
    for plane, letters in (("axial", "RLAP"), ("coronal", "RLHF"), ("sagittal", "APHF")):
        for edge, letter in zip(("left", "right", "top", "bottom"), letters, strict=True):
            expect(pane(focused, plane).locator(f'[data-side="{edge}"]')).to_have_text(letter)
    focused.keyboard.press("b")
    focused.get_by_title("Dragging moves the cross-hairs").click()
    for plane in ("axial", "coronal"):
        expect(pane(focused, plane)).to_have_attribute("data-slice", re.compile(r"\d+"))
        x, y, _ = pane(focused, plane).evaluate(BRIGHT_PLACE)
        assert x < 0.4
        assert y == pytest.approx(0.5, abs=0.1)
    assert complaints == []


def test_keys_wheel_strip_and_cross_hairs_choose_the_slices(opened):
    axial = pane(opened, "axial")
    middle = SLICES // 2
    expect(axial).to_have_attribute("data-slice", str(middle))
    opened.locator("[data-stage]").focus()

    # Downwards is towards the feet, from which the slices are counted.
    for key, index in (
        ("ArrowDown", middle - 1),
        ("ArrowUp", middle),
        ("PageDown", middle - 10),
        ("Home", SLICES - 1),
        ("End", 0),
    ):
        opened.keyboard.press(key)
        expect(axial).to_have_attribute("data-slice", str(index))
    expect(axial).to_contain_text(f"1 / {SLICES}")

    axial.hover()
    opened.mouse.wheel(0, -120)
    expect(axial).to_have_attribute("data-slice", "1")

    slider = opened.get_by_role("slider", name="Slice")
    expect(slider).to_have_attribute("aria-valuetext", f"Slice 2 of {SLICES}")
    slider.focus()
    opened.keyboard.press("ArrowRight")
    expect(axial).to_have_attribute("data-slice", "2")
    box = slider.bounding_box()
    slider.click(position={"x": box["width"] * 0.76, "y": box["height"] / 2})
    expect(axial).to_have_attribute("data-slice", str(int(SLICES * 0.76)))

    # A click on the picture links the planes there.
    slider.evaluate("element => element.blur()")
    box = pane(opened, "axial").bounding_box()
    # A little beside the middle, which is the edge between two voxels.
    axial.click(position={"x": box["width"] / 2 + 2, "y": box["height"] / 2 + 2})
    expect(pane(opened, "sagittal")).to_have_attribute("data-slice", str(COLUMNS // 2))
    expect(pane(opened, "coronal")).to_have_attribute("data-slice", str(ROWS // 2))

    # Towards the left of the picture lies the patient's right, where sagittal cuts begin.
    axial.click(position={"x": box["width"] / 4, "y": box["height"] / 2})
    expect(pane(opened, "sagittal")).not_to_have_attribute("data-slice", str(COLUMNS // 2))
    assert int(pane(opened, "sagittal").get_attribute("data-slice")) < COLUMNS // 2


def test_keys_act_only_where_the_viewer_has_the_focus(opened, radiologist):
    newer = study_make(uploaded_by=radiologist)
    opened.reload()
    viewer = opened.locator("[data-viewer]")
    expect(viewer).to_have_attribute("data-state", "ready")
    readout = pane(opened, "axial").locator("[data-window-readout]")
    invert = opened.get_by_title("Invert black and white")
    listed = opened.get_by_role("dialog", name="Keys of the viewer")

    # Neither on the page, the pointer over the image, nor in a field of the viewer itself.
    pane(opened, "axial").hover()
    opened.keyboard.type("2ip?")
    viewer.evaluate("viewer => viewer.append(document.createElement('textarea'))")
    viewer.locator("textarea").press_sequentially("2ip?")
    expect(viewer.locator("textarea")).to_have_value("2ip?")
    expect(readout).to_have_text("L 40 W 400")
    expect(invert).to_have_attribute("aria-pressed", "false")
    expect(listed).to_be_hidden()

    opened.get_by_role("link", name="Newer").focus()
    expect(opened.get_by_text("Keys act once the image was clicked")).to_be_visible()
    opened.locator("[data-stage]").focus()
    expect(opened.get_by_text("Keys are on.")).to_be_visible()
    expect(viewer).to_have_css("border-color", "rgb(134, 216, 230)")
    opened.keyboard.press("?")
    expect(listed).to_contain_text("this list")
    opened.keyboard.press("i")
    opened.keyboard.press("Escape")
    expect(listed).to_be_hidden()
    opened.keyboard.press("2")
    expect(readout).to_have_text("L 400 W 1500")
    expect(invert).to_have_attribute("aria-pressed", "false")

    # The next study goes on where this one was left: with the keys.
    opened.keyboard.press("p")
    opened.wait_for_url(f"**{newer.get_absolute_url()}")
    expect(opened.locator("[data-stage]")).to_be_focused()


def test_windows_by_keys_and_by_dragging_values_and_inversion(focused):
    readout = pane(focused, "axial").locator("[data-window-readout]")
    for key, words in (
        ("2", "L 400 W 1500"),
        ("3", "L 500 W 2000"),
        ("4", "L -600 W 1500"),
        ("1", "L 40 W 400"),
    ):
        focused.keyboard.press(key)
        expect(readout).to_have_text(words)

    box = pane(focused, "axial").bounding_box()
    focused.mouse.move(box["x"] + 100, box["y"] + 100)
    focused.mouse.down(button="right")
    focused.mouse.move(box["x"] + 160, box["y"] + 130)
    focused.mouse.up(button="right")
    expect(readout).to_have_text("L 80 W 480")
    expect(focused.locator("[data-window][aria-pressed=true]")).to_have_count(0)

    # The value under the pointer, and the greys turned over.
    focused.keyboard.press("1")
    axial = pane(focused, "axial")
    focused.keyboard.press("b")
    focused.keyboard.press("x")
    x, y, bright = axial.evaluate(BRIGHT_PLACE)
    box = axial.bounding_box()
    focused.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
    expect(focused.locator("[data-readout]")).to_contain_text(f"{BLOCK_HU} HU at x 1")

    focused.keyboard.press("i")
    focused.wait_for_function(
        f"() => ({BRIGHT_PLACE})(document.querySelector('[data-pane=axial]'))[2] > {bright}"
    )


def test_a_voxel_is_as_tall_as_its_millimetres_say(focused):
    focused.keyboard.press("b")
    focused.keyboard.press("x")
    focused.keyboard.press("t")
    expect(pane(focused, "coronal")).to_have_class(re.compile("is-main"))
    extent = pane(focused, "coronal").evaluate(
        """(pane) => {
          const canvas = pane.querySelector("canvas");
          const { width, height } = canvas;
          const data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
          let [x0, x1, y0, y1] = [width, 0, height, 0];
          for (let i = 0; i < data.length; i += 4) {
            if (data[i] > 128 && data[i] === data[i + 1]) {
              const [x, y] = [(i / 4) % width, Math.floor(i / 4 / width)];
              [x0, x1] = [Math.min(x0, x), Math.max(x1, x)];
              [y0, y1] = [Math.min(y0, y), Math.max(y1, y)];
            }
          }
          return (y1 - y0) / (x1 - x0);
        }"""
    )
    # 8 slices of 3 mm tall, 10 columns of 1 mm wide.
    assert extent == pytest.approx(2.4, rel=0.06)


def test_ruler_map_and_findings(focused):
    axial = pane(focused, "axial")
    expect(axial.locator("[data-scale-bar]")).to_contain_text("mm")
    length_mm = int(axial.locator("[data-scale-bar]").get_attribute("data-mm"))
    bar = axial.locator("[data-scale-line]").bounding_box()
    box = axial.bounding_box()
    focused.keyboard.press("d")
    focused.mouse.move(box["x"] + 100, box["y"] + 200)
    focused.mouse.down()
    focused.mouse.move(box["x"] + 100 + bar["width"], box["y"] + 200)
    focused.mouse.up()

    measured = float(axial.get_attribute("data-measured"))
    assert measured == pytest.approx(length_mm, rel=0.02)

    # The map is a second opinion, off until it is asked for.
    expect(axial).to_have_attribute("data-map", "hidden")
    focused.keyboard.press("m")
    expect(axial).to_have_attribute("data-map", "shown")
    focused.keyboard.press("m")
    expect(axial).to_have_attribute("data-map", "hidden")

    finding = focused.locator('[data-finding="1"]')
    finding.click()
    expect(finding).to_have_attribute("aria-pressed", "true")
    expect(pane(focused, "axial")).to_have_attribute("data-slice", "18")
    expect(pane(focused, "sagittal")).to_have_attribute("data-slice", "55")
    expect(pane(focused, "coronal")).to_have_attribute("data-slice", "45")
    expect(focused.locator("[data-zoom-level]")).to_have_text("200 %")

    # The planes change places.
    stage = focused.locator("[data-stage]")
    focused.keyboard.press("v")
    expect(stage).to_have_class(re.compile("is-three"))
    focused.keyboard.press("v")
    expect(stage).not_to_have_class(re.compile("is-three"))
    focused.get_by_role("button", name="Show the sagittal plane large").click()
    expect(pane(focused, "sagittal")).to_have_class(re.compile("is-main"))
    expect(focused.get_by_role("slider", name="Slice")).to_have_attribute(
        "aria-valuemax", str(COLUMNS)
    )


def test_ended_session_is_said_and_shows_no_more_slices(opened):
    opened.context.clear_cookies()
    opened.locator("[data-stage]").focus()
    opened.keyboard.press("Home")

    expect(opened.get_by_role("alert")).to_contain_text("Your session has ended")


def test_picture_says_that_its_sides_are_not_known(page, radiologist, cookie, complaints):
    study = study_make(uploaded_by=radiologist)
    page.context.add_cookies([cookie])
    page.goto(study.get_absolute_url())

    picture = pane(page, "unknown")
    expect(picture).to_contain_text("Orientation unknown")
    expect(picture.locator("[data-side]")).to_have_count(0)
    expect(page.locator("[data-scale-bar], [data-strip], [data-layout]")).to_have_count(0)
    expect(page.locator("[data-viewer]")).to_have_attribute("data-state", "ready")
    page.locator('[data-finding="1"]').click()
    expect(page.locator("[data-zoom-level]")).to_have_text("300 %")
    assert complaints == []
