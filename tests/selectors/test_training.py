"""What a retraining starts from."""

from pathlib import Path

import pytest

from detection.ml.bundle import MANIFEST_NAME
from detection.models import ModelActivation, ModelVersion
from detection.selectors.training import architecture_in_service, training_start
from detection.services.registry import model_version_register
from tests.factories import bundle_make, model_version_make
from tests.networks import ensemble_bundle, network_bundle

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


def ensemble_in_service(settings, *members, weights):
    root = Path(settings.MODEL_ROOT)
    held = [network_bundle(root, name) for name in members]
    version = model_version_register(
        path=ensemble_bundle(root, held, weights=weights), origin=ModelVersion.Origin.SITE
    )
    ModelActivation.objects.create(model_version=version)
    return root


def test_a_training_starts_from_the_member_of_its_architecture(second, settings):
    root = ensemble_in_service(
        settings, "second-1", "resnet50-1", "second-2", weights=(0.2, 0.5, 0.3)
    )

    start = training_start(architecture="second")

    assert architecture_in_service() == "resnet50"
    assert start.init == str(root / "second-2")
    assert start.text == "second-2, a member of the model in service"
    assert training_start(architecture="resnet50").init == str(root / "resnet50-1")


def test_without_such_a_member_it_starts_as_without_a_model(second, settings):
    ensemble_in_service(settings, "resnet50-1", "resnet50-2", weights=(0.5, 0.5))

    start = training_start(architecture="second")

    assert start.init == "random"
    assert "has no Second" in start.warning
