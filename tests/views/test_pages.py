import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from django.conf import settings
from django.template.loader import render_to_string
from django.test import Client
from django.urls import reverse

from detection.imaging.display import overlay_png
from tests.factories import study_make

TEMPLATES = sorted((Path(settings.BASE_DIR) / "templates").rglob("*.html"))


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem)
def test_templates_hold_no_inline_script_or_style(template):
    source = template.read_text(encoding="utf-8")

    assert not re.search(r"<script(?![^>]*\bsrc=)", source)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=", source)


def test_error_page_needs_no_context():
    assert "Something went wrong" in render_to_string("500.html")


def test_error_pages_are_our_own(radiologist_client, auditor_client):
    missing = radiologist_client.get("/no-such-page/")
    assert (missing.status_code, "does not exist" in missing.content.decode()) == (404, True)
    refused = auditor_client.get(reverse("upload-create"))
    assert (refused.status_code, "may not do this" in refused.content.decode()) == (403, True)


def test_stale_form_is_explained(radiologist):
    client = Client(enforce_csrf_checks=True)
    client.force_login(radiologist, backend="django.contrib.auth.backends.ModelBackend")

    response = client.post(reverse("upload-create"))
    assert response.status_code == 403
    assert "This form is out of date" in response.content.decode()


@pytest.mark.parametrize(
    ("client_name", "links"),
    [
        ("radiologist_client", {"History", "Upload", "About the model"}),
        ("administrator_client", {"History", "About the model", "Administration"}),
    ],
)
def test_navigation_offers_what_the_person_may_do(client_name, links, request):
    page = request.getfixturevalue(client_name).get(reverse("study-list")).content.decode()

    assert set(re.findall(r'<a class="nav-link"[^>]*>([^<]+)</a>', page)) == links


def test_home_leads_to_the_history(radiologist_client):
    assert radiologist_client.get("/").url == reverse("study-list")


def test_pages_of_a_study_are_kept_by_no_cache(radiologist_client, radiologist):
    study = study_make(uploaded_by=radiologist)

    response = radiologist_client.get(study.get_absolute_url())
    assert "no-store" in response["Cache-Control"]


def test_legend_of_the_map_has_the_colours_of_the_map():
    legend = (Path(settings.BASE_DIR) / "static/img/map-legend.svg").read_text()
    stops = re.findall(r'offset="([\d.]+)" stop-color="#(\w{6})"', legend)
    for offset, colour in (stops[0], stops[-1]):
        probability = 0.05 + float(offset) * 0.95
        flat = np.full((8, 8), max(probability, 0.051), np.float32)
        png = overlay_png(flat, (8, 8))
        blue, green, red, _ = cv2.imdecode(np.frombuffer(png, np.uint8), -1)[4, 4]
        shown = [int(colour[i : i + 2], 16) for i in (0, 2, 4)]
        assert np.abs(np.array(shown) - [red, green, blue]).max() <= 4
