"""The health page: open to everybody, and it says nothing but whether the process can serve."""

import pytest
from django.db import OperationalError, connection

from detection.models import ModelActivation, ModelVersion


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
