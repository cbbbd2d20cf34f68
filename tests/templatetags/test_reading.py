import pytest

from detection.models import Prediction, Study
from detection.templatetags.reading import kidneys_only, outcome, outcome_words, series_score

READ = {"status": "succeeded", "slices_read": 20, "slices_given": 20, "height_mm": 40.0}


@pytest.mark.parametrize("model", [Study, Prediction])
@pytest.mark.parametrize(
    ("fields", "tone", "words"),
    [
        (READ | {"verdict": "stone"}, "stone", "Stone suspected in the 20 slices read (4 cm)"),
        (READ | {"verdict": "no_stone"}, "none", "No stone suspected in the 20 slices read (4 cm)"),
        ({"status": "refused", "verdict": "cannot_assess"}, "unsure", "Cannot assess"),
        ({"status": "failed"}, "failed", "Failed"),
        ({"status": "running"}, "working", "Reading"),
        ({"status": "queued"}, "working", "Waiting to be read"),
    ],
)
def test_outcome_has_a_tone_and_the_sentence_of_the_answer(model, fields, tone, words):
    row = model(**fields)

    assert (outcome(row)["tone"], outcome_words(row)) == (tone, words)


def test_study_of_several_series_says_so():
    study = Study(**READ | {"verdict": "no_stone", "height_mm": None, "series_read": 2})
    assert outcome_words(study) == "No stone suspected in the 20 slices of 2 series read"
    study = Study(**READ | {"verdict": "no_stone", "series_read": 1, "series_unread": 3})
    assert outcome_words(study).endswith("(4 cm); 3 more series not read")


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "not known"), (0.0, "< 0.01"), (0.02, "0.02"), (0.654, "0.65"), (0.999, "> 0.99")],
)
def test_score_of_a_series_is_no_percentage(value, shown):
    assert series_score(value).replace("\N{NO-BREAK SPACE}", " ") == shown


def test_line_that_stands_with_every_answer():
    assert kidneys_only() == "Kidneys only: ureter and bladder are not judged."
