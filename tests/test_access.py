import re
from dataclasses import dataclass

import pytest
from django.test import Client
from django.urls import get_resolver, reverse

from accounts.services import user_create
from detection.models import TrainingRun
from tests.conftest import PASSWORD, signed_in
from tests.factories import study_make
from tests.pictures import oriented_volume

EVERYBODY = ("radiologist", "lead", "administrator", "auditor", "no_role")


@dataclass(frozen=True)
class Rule:
    """Who may open an address: everybody else gets 403, and strangers to a study get 404."""

    allowed: tuple[str, ...] = EVERYBODY
    is_public: bool = False
    is_own_only: bool = False
    method: str = "get"
    # What the allowed get; an address of the admin may also answer that there is no such row.
    answers: tuple[int, ...] = (200, 286, 302)


READERS = ("radiologist", "lead", "administrator", "auditor")
STAFF = ("administrator", "auditor")
STUDY = Rule(allowed=READERS, is_own_only=True)
PIXELS = Rule(allowed=("radiologist", "lead", "administrator"), is_own_only=True)
PUBLIC = Rule(is_public=True, answers=(200, 302, 503))
# Django's admin asks the permission of each model; that of ours is tested in test_admin.
ADMIN = Rule(allowed=STAFF, answers=(200, 302, 403, 404))
ACTIVATES = Rule(allowed=("administrator",))

RULES = {
    "healthz": PUBLIC,
    "accounts/sign-in/": PUBLIC,
    "accounts/reset/": PUBLIC,
    "accounts/reset/sent/": PUBLIC,
    "accounts/reset/<uidb64>/<token>/": PUBLIC,
    "accounts/reset/complete/": PUBLIC,
    "accounts/sign-out/": Rule(method="post"),
    "accounts/password/": Rule(),
    "accounts/password/changed/": Rule(),
    "": Rule(),
    "studies/": Rule(allowed=READERS),
    "studies/new/": Rule(allowed=("radiologist", "lead")),
    "studies/<uuid:uuid>/": STUDY,
    "studies/<uuid:uuid>/status/": STUDY,
    "studies/find/": Rule(allowed=READERS, method="post"),
    "studies/<uuid:uuid>/series/<uuid:series>/read/": Rule(
        allowed=("radiologist", "lead"), is_own_only=True, method="post"
    ),
    "studies/<uuid:uuid>/read-again/": Rule(
        allowed=("radiologist", "lead"), is_own_only=True, method="post"
    ),
    "studies/<uuid:uuid>/series/<uuid:series>/set-aside/": Rule(allowed=("lead",), method="post"),
    "studies/<uuid:uuid>/series/<uuid:series>/take-back/": Rule(allowed=("lead",), method="post"),
    "studies/<uuid:uuid>/identifiers/": Rule(
        allowed=("radiologist", "lead"), is_own_only=True, method="post"
    ),
    "studies/<uuid:uuid>/image.png": PIXELS,
    "studies/<uuid:uuid>/map.png": PIXELS,
    "studies/<uuid:uuid>/slice.raw": PIXELS,
    "studies/<uuid:uuid>/volume.nii": PIXELS,
    "model/": Rule(allowed=READERS),
    # The example address names no figure of the card.
    "model/figures/<str:name>": Rule(allowed=READERS, answers=(200, 404)),
    "uploads/": Rule(allowed=READERS),
    "uploads/<uuid:uuid>/": STUDY,
    "uploads/<uuid:uuid>/status/": STUDY,
    "admin/": ADMIN,
    "admin/login/": ADMIN,
    "admin/logout/": Rule(method="post"),
    "admin/password_change/": Rule(),
    "admin/password_change/done/": ADMIN,
    "admin/autocomplete/": ADMIN,
    "admin/jsi18n/": ADMIN,
    "admin/r/<path:content_type_id>/<path:object_id>/": ADMIN,
    "admin/accounts/user/<id>/password/": ADMIN,
    "admin/detection/modelversion/<int:pk>/activate/": ACTIVATES,
    "admin/detection/trainingrun/start/": ACTIVATES,
    "admin/detection/trainingrun/<int:pk>/progress/": Rule(allowed=STAFF),
    "admin/detection/trainingrun/<int:pk>/cancel/": Rule(allowed=("administrator",), method="post"),
    r"admin/^(?P<app_label>accounts|detection|django_tasks_database|axes)/$": ADMIN,
    "admin/(?P<url>.*)$": ADMIN,
}
ADMIN_MODELS = (
    "accounts/user",
    "axes/accessattempt",
    "axes/accessfailurelog",
    "axes/accesslog",
    "detection/identifieraccess",
    "detection/modelactivation",
    "detection/modelversion",
    "detection/prediction",
    "detection/seriesaside",
    "detection/trainingrun",
    "django_tasks_database/dbtaskresult",
)
ADMIN_PAGES = (
    "",
    "add/",
    *(f"<path:object_id>/{p}" for p in ("", "history/", "delete/", "change/")),
)
RULES |= {f"admin/{model}/{page}": ADMIN for model in ADMIN_MODELS for page in ADMIN_PAGES}


