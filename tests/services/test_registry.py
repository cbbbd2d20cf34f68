import shutil
from pathlib import Path

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command

from detection.ml.bundle import load_bundle, set_default_bundle
from detection.models import ModelActivation, ModelVersion
from detection.selectors.registry import activation_list, model_version_active
from detection.services.registry import (
    model_version_activate,
    model_version_register,
    shipped_model_register,
    shipped_others_register,
)
from tests.factories import OPERATING_POINT, bundle_make, model_version_make
from tests.networks import ensemble_bundle, network_bundle

pytestmark = pytest.mark.django_db
SITE = ModelVersion.Origin.SITE


@pytest.fixture
def shipped(settings):
    folder = bundle_make(Path(settings.SHIPPED_MODEL_ROOT), "shipped-1")
    set_default_bundle(Path(settings.SHIPPED_MODEL_ROOT), load_bundle(folder))
    return folder


def test_bundle_is_registered_once(settings):
    path = bundle_make(Path(settings.MODEL_ROOT), "a")

    first = model_version_register(path=path, origin=SITE)
    second = model_version_register(path=path, origin=SITE)

    assert first == second
    assert first.operating_point == OPERATING_POINT
    assert first.metrics == {"auc": 0.9}
    assert model_version_active() is None


def test_bundle_elsewhere_is_not_registered(tmp_path):
    with pytest.raises(ValidationError, match="directly below"):
        model_version_register(path=bundle_make(tmp_path, "a"), origin=SITE)


def test_damaged_bundle_is_not_registered(settings):
    path = bundle_make(Path(settings.MODEL_ROOT), "a")
    (path / "model.onnx").write_bytes(b"other")

    with pytest.raises(ValidationError, match="damaged"):
        model_version_register(path=path, origin=SITE)


def test_renamed_bundle_is_not_registered(settings):
    path = bundle_make(Path(settings.MODEL_ROOT), "a")
    renamed = path.rename(path.with_name("b"))

    with pytest.raises(ValidationError, match="calls itself a"):
        model_version_register(path=renamed, origin=SITE)


def test_name_belongs_to_one_bundle_for_ever(settings):
    model_version_make("a")
    path = bundle_make(Path(settings.SHIPPED_MODEL_ROOT), "a", weights=b"other")

    with pytest.raises(ValidationError, match="Another bundle"):
        model_version_register(path=path, origin=ModelVersion.Origin.SHIPPED)


def test_activation_and_going_back_are_entries_of_one_log(administrator):
    first, second = model_version_make("a"), model_version_make("b")
    for model_version in (first, second, first):
        model_version_activate(model_version=model_version, activated_by=administrator, note="n")

    assert model_version_active() == first
    assert [entry.model_version for entry in activation_list()] == [first, second, first]
    assert {entry.activated_by for entry in activation_list()} == {administrator}


def test_version_in_service_is_not_activated_again(administrator):
    model_version = model_version_make("a", is_active=True)

    with pytest.raises(ValidationError, match="in service already"):
        model_version_activate(model_version=model_version, activated_by=administrator)

    assert ModelActivation.objects.count() == 1


def test_damaged_version_is_not_activated(administrator, settings):
    model_version = model_version_make("a")
    (Path(settings.MODEL_ROOT) / "a" / "model.onnx").write_bytes(b"other")

    with pytest.raises(ValidationError, match="damaged"):
        model_version_activate(model_version=model_version, activated_by=administrator)

    assert not ModelActivation.objects.exists()


def test_shipped_model_goes_into_service_if_none_is(shipped):
    model_version = shipped_model_register()
    shipped_model_register()

    assert model_version_active() == model_version
    assert ModelActivation.objects.get().activated_by is None


def test_shipped_model_leaves_another_one_in_service(shipped):
    own = model_version_make("own", is_active=True)

    shipped_model_register()

    assert model_version_active() == own
    assert ModelVersion.objects.filter(name="shipped-1").exists()


