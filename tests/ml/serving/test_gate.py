import numpy as np
import pytest

from detection.ml.serving import slice_refusal
from detection.ml.serving.picture_checks import (
    MIN_KNOWN_CT_SIDE_PX,
    picture_refusal,
    refused,
)

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


def test_an_inverted_slice_is_no_page_of_text():
    inverted = np.where(BODY > 0, 120, 255).astype(np.uint8)[:, :200]

    alone = slice_refusal(np.pad(inverted, 80, constant_values=255), colour_spread=0, seen=None)
    seen = slice_refusal(
        np.pad(inverted, 80, constant_values=255), colour_spread=0, seen=refused("inverted")
    )

    assert (alone.code, seen.code) == ("text", "inverted")


def test_a_picture_without_white_is_no_inverted_slice():
    assert slice_refusal(BODY, colour_spread=0, seen=refused("inverted")).code == "unlike_ct"


def test_the_fault_of_the_picture_comes_first():
    assert slice_refusal(BODY, colour_spread=30, seen=refused("unlike_ct")).code == "colour"


def test_a_slice_of_known_spacing_may_have_fewer_pixels():
    small = BODY[::3, ::3]

    assert picture_refusal(small, colour_spread=0).code == "too_small"
    assert picture_refusal(small, colour_spread=0, min_side_px=MIN_KNOWN_CT_SIDE_PX) is None
