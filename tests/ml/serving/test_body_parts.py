from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from detection.imaging.errors import Code, Notice
from detection.imaging.volume import Volume
from detection.imaging.window import Window, apply_window
from detection.ml.bundle import load_default_bundle
from detection.ml.serving import CANNOT_ASSESS, Predictor
from detection.ml.serving.body_parts import body_part_reason
from tests.bodies import section, stack, volume

MODELS = Path(__file__).resolve().parents[3] / "ml_models"
HEAD_NOTICE = Notice(
    Code.BODY_PART_FAR, "The file says that it shows the head. Please check the image."
)
CHEST_NOTICE = Notice(
    Code.BODY_PART_NEAR, "The file says that it shows the chest. Please check the image."
)


@pytest.fixture(scope="module")
def predictor():
    return Predictor(load_default_bundle(MODELS), threads=1, is_gated=False)


def _slice(part, *, pixel_mm=0.8, **drawn):
    pixels = section(part, pixel_mm=pixel_mm, **drawn)[None]
    return volume(pixels, spacing_mm=(5.0, pixel_mm, pixel_mm))


def _picture(part):
    grey = apply_window(section(part), Window(center_hu=40, width_hu=400))
    return Volume(pixels=grey[None], is_hu=False)


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ("vault", "the head"),
        ("face", "the head"),
        ("neck", "the neck"),
        ("shoulder", "the shoulders"),
        ("chest", "the chest"),
        ("legs", "arms or legs"),
        ("pelvis", "the pelvis"),
    ],
)
def test_a_slice_is_refused_with_the_part_that_it_shows(predictor, part, named):
    assessment = predictor.assess(_slice(part))

    assert assessment.verdict == CANNOT_ASSESS
    assert assessment.reason == (
        f"The image shows {named}, not the abdomen. "
        "Please upload a slice at the level of the kidneys."
    )


def test_a_narrow_field_is_refused_with_its_width(predictor):
    spine = _slice("abdomen", pixel_mm=0.3, side_px=500, shift_mm=(0, -50))

    assert predictor.assess(spine).reason.startswith("The field of view is too small (15 cm wide)")


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ([("vault", 12)], "they show the head."),
        ([("chest", 8), ("shoulder", 4), ("vault", 8)], "the head, the shoulders and the chest."),
        ([("legs", 9)], "they show arms or legs."),
        ([("abdomen", 4), ("chest", 10)], "they show the chest."),
    ],
)
def test_a_series_is_refused_with_the_parts_that_it_shows(predictor, parts, named):
    drawn = stack(*parts)

    assessment = predictor.assess(drawn)

    assert assessment.verdict == CANNOT_ASSESS
    count = len(drawn.pixels)
    assert assessment.reason.startswith(
        f"None of the {count} slices shows the level of the kidneys: "
    )
    assert named in assessment.reason


def test_a_series_of_narrow_fields_is_refused_with_their_width(predictor):
    spine = section("abdomen", pixel_mm=0.3, side_px=500, shift_mm=(0, -50))
    series = volume(np.stack([spine] * 6), spacing_mm=(5.0, 0.3, 0.3))

    assert "too small (15 cm wide)" in predictor.assess(series).reason


def test_of_a_whole_body_the_abdomen_alone_is_read(predictor):
    assessment = predictor.assess(stack(("pelvis", 4), ("abdomen", 14), ("chest", 4)))

    read = [i for i, one in enumerate(assessment.slice_probabilities) if one is not None]
    assert read == list(range(4, 18))


@pytest.mark.parametrize(("part", "named"), [("vault", "the head"), ("chest", "the chest")])
def test_a_picture_of_skull_or_lungs_is_refused(part, named):
    assert named in body_part_reason(_picture(part))


def test_a_picture_of_an_abdomen_passes():
    assert body_part_reason(_picture("abdomen")) == ""


@pytest.mark.parametrize(
    "change",
    [{"plane": "coronal"}, {"plane": "unknown"}],
)
def test_where_pixels_cannot_tell_the_file_is_believed_about_far_parts(change):
    told = replace(_slice("abdomen"), notices=(HEAD_NOTICE,), **change)

    assert body_part_reason(told).startswith("The file says that it shows the head. Please upload")
    assert body_part_reason(replace(told, notices=(CHEST_NOTICE,))) == ""


@pytest.mark.parametrize(("part", "named"), [("vault", "the head"), ("chest", "the chest")])
def test_a_slice_that_does_not_say_how_it_lies_is_refused_by_its_pixels(part, named):
    assert named in body_part_reason(replace(_slice(part), plane="unknown", affine_lps=None))


def test_a_wrong_body_part_on_an_abdomen_only_warns():
    assert body_part_reason(replace(_slice("abdomen"), notices=(HEAD_NOTICE,))) == ""
