"""Signing in and out, the lockout, the limits of a session, and what a browser is told."""

import re
import time
from pathlib import Path

import pytest
from axes.models import AccessAttempt
from django.conf import settings as django_settings
from django.contrib.sessions.models import Session
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.client_address import client_address
from accounts.middleware import SESSION_STARTED
from detection.services.uploads import MAX_UPLOAD_BYTES
from tests.factories import study_make

pytestmark = pytest.mark.django_db
SIGN_IN = "/accounts/sign-in/"


def sign_in(client, *, username, password, **extra):
    return client.post(SIGN_IN, {"username": username, "password": password}, **extra)


def is_signed_in(client):
    return client.get(reverse("password-change")).status_code == 200


def test_sign_in_and_out(client, radiologist, password):
    response = sign_in(client, username="radiologist", password=password)

    assert response.status_code == 302
    assert response.url == reverse("home")
    assert is_signed_in(client)

    response = client.post(reverse("sign-out"))

    assert response.url == SIGN_IN
    assert not is_signed_in(client)


def test_sign_in_leads_back_to_the_page_that_was_asked_for(client, radiologist, password):
    response = client.get(reverse("password-change"))
    assert response.url == f"{SIGN_IN}?next=/accounts/password/"

    response = client.post(response.url, {"username": "radiologist", "password": password})

    assert response.url == "/accounts/password/"


def test_sign_in_never_leads_to_another_site(client, radiologist, password):
    response = client.post(
        f"{SIGN_IN}?next=https://evil.example/", {"username": "radiologist", "password": password}
    )

    assert response.url == reverse("home")


def test_sign_out_needs_a_post(radiologist_client):
    assert radiologist_client.get(reverse("sign-out")).status_code == 405
    assert is_signed_in(radiologist_client)


def test_sign_in_needs_the_csrf_token(radiologist, password):
    client = Client(enforce_csrf_checks=True)

    assert sign_in(client, username="radiologist", password=password).status_code == 403


def test_same_answer_for_wrong_password_unknown_name_and_closed_account(
    client, radiologist, other_radiologist, password
):
    other_radiologist.is_active = False
    other_radiologist.save(update_fields=["is_active"])

    errors = [
        list(sign_in(client, username=username, password=typed).context["form"].errors["__all__"])
        for username, typed in (
            ("radiologist", "wrong"),
            ("nobody", "wrong"),
            (other_radiologist.username, password),
        )
    ]

    assert errors[0]
    assert errors[0] == errors[1] == errors[2]


@pytest.mark.parametrize("username", ["radiologist", "nobody"])
def test_locked_out_after_five_failures(client, radiologist, password, username):
    for _ in range(4):
        assert sign_in(client, username=username, password="wrong").status_code == 200

    response = sign_in(client, username=username, password="wrong")

    assert response.status_code == 429
    assert "accounts/locked_out.html" in [template.name for template in response.templates]
    # The right password does not help for now.
    assert sign_in(client, username=username, password=password).status_code == 429
    assert not is_signed_in(client)


def test_lockout_is_for_one_name_from_one_address(client, radiologist, other_radiologist, password):
    for _ in range(5):
        sign_in(client, username="radiologist", password="wrong")

    elsewhere = {"REMOTE_ADDR": "192.0.2.7"}
    for username, extra in (("radiologist", elsewhere), (other_radiologist.username, {})):
        response = sign_in(Client(), username=username, password=password, **extra)
        assert response.status_code == 302


def test_lockout_ends_after_the_cooling_off(client, radiologist, password):
    for _ in range(5):
        sign_in(client, username="radiologist", password="wrong")
    AccessAttempt.objects.update(
        attempt_time=timezone.now() - django_settings.AXES_COOLOFF_TIME * 1.1
    )

    assert sign_in(client, username="radiologist", password=password).status_code == 302


def test_success_forgets_earlier_failures(client, radiologist, password):
    for _ in range(2):
        for _ in range(4):
            sign_in(client, username="radiologist", password="wrong")
        assert sign_in(client, username="radiologist", password=password).status_code == 302
        client.post(reverse("sign-out"))


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, "198.51.100.1", "192.0.2.1"),  # No proxy of ours: the header is the client's own word.
        (1, "198.51.100.1", "198.51.100.1"),
        (1, "203.0.113.9, 198.51.100.1", "198.51.100.1"),
        (2, "203.0.113.9, 198.51.100.1, 10.0.0.1", "198.51.100.1"),
        (1, "", "192.0.2.1"),
    ],
)
def test_address_is_believed_only_from_our_own_proxies(rf, settings, proxies, forwarded, address):
    settings.KIDNEYWEB_PROXY_COUNT = proxies

    request = rf.get("/", REMOTE_ADDR="192.0.2.1", HTTP_X_FORWARDED_FOR=forwarded)

    assert client_address(request) == address


