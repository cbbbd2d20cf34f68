"""Changing a password, and setting a forgotten one through a mail."""

import re

import pytest
from django.core.cache import cache
from django.urls import reverse

pytestmark = pytest.mark.django_db

NEW = "another-synthetic-passphrase"


@pytest.fixture(autouse=True)
def nobody_was_written_to():
    cache.clear()


def link_of(mail):
    return re.search(r"http://testserver(\S+)", mail.body)[1]


def test_reset_by_mail(client, radiologist, password, mailoutbox):
    response = client.post(reverse("password-reset"), {"email": radiologist.email})
    assert response.url == reverse("password-reset-sent")
    (mail,) = mailoutbox
    assert mail.to == [radiologist.email]
    assert "one hour" in mail.body

    link = link_of(mail)
    page = client.get(link, follow=True)
    assert page.status_code == 200
    response = client.post(page.redirect_chain[-1][0], {"new_password1": NEW, "new_password2": NEW})

    assert response.url == reverse("password-reset-complete")
    assert client.get(response.url).status_code == 200
    radiologist.refresh_from_db()
    assert radiologist.check_password(NEW)
    # The link works once.
    assert "does not work any more" in client.get(link, follow=True).content.decode()


def test_unknown_address_gets_the_same_answer(client, radiologist, mailoutbox):
    answers = [
        client.post(reverse("password-reset"), {"email": email}, follow=True)
        for email in (radiologist.email, "nobody@example.org")
    ]

    assert [mail.to for mail in mailoutbox] == [[radiologist.email]]
    assert answers[0].redirect_chain == answers[1].redirect_chain
    assert answers[0].content == answers[1].content


def test_mailbox_is_not_filled(client, radiologist, lead, mailoutbox):
    for email in (radiologist.email, radiologist.email, lead.email):
        client.post(reverse("password-reset"), {"email": email})

    assert [mail.to for mail in mailoutbox] == [[radiologist.email], [lead.email]]


def test_closed_account_gets_no_mail(client, radiologist, mailoutbox):
    radiologist.is_active = False
    radiologist.save(update_fields=["is_active"])

    client.post(reverse("password-reset"), {"email": radiologist.email})

    assert mailoutbox == []


def test_change_keeps_this_session_and_ends_the_others(
    radiologist, radiologist_client, client, password
):
    client.force_login(radiologist, backend="django.contrib.auth.backends.ModelBackend")

    response = radiologist_client.post(
        reverse("password-change"),
        {"old_password": password, "new_password1": NEW, "new_password2": NEW},
    )

    assert response.url == reverse("password-change-done")
    assert radiologist_client.get(response.url).status_code == 200
    assert client.get(response.url).status_code == 302


@pytest.mark.parametrize("weak", ["short-one", "123456789012345", "radiologist-x", "qwertyuiop123"])
def test_weak_password_is_refused(radiologist, radiologist_client, password, weak):
    response = radiologist_client.post(
        reverse("password-change"),
        {"old_password": password, "new_password1": weak, "new_password2": weak},
    )

    assert response.status_code == 200
    assert "new_password2" in response.context["form"].errors
    radiologist.refresh_from_db()
    assert radiologist.check_password(password)
