"""What the page tells the viewer before the first slice."""

import json
from pathlib import Path

import pytest
from django.conf import settings

from detection.selectors.viewer import Scores
from detection.templatetags.viewer import _runs, _words, viewer_of
from tests.factories import study_make
from tests.pictures import oriented_volume


@pytest.fixture
def told(radiologist):
    """The viewer of a new study, and its configuration."""

    def make(*, volume=None, **facts):
        study = study_make(uploaded_by=radiologist, volume=volume)
        prediction = study.series.get().predictions.get()
        for name, value in facts.items():
            setattr(prediction, name, value)
        findings = list(prediction.findings.all())
        viewer = viewer_of(study, study.series.get(), prediction, findings)
        return viewer, json.loads(viewer.config)

    return make


def test_picture_has_one_plane_no_letters_and_no_ruler(told):
    viewer, config = told()

    assert viewer.planes == ("unknown",)
    assert (viewer.is_oriented, viewer.has_spacing, viewer.is_stack) == (False, False, False)
    assert config["planes"][0]["letters"] is None
    assert config["planes"][0]["mm"] is None
    assert config["urls"]["volume"] is None
    assert config["findings"][0]["centre"] == [0, 51, 102]


def test_stack_has_three_planes_with_letters_and_millimetres(told):
    viewer, config = told(volume=oriented_volume())

    assert viewer.planes == ("axial", "coronal", "sagittal")
    axial, coronal, sagittal = config["planes"]
    assert axial["letters"] == {"left": "R", "right": "L", "top": "A", "bottom": "P"}
    assert coronal["letters"] == {"left": "R", "right": "L", "top": "H", "bottom": "F"}
    assert sagittal["letters"] == {"left": "A", "right": "P", "top": "H", "bottom": "F"}
    assert [plane["size"] for plane in config["planes"]] == [
        [12, 20, 30],
        [20, 12, 30],
        [30, 12, 20],
    ]
    assert [plane["mm"] for plane in config["planes"]] == [[3, 1, 0.5], [1, 3, 0.5], [0.5, 3, 1]]


def test_every_cut_has_the_score_of_its_slab(told):
    # Rows lie at -20 mm and 1 mm apart; slabs were read in the middle alone.
    viewer, config = told(
        volume=oriented_volume(),
        slice_probabilities=[0.1] * 11 + [None],
        coronal_probabilities=[0.7, 0.2],
        coronal_positions_mm=[-12.0, -8.0],
    )

    assert list(config["scores"]) == ["axial", "coronal"]
    assert config["scores"]["axial"] == [0.1] * 11 + [None]
    coronal = config["scores"]["coronal"]
    assert (len(coronal), coronal[8], coronal[12]) == (20, 0.7, 0.2)
    assert coronal[0] is coronal[19] is None
    assert len(viewer.score_words) == 2


def test_scores_in_words():
    scores = Scores(plane="axial", values=[0.1, 0.6, 0.7, None, 0.5, 0.2])

    assert _words(scores, 0.5) == (
        "Highest axial slice score 70\N{NO-BREAK SPACE}% at slice 3; 3 of 5 slices reach the "
        "operating point (50\N{NO-BREAK SPACE}%): 2 to 3, 5."
    )
    assert "none of 5 slices reaches" in _words(scores, 0.8)
    unknown = Scores(plane="unknown", values=[0.1, 0.7])
    assert _words(unknown, None) == "Highest slice score 70\N{NO-BREAK SPACE}% at slice 2."


def test_neighbouring_slices_are_joined_and_long_lists_end():
    assert _runs([0, 1, 2, 7]) == "1 to 3, 8"
    assert _runs(range(0, 40, 2), most=3) == "1, 3, 5 and more"


def test_finding_with_millimetres_is_placed_by_them(radiologist):
    study = study_make(uploaded_by=radiologist, volume=oriented_volume())
    prediction = study.series.get().predictions.get()
    finding = prediction.findings.get()
    finding.slice_index, finding.slice_first, finding.slice_last = 3, 2, 5
    finding.x_mm, finding.y_mm, finding.z_mm = -10 + 8 * 0.5, -20 + 5 * 1.0, 100 + 3 * 3.0

    config = json.loads(viewer_of(study, study.series.get(), prediction, [finding]).config)

    assert config["findings"][0]["centre"] == [3, 5, 8]
    assert config["findings"][0]["edges"][0] == [2, 6]


def test_reading_of_another_series_is_not_laid_over_this_one(radiologist):
    study, other = (study_make(uploaded_by=radiologist) for _ in range(2))
    prediction = other.series.get().predictions.get()

    viewer = viewer_of(study, study.series.get(), prediction, list(prediction.findings.all()))

    config = json.loads(viewer.config)
    assert config["findings"] == []
    assert config["scores"] == {}
    assert config["urls"]["map"] is None


def test_missing_file_is_said_on_the_page(radiologist, radiologist_client):
    study = study_make(uploaded_by=radiologist)
    (Path(settings.MEDIA_ROOT) / study.series.get().volume_path).unlink()

    response = radiologist_client.get(study.get_absolute_url())

    assert "The stored image is missing or damaged" in response.content.decode()
