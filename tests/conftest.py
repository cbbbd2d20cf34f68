"""What all tests share: one person of each role, each one's browser, and a data folder."""

import os
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from django.db import connection
from django.test import Client

from accounts.models import User
from accounts.services import user_create
from detection.ml.backbones import BACKBONES, Backbone, ImageNetWeights
from detection.services.media import MARK

PASSWORD = "a-synthetic-passphrase"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The long ones first: so both of two processes have something to do until the end.
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(autouse=True)
def data_dir(tmp_path_factory: pytest.TempPathFactory, settings, monkeypatch) -> Path:
    """A data folder of the test's own, for this process and for the ones it starts."""
    folder = tmp_path_factory.mktemp("data")
    settings.DATA_DIR = folder
    settings.MEDIA_ROOT = folder / "media"
    settings.MEDIA_ROOT.mkdir()
    (settings.MEDIA_ROOT / MARK).touch()
    settings.MODEL_ROOT = folder / "models"
    settings.TRAINING_DATA_ROOT = folder / "training"
    settings.IMAGENET_ROOT = folder / "imagenet"
    settings.LOG_ROOT = folder / "logs"
    monkeypatch.setenv("KIDNEYWEB_DATA_DIR", str(folder))
    return folder


@pytest.fixture
def second(monkeypatch) -> Backbone:
    """A second architecture beside ResNet50, named alone: whoever asks for it builds nothing."""
    backbone = replace(
        BACKBONES["resnet50"],
        name="second",
        title="Second <network>",
        imagenet=ImageNetWeights(source="a study", licence="CC0", file="second.npz"),
    )
    monkeypatch.setitem(BACKBONES, backbone.name, backbone)
    return backbone


@pytest.fixture
def database_url(transactional_db) -> str:
    """The DATABASE_URL of the database that this test writes to, for processes it starts."""
    database = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{quote(str(database['NAME']))}"
    account = quote(database["USER"], safe="")
    if database["PASSWORD"]:
        account += f":{quote(database['PASSWORD'], safe='')}"
    address = database["HOST"] + (f":{database['PORT']}" if database["PORT"] else "")
    url = f"mysql://{account}@{address}/{database['NAME']}"
    if socket := database["OPTIONS"].get("unix_socket"):
        url += f"?{urlencode({'unix_socket': socket})}"
    return url


@pytest.fixture
def process_environment(database_url: str, data_dir: Path) -> dict[str, str]:
    """The environment of a process that works on this test's database and data folder."""
    return os.environ | {"DATABASE_URL": database_url}


def person(*, username: str, role: str) -> User:
    return user_create(
        username=username,
        email=f"{username}@example.org",
        role=role,
        first_name=username.capitalize(),
        last_name="Synthetic",
        password=PASSWORD,
    )


@pytest.fixture
def password() -> str:
    return PASSWORD


@pytest.fixture
def radiologist(db) -> User:
    return person(username="radiologist", role="radiologist")


@pytest.fixture
def other_radiologist(db) -> User:
    return person(username="other", role="radiologist")


@pytest.fixture
def lead(db) -> User:
    return person(username="lead", role="lead")


@pytest.fixture
def administrator(db) -> User:
    return person(username="administrator", role="administrator")


@pytest.fixture
def auditor(db) -> User:
    return person(username="auditor", role="auditor")


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def radiologist_client(radiologist: User) -> Client:
    return signed_in(radiologist)


@pytest.fixture
def other_radiologist_client(other_radiologist: User) -> Client:
    return signed_in(other_radiologist)


@pytest.fixture
def lead_client(lead: User) -> Client:
    return signed_in(lead)


@pytest.fixture
def administrator_client(administrator: User) -> Client:
    return signed_in(administrator)


@pytest.fixture
def auditor_client(auditor: User) -> Client:
    return signed_in(auditor)