def routes(patterns, prefix=""):
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if hasattr(pattern, "url_patterns"):
            yield from routes(pattern.url_patterns, route)
        else:
            yield route


ROUTES = sorted(set(routes(get_resolver().url_patterns)))


@pytest.fixture
def study(radiologist):
    # A stack in three planes, so that each of its addresses has an answer.
    return study_make(uploaded_by=radiologist, volume=oriented_volume())


@pytest.fixture
def training_run(administrator):
    return TrainingRun.objects.create(requested_by=administrator, data_folder="phantoms")


@pytest.fixture
def address(study, training_run):
    version = study.series.get().predictions.get().model_version

    def fill(route):
        row = version if "modelversion" in route else training_run
        route = re.sub(r"admin/\^\(\?P<app_label>.*", "admin/detection/", route)
        route = re.sub(r"\(\?P<url>.*", "no-such-page/", route)
        owner = study.upload if route.startswith("uploads/") else study
        route = route.replace("<uuid:series>", str(study.series.get().uuid))
        route = route.replace("<uuid:uuid>", str(owner.uuid)).replace("<int:pk>", str(row.pk))
        return "/" + re.sub(r"<[^>]+>", "1", route)

    return fill


@pytest.fixture
def clients(radiologist, lead, administrator, auditor):
    no_role = user_create(
        username="norole", email="norole@example.org", role="radiologist", password=PASSWORD
    )
    no_role.groups.clear()
    users = (radiologist, lead, administrator, auditor, no_role)
    return dict(zip(EVERYBODY, map(signed_in, users), strict=True))


def test_every_address_has_a_rule_and_every_rule_an_address():
    assert set(ROUTES) == set(RULES)


@pytest.mark.parametrize("route", ROUTES)
def test_who_is_not_signed_in_is_sent_to_the_sign_in_page(route, address):
    rule = RULES[route]
    response = getattr(Client(), rule.method)(address(route), follow=True)

    arrived_at = response.redirect_chain[-1][0] if response.redirect_chain else address(route)
    is_at_the_door = arrived_at.startswith(reverse("sign-in"))
    assert is_at_the_door is (not rule.is_public or route == "accounts/sign-in/")


@pytest.mark.parametrize("route", ROUTES)
def test_each_role_opens_what_it_may_and_nothing_else(route, address, clients):
    rule = RULES[route]
    url = address(route)
    wrong = {}
    for role, client in clients.items():
        # Signing out is part of the walk: each role is asked once.
        response = getattr(client, rule.method)(url)
        if response.status_code == 302 and response.url.startswith(reverse("admin:login")):
            response = client.get(response.url)
        is_allowed = rule.is_public or role in rule.allowed
        if response.status_code not in (rule.answers if is_allowed else (403,)):
            wrong[role] = response.status_code

    assert wrong == {}


@pytest.mark.parametrize("route", [route for route, rule in RULES.items() if rule.is_own_only])
def test_a_study_of_someone_else_does_not_exist(route, address, other_radiologist_client):
    ask = getattr(other_radiologist_client, RULES[route].method)
    assert ask(address(route)).status_code == 404
