"""What waits or has failed is done again because somebody asks: by the page and by the command."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse
from django.utils import timezone
from django_tasks_db.models import DBTaskResult

from detection.models import ModelActivation, Prediction, Study, Upload
from detection.services.imports import upload_import_run
from detection.services.predictions import prediction_create, prediction_run
from tests.factories import png_upload, study_make
from tests.services.reading import FakePredictor

pytestmark = pytest.mark.usefixtures("model_version")


@pytest.fixture
def failed(radiologist):
    return study_make(uploaded_by=radiologist, status="failed", message="It crashed three times.")


@pytest.fixture
def waiting_upload(send):
    upload = send(png_upload())

    def failing(paths, **kwargs):
        raise OSError(28, "No space left on device")

    upload_import_run(upload=upload, ingest=failing)
    upload.refresh_from_db()
    assert upload.retry_at > timezone.now()
    return upload


@pytest.fixture
def waiting_reading(series):
    prediction = prediction_create(series=series)
    broken = FakePredictor(OSError(5, "Input/output error"))
    prediction_run(prediction=prediction, load_predictor=lambda _: broken)
    return prediction


def requeue(*arguments):
    out = StringIO()
    call_command("requeue", *arguments, stdout=out)
    return out.getvalue().strip()


def test_failed_study_is_read_again_by_its_button(radiologist_client, failed):
    page = radiologist_client.get(failed.get_absolute_url()).content.decode()
    assert "Read again" in " ".join(page.split())

    response = radiologist_client.post(reverse("study-again", args=[failed.uuid]))

    assert response.url == failed.get_absolute_url()
    failed.refresh_from_db()
    assert (failed.status, failed.message) == (Study.Status.QUEUED, "")
    first, second = Prediction.objects.order_by("pk")
    # The one that failed stays in the history.
    assert (first.status, second.status) == ("failed", "queued")
    radiologist_client.post(reverse("study-again", args=[failed.uuid]))
    assert Prediction.objects.count() == 2


@pytest.mark.parametrize("status", ["succeeded", "refused", "queued", "running"])
def test_study_that_has_its_answer_or_will_have_it_is_not_read_again(
    radiologist_client, radiologist, model_version, status
):
    message = "It is no CT image." if status == "refused" else ""
    study = study_make(uploaded_by=radiologist, status=status, message=message)
    page = radiologist_client.get(study.get_absolute_url()).content.decode()
    assert reverse("study-again", args=[study.uuid]) not in page

    radiologist_client.post(reverse("study-again", args=[study.uuid]))

    assert Prediction.objects.count() == 1


def test_who_may_not_upload_may_not_have_it_read_again(
    other_radiologist_client, administrator_client, auditor_client, failed
):
    address = reverse("study-again", args=[failed.uuid])

    assert other_radiologist_client.post(address).status_code == 404
    assert administrator_client.post(address).status_code == 403
    assert auditor_client.post(address).status_code == 403
    assert reverse("study-again", args=[failed.uuid]) not in str(
        administrator_client.get(failed.get_absolute_url()).content
    )
    assert Prediction.objects.count() == 1


def test_reading_again_needs_a_model_in_service(radiologist_client, failed):
    ModelActivation.objects.all().delete()

    response = radiologist_client.post(reverse("study-again", args=[failed.uuid]), follow=True)

    assert "No detection model is in service" in response.content.decode()


def test_command_queues_all_that_waits_or_failed(failed, waiting_upload, waiting_reading):
    DBTaskResult.objects.all().delete()

    assert requeue() == "1 upload and 2 readings were queued again."

    assert DBTaskResult.objects.count() == 3
    assert not Upload.objects.filter(retry_at__isnull=False).exists()
    assert not Prediction.objects.filter(retry_at__isnull=False).exists()
    assert requeue() == "Nothing had to be queued again."
    upload_import_run(upload=waiting_upload)
    waiting_upload.refresh_from_db()
    assert waiting_upload.is_finished


def test_command_takes_one_or_the_other(failed, waiting_upload, waiting_reading):
    assert requeue("--failed") == "1 reading was queued again."
    assert requeue("--waiting") == "1 upload and 1 reading were queued again."


def test_command_takes_studies_and_uploads(failed, waiting_upload, waiting_reading):
    assert requeue(str(failed.pk)) == "1 reading was queued again."
    assert requeue(str(failed.uuid)) == "Nothing had to be queued again."
    assert requeue(str(waiting_upload.uuid)) == "1 upload was queued again."
    assert requeue(str(waiting_reading.series.study.pk)) == "1 reading was queued again."


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["999999"], "no study and no upload"),
        (["6b0f0f3e-0000-0000-0000-000000000000"], "no study and no upload"),
        (["slice.png"], "no number and no UUID"),
        (["--failed", "1"], "not both"),
    ],
)
def test_command_says_what_it_cannot_find(arguments, words):
    with pytest.raises(CommandError, match=words):
        requeue(*arguments)


def test_command_needs_a_model_in_service(failed):
    ModelActivation.objects.all().delete()

    with pytest.raises(CommandError, match="No detection model is in service"):
        requeue("--failed")
