import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from detection.models import ModelActivation, Prediction, Series, Study, Upload
from detection.services.answers import study_follow
from detection.services.predictions import prediction_create
from detection.services.series import series_set_aside
from tests.factories import model_version_make, png_upload, series_make, study_make


@pytest.fixture
def model_version(db):
    return model_version_make(is_active=True)


def send(client, *files):
    return client.post(reverse("upload-create"), {"files": list(files)})


def test_upload_leads_to_the_page_of_the_upload(radiologist_client, radiologist, model_version):
    response = send(radiologist_client, png_upload("a.png"), png_upload("b.png"))

    upload = Upload.objects.get(uploaded_by=radiologist)
    assert response.url == upload.get_absolute_url()
    page = radiologist_client.get(response.url).content.decode()
    assert "a.png" in page
    assert "b.png" in page


def test_what_is_wrong_with_a_file_stands_beside_it(radiologist_client, model_version):
    pdf = SimpleUploadedFile("letter.png", b"%PDF-1.7 and so on")
    response = send(radiologist_client, pdf, png_upload("good.png"))

    rows = radiologist_client.get(response.url).content.decode().split("</tr>")
    (refused,) = [row for row in rows if "letter.png" in row]
    (good,) = [row for row in rows if "good.png" in row]
    assert "PDF" in refused
    assert "Refused" in refused
    assert "PDF" not in good


def test_upload_without_a_file_says_so(radiologist_client, model_version):
    response = radiologist_client.post(reverse("upload-create"))

    assert response.status_code == 200
    assert "Please choose at least one image." in response.content.decode()
    assert not Upload.objects.exists()


def test_upload_without_a_model_in_service_says_so(radiologist_client):
    assert "No detection model is in service" in str(
        radiologist_client.get(reverse("upload-create")).content
    )
    response = send(radiologist_client, png_upload())
    assert "No detection model is in service" in response.content.decode()
    assert not Upload.objects.exists()


def test_status_stops_when_every_file_has_its_answer(radiologist_client, radiologist):
    study = study_make(uploaded_by=radiologist, status=Study.Status.RUNNING)
    address = reverse("upload-status", args=[study.upload.uuid])

    first = radiologist_client.get(address)
    assert first.status_code == 200
    assert radiologist_client.get(address, {"state": first.context["state"]}).status_code == 204

    Prediction.objects.update(status="succeeded", verdict="no_stone", probability=0.04)
    Study.objects.filter(pk=study.pk).update(
        status="succeeded",
        verdict="no_stone",
        probability=0.04,
        slices_read=1,
        slices_given=1,
        series_read=1,
    )
    last = radiologist_client.get(address, {"state": first.context["state"]})
    assert last.status_code == 286
    assert "No stone suspected in the one slice read" in last.content.decode()


def test_upload_page_asks_the_same_number_of_queries_however_many_files(
    radiologist_client, radiologist, model_version, django_assert_num_queries
):
    for count in (1, 6):
        url = send(radiologist_client, *(png_upload(f"{n}.png") for n in range(count))).url
        with django_assert_num_queries(15):
            radiologist_client.get(url)


@pytest.fixture
def three_series(radiologist):
    """A study with a stone in its first series; two more are not read."""
    study = study_make(uploaded_by=radiologist)
    ModelActivation.objects.create(model_version=study.prediction.model_version)
    others = [series_make(uploaded_by=radiologist) for _ in range(2)]
    Series.objects.filter(pk__in=[one.pk for one in others]).update(study=study, is_first=False)
    # Only studies that were sent together are on the page.
    Study.objects.exclude(pk=study.pk).delete()
    return study, *Series.objects.filter(pk__in=[one.pk for one in others]).order_by("pk")


def words(response):
    return " ".join(response.content.decode().split())


def test_upload_asks_on_while_another_series_of_a_study_is_read(radiologist_client, three_series):
    study, second, third = three_series
    study.series.update(scan="one")
    Series.objects.filter(pk=second.pk).update(scan="two")
    Series.objects.filter(pk=third.pk).update(scan="three")
    reading = prediction_create(series=second)
    address = reverse("upload-status", args=[study.upload.uuid])

    for status in ("queued", "running"):
        Prediction.objects.filter(pk=reading.pk).update(status=status)
        page = radiologist_client.get(address)
        assert page.status_code == 200
        assert "The study has its answer" not in words(page)
        assert "0 of 1 done" in words(page)
        sentence = "Stone suspected in the one slice read; another series is still being read; 1"
        assert sentence in words(page)
    assert radiologist_client.get(address, {"state": page.context["state"]}).status_code == 204

    Prediction.objects.filter(pk=reading.pk).update(status="failed", message="It failed.")
    study_follow(study_pk=study.pk)
    page = radiologist_client.get(address, {"state": page.context["state"]})
    assert page.status_code == 286
    assert "The study has its answer" in words(page)
    assert "Stone suspected in the one slice read; 2 more series not read" in words(page)


def test_upload_asks_on_while_the_series_that_decided_is_read_again(
    radiologist_client, three_series
):
    study, *_ = three_series
    model_version_make("model-2", is_active=True)
    prediction_create(series=study.prediction.series)

    page = radiologist_client.get(reverse("upload-status", args=[study.upload.uuid]))

    assert page.status_code == 200
    assert "Stone suspected in the one slice read; 2 more series not read" in words(page)


def test_upload_asks_on_while_a_series_that_was_set_aside_is_read(
    radiologist_client, lead, three_series
):
    study, second, _ = three_series
    prediction_create(series=second)
    series_set_aside(series=second, user=lead, reason="Another patient.")

    for name, uuid in (("upload-status", study.upload.uuid), ("study-status", study.uuid)):
        page = radiologist_client.get(reverse(name, args=[uuid]))
        assert page.status_code == 200
        assert "still being read" not in words(page)


def test_upload_tells_that_a_series_with_a_stone_was_set_aside(
    radiologist_client, lead, three_series
):
    study, second, _ = three_series
    reading = prediction_create(series=second)
    Prediction.objects.filter(pk=reading.pk).update(
        status="succeeded", verdict="no_stone", probability=0.1, slices_read=1, slices_given=1
    )
    series_set_aside(series=study.prediction.series, user=lead, reason="A stent.")

    page = words(radiologist_client.get(study.upload.get_absolute_url()))

    assert "No stone suspected in the one slice read" in page
    assert "1 series set aside: a stone was suspected there" in page
