"""What a retraining starts from."""

from pathlib import Path

import pytest
from django.core.exceptions import ValidationError

from detection.ml.backbones import RECIPES
from detection.ml.bundle import MANIFEST_NAME
from detection.models import ModelActivation, ModelVersion
from detection.selectors.training import (
    architecture_in_service,
    training_plan,
    training_start,
)
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
    assert start.text == "random values"
    assert "No model of this installation is a Second" in start.warning
    assert "second.npz" in start.warning


def test_from_another_architecture_back_to_resnet50(second, settings):
    version_of_second(settings)

    assert training_start(architecture="resnet50").init == "random"


def test_a_bundle_that_is_gone_is_still_named_as_the_start(settings):
    version = model_version_make("first", is_active=True)
    (Path(settings.MODEL_ROOT) / version.name / MANIFEST_NAME).unlink()

    assert training_start(architecture="resnet50").text == "first"


def test_of_an_architecture_that_does_not_serve_it_starts_from_the_newest_that_is_whole(
    second, settings
):
    for name in ("older", "newer", "gone"):
        model_version_make(name)
    (Path(settings.MODEL_ROOT) / "gone" / MANIFEST_NAME).unlink()
    version_of_second(settings)

    start = training_start(architecture="resnet50")

    assert (start.kind, start.text) == ("bundle", "newer")
    assert start.init == str(Path(settings.MODEL_ROOT) / "newer")


def test_a_start_can_be_asked_for(second, settings):
    model_version_make("first", is_active=True)
    version_of_second(settings)
    file = Path(settings.IMAGENET_ROOT) / "second.npz"

    assert training_start(architecture="second", wanted="bundle").text == "second-1"
    start = training_start(architecture="second", wanted="random")
    assert (start.init, "is a Second" in start.warning) == ("random", False)
    with pytest.raises(ValidationError, match=r"second\.npz is not in imagenet/"):
        training_start(architecture="second", wanted="imagenet")
    with pytest.raises(ValidationError, match="No model of this installation is a GoogLeNet"):
        training_start(architecture="googlenet", wanted="bundle")

    file.parent.mkdir(parents=True)
    file.touch()
    assert training_start(architecture="second", wanted="imagenet").init == str(file)


def test_a_folder_is_no_file_of_weights(settings):
    """An architecture without ImageNet weights names no file."""
    model_version_make("first", is_active=True)
    Path(settings.IMAGENET_ROOT).mkdir(parents=True)

    start = training_start(architecture="googlenet")

    assert start.kind == "random"
    assert "There are no ImageNet weights of GoogLeNet." in start.warning


def test_each_start_has_its_recipe(settings):
    model_version_make("first", is_active=True)
    weights = Path(settings.IMAGENET_ROOT) / "mobilenet_v2_imagenet_int8.tflite"
    weights.parent.mkdir(parents=True)
    weights.touch()

    for architecture, kind in (
        ("resnet50", "bundle"),
        ("mobilenetv2", "imagenet"),
        ("googlenet", "random"),
    ):
        plan, recipe = training_plan(architecture=architecture), RECIPES[kind]
        assert plan.start.kind == kind
        assert (plan.epochs, plan.learning_rate) == (recipe.epochs, recipe.learning_rate)
        assert plan.trained == recipe.trained
        assert plan.teacher == ("first" if kind == "random" else "")

    plan = training_plan(architecture="resnet50", epochs=9, learning_rate=0.005, trained="head")
    assert (plan.epochs, plan.learning_rate, plan.trained) == (9, 0.005, "head")


def test_only_a_training_from_random_values_has_a_teacher_of_another_architecture():
    model_version_make("first", is_active=True)

    assert training_plan(architecture="googlenet").teacher == "first"
    assert training_plan(architecture="googlenet", teacher=False).teacher == ""
    assert training_plan(architecture="resnet50", start="random").teacher == ""


def test_a_member_of_an_ensemble_is_a_start_and_a_teacher(settings):
    root = Path(settings.MODEL_ROOT)
    weights = {"mobilenetv2": 0.2, "resnet50": 0.5, "densenet169": 0.3}
    members = [network_bundle(root, f"{name}-1", backbone=name) for name in weights]
    path = ensemble_bundle(root, members, weights=list(weights.values()))
    version = model_version_register(path=path, origin=ModelVersion.Origin.SITE)
    ModelActivation.objects.create(model_version=version)

    assert architecture_in_service() == "resnet50"
    assert training_start(architecture="mobilenetv2").init == str(root / "mobilenetv2-1")
    assert training_plan(architecture="googlenet").teacher == "resnet50-1"
    assert training_plan(architecture="resnet50", start="random").teacher == "densenet169-1"

    # A member that is no longer what the ensemble names is none.
    (root / "resnet50-1" / MANIFEST_NAME).write_text("{}")
    assert architecture_in_service() == "densenet169"
    assert training_start(architecture="resnet50").kind == "random"
