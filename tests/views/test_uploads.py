import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from detection.models import Study, Upload
from tests.factories import model_version_make, png_upload, study_make


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
        with django_assert_num_queries(14):
            radiologist_client.get(url)
