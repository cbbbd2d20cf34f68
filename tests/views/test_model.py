import json
import re

import pytest
from django.urls import reverse

from detection.services.registry import shipped_model_register
from detection.templatetags.card import markup


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
