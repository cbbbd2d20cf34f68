from pathlib import Path

import pytest

from detection.models import ModelVersion
from detection.selectors.registry import (
    activation_list,
    model_version_active,
    model_version_path,
    training_data_folders,
)
from detection.services.registry import model_version_activate
from tests.factories import model_version_make

pytestmark = pytest.mark.django_db


def test_no_model_in_service_at_first():
    assert model_version_active() is None


def test_newest_activation_counts(administrator, django_assert_num_queries):
    first, second = model_version_make("a"), model_version_make("b")
    for model_version in (first, second, first):
        model_version_activate(model_version=model_version, activated_by=administrator)

    with django_assert_num_queries(1):
        assert model_version_active().name == "a"
    with django_assert_num_queries(1):
        listed = [
            (entry.model_version.name, str(entry.activated_by)) for entry in activation_list()
        ]
    assert [name for name, _ in listed] == ["a", "b", "a"]


@pytest.mark.parametrize(
    ("origin", "root"),
    [(ModelVersion.Origin.SHIPPED, "SHIPPED_MODEL_ROOT"), (ModelVersion.Origin.SITE, "MODEL_ROOT")],
)
def test_bundle_lies_where_its_origin_says(settings, origin, root):
    model_version = ModelVersion(name="a", origin=origin)

    assert model_version_path(model_version=model_version) == Path(getattr(settings, root)) / "a"


def test_training_data_folders_are_those_with_a_manifest(settings, tmp_path):
    assert training_data_folders() == []
    root = Path(settings.TRAINING_DATA_ROOT)
    for name in ("b", "a", "empty"):
        (root / name).mkdir(parents=True)
    for folder in (root / "b", root / "a", root):
        (folder / "manifest.csv").touch()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "manifest.csv").touch()
    (root / "link").symlink_to(outside)

    assert training_data_folders() == ["a", "b"]
