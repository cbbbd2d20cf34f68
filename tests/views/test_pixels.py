from pathlib import Path

import cv2
import numpy as np
import pytest
from django.conf import settings
from django.urls import reverse

from detection.imaging.volume import Volume, save_volume
from detection.models import Series
from tests.factories import study_make
from tests.pictures import oriented_volume

MARKS = {"R": 100, "L": 200, "A": 300, "P": 400, "H": 500, "F": 600}
SHAPES = {"axial": (20, 30), "coronal": (12, 30), "sagittal": (12, 20)}


def decoded(response):
    return cv2.imdecode(np.frombuffer(response.content, np.uint8), cv2.IMREAD_UNCHANGED)


@pytest.fixture
def study(radiologist):
    return study_make(uploaded_by=radiologist)


@pytest.fixture
def stack(radiologist):
    """An axial stack of 12 slices of 20 x 30 pixels, with a mark at each side of the patient."""
    return study_make(uploaded_by=radiologist, volume=oriented_volume(marks=MARKS))


@pytest.fixture
def numbers_of(stack, radiologist_client):
    """The cut that an address answers with, as an array."""

    def fetch(plane, index):
        address = reverse("study-slice", args=[stack.uuid])
        response = radiologist_client.get(address, {"plane": plane, "slice": index})
        assert response.status_code == 200
        return np.frombuffer(response.content, "<i2").reshape(SHAPES[plane])

    return fetch


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


@pytest.mark.parametrize(
    "query",
    [
        "window=brain",
        "slice=1",
        "slice=-1",
        "slice=x",
        "slice=²",
        "plane=coronal",
        "series=1",
        "series=00000000-0000-0000-0000-000000000000",
        "center=40",
        "center=40&width=0",
        "center=nan&width=400",
    ],
)
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


@pytest.mark.parametrize(("plane", "index"), [("axial", 6), ("coronal", 10)])
def test_the_patients_right_is_at_the_left_of_the_picture(plane, index, numbers_of):
    pixels_hu = numbers_of(plane, index)

    (_, right_of_patient), (_, left_of_patient) = (
        np.argwhere(pixels_hu == MARKS[side])[0] for side in ("R", "L")
    )
    assert right_of_patient < 15 < left_of_patient


def test_the_front_is_at_the_top_and_the_head_too(numbers_of):
    axial, coronal = numbers_of("axial", 6), numbers_of("coronal", 10)

    assert np.argwhere(axial == MARKS["A"])[0][0] < np.argwhere(axial == MARKS["P"])[0][0]
    assert np.argwhere(coronal == MARKS["H"])[0][0] < np.argwhere(coronal == MARKS["F"])[0][0]


def test_sagittal_cut_looks_from_the_left_with_the_face_at_the_left(numbers_of):
    sagittal = numbers_of("sagittal", 15)

    assert np.argwhere(sagittal == MARKS["A"])[0][1] < np.argwhere(sagittal == MARKS["P"])[0][1]
    assert np.argwhere(sagittal == MARKS["H"])[0][0] < np.argwhere(sagittal == MARKS["F"])[0][0]


@pytest.mark.parametrize(("plane", "last"), [("axial", 11), ("coronal", 19), ("sagittal", 29)])
@pytest.mark.parametrize("name", ["study-slice", "study-image", "study-map"])
def test_cuts_end_where_the_volume_ends(name, plane, last, stack, radiologist_client):
    address = reverse(name, args=[stack.uuid])

    answers = [
        radiologist_client.get(address, {"plane": plane, "slice": index}).status_code
        for index in (0, last, last + 1, 99999)
    ]
    assert answers == [200, 200, 404, 404]


@pytest.mark.parametrize("plane", SHAPES)
@pytest.mark.parametrize("name", ["study-image", "study-map"])
def test_pictures_of_a_cut_have_its_size(name, plane, stack, radiologist_client):
    response = radiologist_client.get(reverse(name, args=[stack.uuid]), {"plane": plane})

    assert decoded(response).shape[:2] == SHAPES[plane]


def test_any_window_can_be_asked_for(stack, radiologist_client):
    address = reverse("study-image", args=[stack.uuid])
    query = {"slice": 6, "center": -1000, "width": 100}

    assert decoded(radiologist_client.get(address, query))[0, 0] == 128


def test_numbers_of_a_picture_are_its_grey_values(study, radiologist_client):
    response = radiologist_client.get(reverse("study-slice", args=[study.uuid]))

    picture = decoded(radiologist_client.get(reverse("study-image", args=[study.uuid])))
    assert response.content == picture.tobytes()
    assert response["Cache-Control"] == "private, no-store"
    assert response["Content-Type"] == "application/octet-stream"
    assert response["X-Content-Type-Options"] == "nosniff"


def test_volume_is_the_announced_length_and_kept_nowhere(stack, radiologist_client):
    response = radiologist_client.get(reverse("study-volume", args=[stack.uuid]))

    content = b"".join(response.streaming_content)
    assert len(content) == int(response["Content-Length"]) == 352 + 12 * 20 * 30 * 2
    assert response["Cache-Control"] == "private, no-store"


def test_picture_has_no_volume(study, radiologist_client):
    assert radiologist_client.get(reverse("study-volume", args=[study.uuid])).status_code == 404


def test_series_of_another_study_is_not_found(stack, study, radiologist_client):
    own, other = (Series.objects.get(study=each) for each in (stack, study))
    address = reverse("study-slice", args=[stack.uuid])

    assert radiologist_client.get(address, {"series": own.uuid}).status_code == 200
    assert radiologist_client.get(address, {"series": other.uuid}).status_code == 404


def test_scrolling_asks_the_database_little_and_writes_nothing(
    stack, radiologist_client, django_assert_max_num_queries
):
    address = reverse("study-slice", args=[stack.uuid])
    series = Series.objects.get(study=stack)
    radiologist_client.get(address, {"slice": 0, "series": series.uuid})

    with django_assert_max_num_queries(6) as asked:
        radiologist_client.get(address, {"slice": 1, "series": series.uuid})
    assert all(query["sql"].startswith("SELECT") for query in asked.captured_queries)


def test_file_that_was_replaced_is_opened_again(study, radiologist_client):
    address = reverse("study-slice", args=[study.uuid])
    before = radiologist_client.get(address).content
    path = Path(settings.MEDIA_ROOT) / Series.objects.get(study=study).volume_path
    save_volume(Volume(pixels=np.full((1, 160, 160), 7, np.uint8), is_hu=False), path)

    assert radiologist_client.get(address).content != before
