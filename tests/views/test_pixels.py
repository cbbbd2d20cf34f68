from pathlib import Path

import cv2
import numpy as np
import pytest
from django.conf import settings
from django.urls import reverse

from detection.imaging.volume import Volume, save_volume
from detection.models import Series
from tests.views.factories import study_make


def decoded(response):
    return cv2.imdecode(np.frombuffer(response.content, np.uint8), cv2.IMREAD_UNCHANGED)


@pytest.fixture
def study(radiologist):
    return study_make(uploaded_by=radiologist)


@pytest.mark.parametrize("name", ["study-image", "study-map"])
def test_pixels_are_png_that_nothing_keeps_or_guesses_at(name, study, radiologist_client):
    response = radiologist_client.get(reverse(name, args=[study.uuid]))

    assert response["Content-Type"] == "image/png"
    assert response["Cache-Control"] == "private, no-store"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert decoded(response).shape[:2] == (160, 160)


def test_map_is_transparent_but_for_the_evidence(study, radiologist_client):
    alpha = decoded(radiologist_client.get(reverse("study-map", args=[study.uuid])))[..., 3]

    row, column = np.unravel_index(alpha.argmax(), alpha.shape)
    # Cell (10, 20) of a map of 32 x 32 cells over 160 x 160 pixels.
    assert abs(row - 52) <= 3
    assert abs(column - 102) <= 3
    assert (alpha == 0).mean() > 0.9


def test_window_sets_what_is_black_and_white(study, radiologist_client):
    series = Series.objects.get(study=study)
    pixels_hu = np.full((1, 160, 160), 240, np.int16)
    save_volume(
        Volume(pixels=pixels_hu, is_hu=True), Path(settings.MEDIA_ROOT) / series.volume_path
    )
    address = reverse("study-image", args=[study.uuid])

    def grey(window):
        return int(decoded(radiologist_client.get(address, {"window": window}))[0, 0])

    assert grey("soft-tissue") == 255
    assert 0 < grey("stone") < 255
    assert grey("soft-tissue") == int(decoded(radiologist_client.get(address))[0, 0])


@pytest.mark.parametrize("query", ["window=lung", "slice=1", "slice=-1", "slice=x", "slice=²"])
def test_what_is_not_there_is_not_found(study, radiologist_client, query):
    address = reverse("study-image", args=[study.uuid])
    assert radiologist_client.get(f"{address}?{query}").status_code == 404


@pytest.mark.parametrize("name", ["study-image", "study-map"])
def test_missing_file_is_not_found(name, study, radiologist_client, data_dir):
    for file in data_dir.rglob("*.npz"):
        file.unlink()

    assert radiologist_client.get(reverse(name, args=[study.uuid])).status_code == 404


def test_study_without_reading_has_no_map(radiologist, radiologist_client):
    study = study_make(uploaded_by=radiologist, status="failed", message="It failed.")

    assert radiologist_client.get(reverse("study-map", args=[study.uuid])).status_code == 404
    assert radiologist_client.get(reverse("study-image", args=[study.uuid])).status_code == 200
