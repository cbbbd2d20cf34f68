import json
import re
import shutil
from pathlib import Path

import pytest
from django.urls import reverse

from detection.ml.bundle import load_bundle
from detection.models import ModelActivation, ModelVersion
from detection.services.registry import model_version_register, shipped_model_register
from detection.templatetags.card import markup
from tests.networks import ensemble_bundle, network_bundle


@pytest.fixture
def model_version(db):
    return shipped_model_register()


@pytest.fixture
def card_root(settings, tmp_path):
    settings.MODEL_CARD_ROOT = tmp_path
    return tmp_path


def page_of(client):
    response = client.get(reverse("model"))
    assert response.status_code == 200
    return response.content.decode()


def test_page_names_the_model_in_service_and_what_it_is_not_for(
    radiologist_client, model_version, card_root
):
    page = page_of(radiologist_client)

    assert model_version.name in page
    assert "What it is not for" in page
    assert "a slice is not a study" in page


def test_page_shows_every_operating_point_with_its_interval(
    radiologist_client, model_version, card_root
):
    page = page_of(radiologist_client)

    rows = re.findall(r'<th scope="row">(balanced|rule-out|rule-in)', page)
    assert rows == ["balanced", "rule-out", "rule-in"]
    assert page.count("decides the verdict") == 1
    assert page.count("95 % interval") == 6


def test_page_works_without_a_model(radiologist_client, card_root):
    assert "No model is in service" in page_of(radiologist_client)


def test_page_says_so_if_the_bundle_is_not_the_registered_one(
    radiologist_client, model_version, card_root
):
    model_version.digest = "f" * 64
    model_version.save()

    page = page_of(radiologist_client)
    assert "is missing or has changed" in page
    assert "95 % interval" not in page


def test_damaged_card_is_as_good_as_none(radiologist_client, model_version, card_root):
    for content in ("{", "[]", json.dumps({"model": {}})):
        (card_root / "metrics.json").write_text(content)

        assert "holds no model card" in page_of(radiologist_client)


def test_only_the_figures_of_the_card_are_served(radiologist_client, card_root):
    (card_root / "roc.png").write_bytes(b"\x89PNG picture")
    (card_root / "secret.png").write_bytes(b"secret")

    for name in ("secret.png", "metrics.json", "..%2Fmanage.py", "roc.png"):
        response = radiologist_client.get(f"/model/figures/{name}")
        # Without a readable card there is no list of figures, so none is served.
        assert response.status_code == 404


def test_markup_escapes_before_it_marks():
    assert markup("**<b>** `a&b` <script>") == (
        "<strong>&lt;b&gt;</strong> <code>a&amp;b</code> &lt;script&gt;"
    )


@pytest.fixture
def ensemble(db, settings):
    root = Path(settings.MODEL_ROOT)
    members = [network_bundle(root, name) for name in ("resnet50-1", "mobilenetv2-1")]
    told = {"combination": {"method": "pso"}, "gate": {"member": "resnet50-1"}}
    version = model_version_register(
        path=ensemble_bundle(root, members, weights=(0.75, 0.25), **told),
        origin=ModelVersion.Origin.SITE,
    )
    ModelActivation.objects.create(model_version=version)
    return root


def test_page_shows_the_members_of_an_ensemble(radiologist_client, ensemble, card_root):
    page = page_of(radiologist_client)

    cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", page, re.DOTALL)
    told = [" ".join(re.sub("<[^>]*>", " ", cell).split()) for cell in cells]
    digest = load_bundle(ensemble / "resnet50-1").digest[:16]
    first = told.index("resnet50-1 judges what may be read")
    assert told[first + 1 : first + 5 : 2] == ["ResNet50", told[first + 3]]
    assert told[first + 2] == "0.750"
    assert told[first + 4] == digest
    assert "bytes" in told[first + 3] or "KB" in told[first + 3]
    assert "MobileNetV2" in told
    assert "The weights were found by particle swarm optimisation." in page
    assert "None epochs" not in page


def test_page_names_a_member_that_is_gone(radiologist_client, ensemble, card_root):
    shutil.rmtree(ensemble / "mobilenetv2-1")

    page = page_of(radiologist_client)

    assert "mobilenetv2-1" in page
    assert "missing or changed, so that the ensemble" in page


def test_page_of_a_single_network_has_no_members(radiologist_client, model_version, card_root):
    assert "Members" not in page_of(radiologist_client)


def test_administrator_sees_the_members_of_an_ensemble(administrator_client, ensemble):
    version = ModelVersion.objects.get()

    page = administrator_client.get(
        reverse("admin:detection_modelversion_change", args=[version.pk])
    ).content.decode()

    assert "mobilenetv2-1: weight 0.250" in page
