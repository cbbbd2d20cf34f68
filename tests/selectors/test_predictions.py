from pathlib import Path

import pytest

from detection.models import Finding, Prediction
from detection.selectors.predictions import prediction_latest, prediction_map_path
from detection.services.predictions import prediction_create
from tests.factories import model_version_make, series_make

pytestmark = pytest.mark.django_db


@pytest.fixture
def series(radiologist):
    model_version_make(is_active=True)
    return series_make(uploaded_by=radiologist)


def test_study_without_a_prediction(series):
    assert prediction_latest(study=series.study) is None


def test_newest_prediction_with_all_a_page_shows(series, django_assert_num_queries):
    prediction_create(series=series)
    newest = prediction_create(series=series)
    for rank in (1, 2):
        Finding.objects.create(
            prediction=newest, rank=rank, plane="axial", x0=0, y0=0, x1=1, y1=1, probability=0.5
        )

    with django_assert_num_queries(2):
        found = prediction_latest(study=series.study)
        assert found == newest
        assert found.model_version.name
        assert found.series.rows
        assert [finding.rank for finding in found.findings.all()] == [1, 2]


def test_map_path(settings):
    assert prediction_map_path(prediction=Prediction()) is None
    stored = prediction_map_path(prediction=Prediction(map_path="maps/a.npz"))
    assert stored == Path(settings.MEDIA_ROOT) / "maps" / "a.npz"
