"""The health page: open to everybody, and it says nothing but whether the process can serve."""

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from detection.models import ModelActivation, ModelVersion, Upload


@pytest.mark.django_db
def test_healthy_when_a_model_is_in_service(client):
    version = ModelVersion.objects.create(
        name="synthetic", origin="site", digest="0" * 64, operating_point={}
    )
    ModelActivation.objects.create(model_version=version)

    response = client.get("/healthz")

    assert response.status_code == 200
    assert response.json() == {"status": "ok"}
    assert "no-store" in response["Cache-Control"]


@pytest.fixture
def in_service(db):
    version = ModelVersion.objects.create(
        name="synthetic", origin="site", digest="0" * 64, operating_point={}
    )
    ModelActivation.objects.create(model_version=version)


def test_degraded_when_something_waits_for_the_installation(client, in_service, radiologist):
    Upload.objects.create(uploaded_by=radiologist, retry_at=timezone.now())

    response = client.get("/healthz")

    # A load balancer goes on sending visitors.
    assert response.status_code == 200
    assert response.json()["status"] == "degraded"
    assert "wait for the installation" in response.json()["reason"]


def test_degraded_when_the_reserve_is_used_up(client, in_service, settings):
    settings.MIN_FREE_BYTES = 2**60

    response = client.get("/healthz")

    assert response.status_code == 200
    assert response.json() == {"status": "degraded", "reason": "The server has too little space."}


@pytest.mark.django_db
def test_unhealthy_when_no_model_is_in_service(client):
    response = client.get("/healthz")

    assert response.status_code == 503
    assert response.json()["reason"] == "No detection model is in service."


@pytest.mark.django_db
def test_unhealthy_when_the_database_does_not_answer(client):
    def broken(execute, sql, params, many, context):
        raise OperationalError(2006, "server has gone away")

    with connection.execute_wrapper(broken):
        response = client.get("/healthz")

    assert response.status_code == 503
    assert response.json()["reason"] == "The database does not answer."
