import numpy as np
import pytest

from detection.ml.input_gate import picture_refusal

BODY = np.zeros((320, 391), np.uint8)
BODY[60:260, 40:350] = 110
BODY[150:170, 190:210] = 255


def test_a_slice_passes():
    assert picture_refusal(BODY, colour_spread=1.0) is None


@pytest.mark.parametrize(
    ("grey", "colour_spread", "sentence"),
    [
        (BODY[:100, :100], 0, "too small"),
        (np.tile(BODY, (1, 4)), 0, "long and narrow"),
        (BODY, 30.0, "in colour"),
        (np.full((300, 300), 128, np.uint8), 0, "blank"),
        (np.where(BODY > 0, 10, 250).astype(np.uint8), 0, "text"),
        (np.random.default_rng(1).integers(0, 220, (300, 300)).astype(np.uint8), 0, "noise"),
        (np.where(np.indices((300, 300)).sum(0) % 97 == 0, 255, 0).astype(np.uint8), 0, "no body"),
    ],
)
def test_what_is_no_slice_is_refused(grey, colour_spread, sentence):
    assert sentence in picture_refusal(grey, colour_spread=colour_spread).sentence
