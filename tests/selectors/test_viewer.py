from pathlib import Path

import pytest
from django.conf import settings

from detection.selectors.viewer import series_opened
from tests.factories import study_make
from tests.pictures import oriented_volume

pytestmark = pytest.mark.django_db


def opened(study, *, prediction=None, findings=()):
    series = study.series.get()
    return series_opened(series=series, prediction=prediction, findings=findings)


def test_series_without_a_reading_is_opened_all_the_same(radiologist):
    shown = opened(study_make(uploaded_by=radiologist, volume=oriented_volume()))

    assert [plane.name for plane in shown.planes] == ["axial", "coronal", "sagittal"]
    assert (shown.is_oriented, shown.is_stack, shown.has_map) == (True, True, False)
    assert (shown.threshold, shown.scores, shown.findings) == (None, (), ())


@pytest.mark.parametrize("content", [None, b"", b"no volume at all"])
def test_series_whose_file_is_missing_or_damaged_is_not_opened(radiologist, content):
    study = study_make(uploaded_by=radiologist)
    path = Path(settings.MEDIA_ROOT) / study.series.get().volume_path
    path.unlink()
    if content is not None:
        path.write_bytes(content)

    assert opened(study) is None


def test_finding_outside_of_the_volume_has_its_centre_inside(radiologist):
    study = study_make(uploaded_by=radiologist, volume=oriented_volume())
    prediction = study.series.get().predictions.get()
    finding = prediction.findings.get()
    finding.x_mm, finding.y_mm, finding.z_mm = 10_000, -10_000, 10_000

    shown = opened(study, prediction=prediction, findings=[finding])

    assert shown.findings[0].centre == (11, 0, 29)
