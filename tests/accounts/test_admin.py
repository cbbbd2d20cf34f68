"""The user administration: who gets in, making accounts, and no way to grant more than a role."""

import pytest
from django.contrib.auth.models import Permission
from django.urls import reverse

from accounts.models import User

pytestmark = pytest.mark.django_db
ADD = "/admin/accounts/user/add/"
LIST = "/admin/accounts/user/"


def change_url(user):
    return reverse("admin:accounts_user_change", args=[user.pk])


def fields_of(user, **changes):
    return {
        "username": user.username,
        "email": user.email,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "is_active": "on",
        "role": user.groups.get().name,
    } | changes


NEW_USER = {
    "username": "ada",
    "email": "ada@example.org",
    "first_name": "Ada",
    "last_name": "Synthetic",
    "password1": "a-new-synthetic-passphrase",
    "password2": "a-new-synthetic-passphrase",
    "role": "auditor",
}


def test_stranger_is_sent_to_sign_in_and_back(client, administrator, password):
    response = client.get(LIST)
    assert response.url == f"/accounts/sign-in/?next={LIST}"

    response = client.post(response.url, {"username": "administrator", "password": password})

    assert response.url == LIST


def test_admin_has_no_sign_in_of_its_own(client, administrator_client, radiologist_client):
    assert client.get("/admin/login/?next=/admin/x/").url == "/accounts/sign-in/?next=/admin/x/"
    assert administrator_client.get("/admin/login/").url == "/admin/"
    assert radiologist_client.get("/admin/login/").status_code == 403
    assert administrator_client.get("/admin/password_change/").url == "/accounts/password/"
    assert administrator_client.post("/admin/logout/").url == "/accounts/sign-in/"


@pytest.mark.parametrize("who", ["radiologist_client", "lead_client"])
def test_refused_without_a_role_for_it(request, who):
    client = request.getfixturevalue(who)

    assert client.get("/admin/", follow=True).status_code == 403
    assert client.get(ADD, follow=True).status_code == 403


def test_administrator_creates_an_account(administrator_client):
    assert administrator_client.get(ADD).status_code == 200

    response = administrator_client.post(ADD, NEW_USER)

    assert response.status_code == 302, response.context["adminform"].form.errors
    user = User.objects.get(username="ada")
    assert [group.name for group in user.groups.all()] == ["auditor"]
    assert user.is_staff
    assert not user.is_superuser
    assert user.check_password(NEW_USER["password1"])


def test_an_account_needs_a_role(administrator_client):
    response = administrator_client.post(ADD, NEW_USER | {"role": ""})

    assert "role" in response.context["adminform"].form.errors
    assert not User.objects.filter(username="ada").exists()


def test_administrator_changes_a_role(administrator_client, radiologist):
    page = administrator_client.get(change_url(radiologist))
    assert page.context["adminform"].form["role"].value() == "radiologist"

    administrator_client.post(change_url(radiologist), fields_of(radiologist, role="lead"))

    assert [group.name for group in radiologist.groups.all()] == ["lead"]


def test_administrator_closes_an_account(administrator_client, radiologist, radiologist_client):
    fields = fields_of(radiologist)
    del fields["is_active"]

    administrator_client.post(change_url(radiologist), fields)

    assert radiologist_client.get(reverse("password-change")).status_code == 302


def test_form_grants_nothing_but_a_role(administrator_client, radiologist):
    extra = {
        "is_superuser": "on",
        "is_staff": "on",
        "groups": ["1", "2", "3", "4"],
        "user_permissions": [str(pk) for pk in Permission.objects.values_list("pk", flat=True)],
    }

    administrator_client.post(change_url(radiologist), fields_of(radiologist, **extra))
    administrator_client.post(ADD, NEW_USER | extra | {"role": "radiologist"})

    for username in ("radiologist", "ada"):
        user = User.objects.get(username=username)
        assert not user.is_superuser
        assert not user.is_staff
        assert not user.user_permissions.exists()
        assert [group.name for group in user.groups.all()] == ["radiologist"]


def test_own_role_and_state_are_for_another_administrator(administrator_client, administrator):
    fields = fields_of(administrator, role="lead", first_name="Renamed")
    del fields["is_active"]

    administrator_client.post(change_url(administrator), fields)

    administrator.refresh_from_db()
    assert administrator.first_name == "Renamed"
    assert administrator.is_active
    assert administrator.is_staff
    assert [group.name for group in administrator.groups.all()] == ["administrator"]


def test_superuser_is_out_of_reach(administrator_client):
    superuser = User.objects.create_superuser("root", "root@example.org", "synthetic-root-words")
    password_url = reverse("admin:auth_user_password_change", args=[superuser.pk])

    response = administrator_client.post(
        password_url,
        {"password1": "taken-over-passphrase", "password2": "taken-over-passphrase"},
    )
    assert response.status_code == 403
    changes = {"username": "root", "email": "mine@example.org", "role": "lead"}
    assert administrator_client.post(change_url(superuser), changes).status_code == 403

    superuser.refresh_from_db()
    assert superuser.check_password("synthetic-root-words")
    assert superuser.email == "root@example.org"


def test_administrator_sets_a_password(administrator_client, radiologist):
    url = reverse("admin:auth_user_password_change", args=[radiologist.pk])
    new = "set-by-an-administrator"

    administrator_client.post(
        url,
        {"password1": new, "password2": new, "usable_password": "true", "set-password": "1"},
    )

    radiologist.refresh_from_db()
    assert radiologist.check_password(new)


def test_auditor_reads_accounts_and_changes_none(auditor_client, radiologist):
    assert auditor_client.get(LIST).status_code == 200
    page = auditor_client.get(change_url(radiologist))
    assert page.status_code == 200
    assert radiologist.password not in page.content.decode()
    assert "radiologist" in page.content.decode()

    assert auditor_client.post(change_url(radiologist), fields_of(radiologist)).status_code == 403
    assert auditor_client.get(ADD).status_code == 403


def test_nobody_deletes_an_account(administrator_client, radiologist):
    url = reverse("admin:accounts_user_delete", args=[radiologist.pk])

    assert administrator_client.post(url, {"post": "yes"}).status_code == 403


def test_groups_are_not_edited_here(administrator_client):
    assert administrator_client.get("/admin/auth/group/").status_code == 404


def test_list_takes_few_queries(
    administrator_client, radiologist, lead, auditor, django_assert_max_num_queries
):
    with django_assert_max_num_queries(12):
        administrator_client.get(LIST)