def test_update_that_brings_another_bundle_puts_it_into_service(shipped, settings):
    first = shipped_model_register()
    root = Path(settings.SHIPPED_MODEL_ROOT)
    set_default_bundle(root, load_bundle(bundle_make(root, "shipped-2")))
    assert shipped_model_register().name == "shipped-2"
    assert model_version_active() == first

    shutil.rmtree(shipped)
    second = shipped_model_register()
    shipped_model_register()

    assert model_version_active() == second
    assert "no longer brings shipped-1" in ModelActivation.objects.order_by("pk").last().note
    assert ModelActivation.objects.count() == 2


def test_missing_shipped_model_is_a_sentence():
    with pytest.raises(ValidationError, match="does not name a model bundle"):
        shipped_model_register()


def test_register_model_command(shipped, settings, capsys):
    call_command("register_model")
    call_command("register_model", bundle_make(Path(settings.MODEL_ROOT), "own"))

    assert capsys.readouterr().out.splitlines() == [
        "Registered: shipped-1. In service: shipped-1.",
        "Registered: own. In service: shipped-1.",
    ]


def test_register_model_command_says_what_is_wrong(tmp_path):
    with pytest.raises(CommandError, match="directly below"):
        call_command("register_model", tmp_path / "nothing")


def test_activate_command(administrator, radiologist):
    model_version_make("a")

    call_command("activate", "a", "--by", administrator.username, "--note", "better")

    entry = activation_list().get()
    assert (entry.activated_by, entry.note) == (administrator, "better")
    with pytest.raises(CommandError, match="no user"):
        call_command("activate", "a", "--by", radiologist.username)
    with pytest.raises(CommandError, match="no model version"):
        call_command("activate", "b", "--by", administrator.username)


def test_ensemble_is_registered_and_activated_with_its_members(administrator, settings):
    root = Path(settings.MODEL_ROOT)
    members = [network_bundle(root, name) for name in ("alpha-1", "beta-1")]
    ensemble = ensemble_bundle(root, members)

    version = model_version_register(path=ensemble, origin=SITE)
    model_version_activate(model_version=version, activated_by=administrator)
    assert model_version_active() == version

    model_version_activate(
        model_version=model_version_register(path=members[0], origin=SITE),
        activated_by=administrator,
    )
    (members[1] / "model.onnx").write_bytes(b"other")
    with pytest.raises(ValidationError, match="ensemble-1 cannot be used.*beta-1 is damaged"):
        model_version_activate(model_version=version, activated_by=administrator)
    shutil.rmtree(members[1])
    with pytest.raises(ValidationError, match="beta-1 is missing"):
        model_version_activate(model_version=version, activated_by=administrator)
    with pytest.raises(CommandError, match="beta-1 is missing"):
        call_command("register_model", ensemble)


def test_update_that_takes_a_member_away_ends_the_service_of_its_ensemble(shipped, settings):
    root = Path(settings.SHIPPED_MODEL_ROOT)
    members = [network_bundle(root, name) for name in ("alpha-1", "beta-1")]
    version = model_version_register(
        path=ensemble_bundle(root, members), origin=ModelVersion.Origin.SHIPPED
    )
    model_version_activate(model_version=version, activated_by=None)
    shipped_model_register()
    assert model_version_active() == version

    shutil.rmtree(members[0])

    assert shipped_model_register() == model_version_active()
    assert model_version_active().name == "shipped-1"
    assert (
        activation_list().first().note
        == "The update no longer brings alpha-1, which ensemble-1 needs."
    )


def test_bundles_beside_the_shipped_one_become_candidates(shipped):
    root = shipped.parent
    bundle_make(root, "small-1")
    damaged = bundle_make(root, "small-2")
    (damaged / "model.onnx").write_bytes(b"something else")
    shipped_model_register()

    versions, problems = shipped_others_register()
    shipped_others_register()

    assert [version.name for version in versions] == ["shipped-1", "small-1"]
    assert ModelVersion.objects.count() == 2
    assert model_version_active().name == "shipped-1"
    assert len(problems) == 1
    assert "small-2 is damaged" in problems[0]
