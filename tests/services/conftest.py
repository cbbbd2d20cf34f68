"""What the tests of services share: a model version in service, a study to read."""

from pathlib import Path

import pytest

from detection.services.uploads import upload_create
from tests.factories import model_version_make, series_make


@pytest.fixture(autouse=True)
def shipped_root(settings, data_dir) -> Path:
    settings.SHIPPED_MODEL_ROOT = data_dir / "ml_models"
    return settings.SHIPPED_MODEL_ROOT


@pytest.fixture
def model_version(db):
    return model_version_make(is_active=True)


@pytest.fixture
def series(radiologist):
    return series_make(uploaded_by=radiologist)


@pytest.fixture
def send(radiologist):
    """Sends files as one upload of the radiologist."""
    return lambda *files: upload_create(uploaded_by=radiologist, files=list(files))