def test_session_ends_when_idle(radiologist_client, settings):
    assert is_signed_in(radiologist_client)
    session = Session.objects.get()
    left = (session.expire_date - timezone.now()).total_seconds()
    assert left == pytest.approx(settings.SESSION_COOKIE_AGE, abs=60)
    assert settings.SESSION_COOKIE_AGE == 30 * 60

    Session.objects.update(expire_date=timezone.now())

    assert not is_signed_in(radiologist_client)


def end_soon(client):
    assert is_signed_in(client)
    soon = timezone.now() + timezone.timedelta(minutes=1)
    Session.objects.update(expire_date=soon)
    return soon


def test_every_page_that_is_opened_extends_a_session(radiologist_client):
    soon = end_soon(radiologist_client)

    is_signed_in(radiologist_client)

    assert Session.objects.get().expire_date > soon


def test_a_stream_of_slices_extends_an_idle_session_once_a_minute(
    radiologist, radiologist_client, monkeypatch
):
    address = reverse("study-slice", args=[study_make(uploaded_by=radiologist).uuid])
    begin = int(time.time())

    def expiry_after(seconds):
        monkeypatch.setattr("accounts.middleware.time.time", lambda: begin + seconds)
        assert radiologist_client.get(address).status_code == 200
        return Session.objects.get().expire_date

    first, soon, later = (expiry_after(seconds) for seconds in (0, 59, 61))

    assert first == soon < later


def test_page_that_asks_by_itself_extends_no_session(radiologist_client, radiologist):
    study = study_make(uploaded_by=radiologist)
    soon = end_soon(radiologist_client)

    response = radiologist_client.get(reverse("study-status", args=[study.uuid]))

    assert response.status_code in (200, 286)
    assert Session.objects.get().expire_date == soon


def test_pages_that_ask_by_themselves_are_known():
    templates = (Path(django_settings.BASE_DIR) / "templates").rglob("*.html")
    asking = re.compile(r"""hx-get="{% url ['"]([^'"]+)['"][^>]*hx-trigger="[^"]*every""")
    names = {name for page in templates for name in asking.findall(page.read_text("utf-8"))}

    assert {name.removeprefix("admin:") for name in names} == django_settings.SESSION_IDLE_PAGES


def test_stranger_sends_no_files(client, settings, password):
    settings.MAX_STRANGERS_REQUEST_BYTES = 1000
    upload = reverse("upload-create")

    response = client.post(upload, {"files": SimpleUploadedFile("a.png", bytes(2000))})

    assert response.url == f"{SIGN_IN}?next={upload}"


def test_request_that_is_too_large_is_not_read(radiologist_client, settings):
    settings.MAX_REQUEST_BYTES = 1000
    many = {"files": SimpleUploadedFile("a.png", bytes(2000))}

    response = radiologist_client.post(reverse("upload-create"), many)

    assert response.status_code == 413
    assert "Nothing was stored" in response.content.decode()


def test_a_whole_upload_fits_into_a_request(settings):
    assert settings.MAX_REQUEST_BYTES > MAX_UPLOAD_BYTES


def test_session_cookie_goes_with_the_browser(client, radiologist, password):
    cookie = sign_in(client, username="radiologist", password=password).cookies["sessionid"]

    assert cookie["max-age"] == cookie["expires"] == ""
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"


def test_session_ends_after_twelve_hours_however_busy(radiologist_client, settings):
    before = int(time.time())
    assert is_signed_in(radiologist_client)
    session = radiologist_client.session
    assert before <= session[SESSION_STARTED] <= time.time()

    for age, expected in ((-60, True), (60, False)):
        session[SESSION_STARTED] = int(time.time()) - settings.SESSION_ABSOLUTE_SECONDS - age
        session.save()
        assert is_signed_in(radiologist_client) is expected


def test_pages_of_signed_in_users_are_not_kept(radiologist_client):
    response = radiologist_client.get(reverse("password-change-done"))

    assert "no-store" in response["Cache-Control"]


def test_headers_of_a_page(client):
    response = client.get(SIGN_IN)

    policy = response["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert response["X-Frame-Options"] == "DENY"
    assert response["Referrer-Policy"] == "same-origin"
    assert response["Cross-Origin-Opener-Policy"] == "same-origin"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert "camera=()" in response["Permissions-Policy"]
    assert response["Cross-Origin-Resource-Policy"] == "same-origin"


def test_pages_keep_the_content_security_policy(client, radiologist_client):
    # What it forbids would silently not work: scripts and styles within the page.
    pages = [client.get(SIGN_IN), client.get(reverse("password-reset"))]
    pages.append(radiologist_client.get(reverse("password-change")))

    for page in pages:
        html = page.content.decode()
        assert "<script>" not in html
        assert "<style" not in html
        assert ' style="' not in html
        assert " onclick=" not in html
