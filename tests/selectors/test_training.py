"""What a retraining starts from."""

from pathlib import Path

import pytest

from detection.ml.bundle import MANIFEST_NAME
from detection.models import ModelActivation, ModelVersion
from detection.selectors.training import architecture_in_service, training_start
from detection.services.registry import model_version_register
from tests.factories import bundle_make, model_version_make

pytestmark = pytest.mark.django_db


def version_of_second(settings) -> ModelVersion:
    path = bundle_make(Path(settings.MODEL_ROOT), "second-1", backbone="second")
    version = model_version_register(path=path, origin=ModelVersion.Origin.SITE)
    ModelActivation.objects.create(model_version=version)
    return version


def test_a_training_starts_from_the_model_in_service(settings):
    model_version_make("first", is_active=True)

    start = training_start(architecture="resnet50")

    assert start.init == str(settings.MODEL_ROOT / "first")
    assert start.text == "first"


def test_the_same_holds_for_any_architecture(second, settings):
    version_of_second(settings)

    assert architecture_in_service() == "second"
    assert training_start(architecture="second").init == str(settings.MODEL_ROOT / "second-1")


def test_another_architecture_starts_from_the_weights_that_the_installation_has(second, settings):
    model_version_make("first", is_active=True)
    file = Path(settings.IMAGENET_ROOT) / "second.npz"
    file.parent.mkdir(parents=True)
    file.touch()

    start = training_start(architecture="second")

    assert start.init == str(file)
    assert start.text == "ImageNet weights of a study (licence: CC0)"
    assert not start.warning


def test_without_weights_it_starts_from_random_ones_and_says_so(second):
    model_version_make("first", is_active=True)

    start = training_start(architecture="second")

    assert start.init == "random"
    assert start.text == "random weights"
    assert "not a Second" in start.warning
    assert "second.npz" in start.warning


def test_from_another_architecture_back_to_resnet50(second, settings):
    version_of_second(settings)

    assert training_start(architecture="resnet50").init == "random"


def test_a_bundle_that_is_gone_is_still_named_as_the_start(settings):
    version = model_version_make("first", is_active=True)
    (Path(settings.MODEL_ROOT) / version.name / MANIFEST_NAME).unlink()

    assert training_start(architecture="resnet50").text == "first"
