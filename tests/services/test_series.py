import pytest
from django.core.exceptions import ValidationError

from detection.ml.serving import Assessment
from detection.models import Prediction, Series, Study
from detection.selectors.predictions import prediction_latest
from detection.services.predictions import prediction_create, prediction_run
from detection.services.series import series_choose
from tests.factories import series_make
from tests.services.reading import FakePredictor

STONE = Assessment(verdict="stone", probability=0.9)


def run(prediction, outcome=STONE):
    prediction_run(prediction=prediction, load_predictor=lambda _: FakePredictor(outcome))


@pytest.fixture
def first(series, model_version):
    run(prediction_create(series=series))
    return series


@pytest.fixture
def second(first, radiologist):
    other = series_make(uploaded_by=radiologist)
    Series.objects.filter(pk=other.pk).update(study=first.study, is_chosen=False, slices=7)
    return Series.objects.get(pk=other.pk)


def study_of(series):
    return Study.objects.get(pk=series.study_id)


def test_another_series_is_read_and_speaks_for_the_study(first, second):
    prediction = series_choose(series=second)

    study = study_of(first)
    assert prediction.series == second
    assert (study.status, study.verdict, study.slices) == (Study.Status.QUEUED, "", 7)
    chosen = study.series.order_by("pk").values_list("is_chosen", flat=True)
    assert list(chosen) == [False, True]
    run(prediction, Assessment(verdict="no_stone", probability=0.1))
    study.refresh_from_db()
    assert (study.status, study.verdict) == (Study.Status.SUCCEEDED, "no_stone")
    assert prediction_latest(study=study).series == second


def test_going_back_shows_what_was_read_without_reading_it_again(first, second):
    run(series_choose(series=second), Assessment(verdict="no_stone", probability=0.1))

    assert series_choose(series=first) is None

    study = study_of(first)
    assert (study.status, study.verdict, study.probability) == ("succeeded", "stone", 0.9)
    assert Prediction.objects.count() == 2


def test_series_that_is_not_chosen_any_more_does_not_speak(first, second):
    prediction = series_choose(series=second)
    series_choose(series=first)

    run(prediction, Assessment(verdict="no_stone", probability=0.1))

    assert study_of(first).verdict == "stone"


def test_failed_reading_is_asked_for_again(first, second):
    run(series_choose(series=second), RuntimeError("broken"))

    assert series_choose(series=second) is not None


def test_choice_without_a_model_changes_nothing(first, second, model_version):
    model_version.activations.all().delete()

    with pytest.raises(ValidationError, match="No detection model"):
        series_choose(series=second)

    assert not Series.objects.get(pk=second.pk).is_chosen
