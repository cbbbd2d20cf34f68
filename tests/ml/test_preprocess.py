import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detection.ml.data import Box, Sample
from detection.ml.preprocess import Preprocessing, letterbox, network_input
from detection.ml.training import OFF
from detection.ml.training.batches import TrainingBatches, canvas_boxes
from tests.properties import quick


@pytest.fixture
def sample(tmp_path):
    import cv2

    pixels = np.zeros((320, 391), np.uint8)
    pixels[60:260, 40:350] = 110
    pixels[120:132, 100:112] = 255
    path = tmp_path / "slice.png"
    cv2.imwrite(str(path), pixels)
    return Sample(
        path=path,
        image="slice.png",
        source="phantom",
        is_stone=True,
        finding="stone",
        group="p1",
        boxes=(Box(100, 120, 112, 132),),
    )


def test_letterbox_keeps_aspect_and_centres():
    canvas, box = letterbox(np.full((512, 512), 200, np.uint8), Preprocessing())

    assert canvas.shape == (384, 416)
    assert (box.width, box.height) == (384, 384)
    assert (box.offset_x, box.offset_y) == (16, 0)
    assert canvas[:, 16:400].min() == 200
    assert canvas[:, :16].max() == 0


@st.composite
def marked_slices(draw):
    """A black slice with a bright rectangle, the middle of that (x, y), and perhaps a spacing."""
    rows, columns = draw(st.tuples(*[st.integers(30, 700)] * 2))
    top, left = draw(st.integers(0, rows - 8)), draw(st.integers(0, columns - 8))
    height, width = draw(st.tuples(*[st.integers(4, 8)] * 2))
    grey = np.zeros((rows, columns), np.uint8)
    grey[top : top + height, left : left + width] = 255
    spacing_mm = draw(st.none() | st.tuples(*[st.floats(0.4, 2)] * 2))
    return grey, (left + width / 2, top + height / 2), spacing_mm


@quick
@given(marked=marked_slices())
def test_what_is_seen_on_the_canvas_is_found_on_the_slice_within_a_pixel(marked):
    grey, (x, y), spacing_mm = marked
    canvas, box = letterbox(grey, Preprocessing(), spacing_mm=spacing_mm)

    weights = canvas.astype(np.float64)
    # Places count from the edge of the first pixel, whose middle lies at a half.
    seen_x = (weights.sum(0) @ (np.arange(canvas.shape[1]) + 0.5)) / weights.sum()
    seen_y = (weights.sum(1) @ (np.arange(canvas.shape[0]) + 0.5)) / weights.sum()
    # A pixel of the slice, or of the canvas where those are larger.
    assert abs((seen_x - box.offset_x) / box.scale_x - x) <= max(1, 1 / box.scale_x)
    assert abs((seen_y - box.offset_y) / box.scale_y - y) <= max(1, 1 / box.scale_y)
    outside = canvas.copy()
    outside[box.offset_y : box.offset_y + box.height, box.offset_x : box.offset_x + box.width] = 0
    assert not outside.any()


def test_known_spacing_shows_a_stone_at_its_learnt_size():
    # 300 x 300 pixels of 0.7 mm: 210 mm.
    canvas, box = letterbox(
        np.full((300, 300), 200, np.uint8), Preprocessing(), spacing_mm=(0.7, 0.7)
    )

    assert (box.width, box.height) == (221, 221)
    assert box.scale_x == pytest.approx(0.7 / 0.95, rel=0.01)


def test_pixels_that_are_not_square_become_square():
    _, box = letterbox(np.full((100, 400), 200, np.uint8), Preprocessing(), spacing_mm=(3.0, 0.75))

    assert box.width == box.height


def test_a_slice_that_is_too_large_for_its_spacing_is_fitted():
    _, box = letterbox(np.full((512, 512), 200, np.uint8), Preprocessing(), spacing_mm=(0.98, 0.98))

    assert (box.width, box.height) == (384, 384)


def test_network_input_is_blue_green_red_minus_imagenet_means():
    pixel = network_input(np.array([[100]], np.uint8))[0, 0]

    assert pixel == pytest.approx([100 - 103.939, 100 - 116.779, 100 - 123.68])


def test_training_and_serving_tensors_are_equal(sample):
    spec = Preprocessing()
    batches = TrainingBatches(
        [sample], preprocessing=spec, augmentation=OFF, batch_size=1, per_group=1, seed=1
    )

    trained, _ = batches[0]
    served = network_input(letterbox(sample.read(), spec)[0][None])

    assert np.array_equal(trained, served)


def test_boxes_follow_the_letterbox(sample):
    canvas, box = letterbox(sample.read(), Preprocessing())

    x0, y0, x1, y1 = canvas_boxes(sample, box)[0].round().astype(int)

    assert canvas[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2].min() > 240
