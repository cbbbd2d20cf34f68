"""The table of roles, and that `migrate` gives exactly it."""

from dataclasses import replace

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from accounts.roles import ROLES, Role
from accounts.services import user_create, user_set_role

pytestmark = pytest.mark.django_db

# (permission, who has it): written out once more, so that a change of the table is seen.
TABLE = [
    ("detection.add_study", {"radiologist", "lead"}),
    ("detection.view_study", {"radiologist", "lead", "administrator", "auditor"}),
    ("detection.view_pixels", {"radiologist", "lead", "administrator"}),
    ("detection.view_all_studies", {"lead", "administrator", "auditor"}),
    # Who treats the patient; running the system needs no names.
    ("detection.view_identifiers", {"radiologist", "lead"}),
    ("detection.view_identifieraccess", {"administrator", "auditor"}),
    ("detection.view_seriesaside", {"administrator", "auditor"}),
    ("detection.set_aside_series", {"lead"}),
    ("detection.view_modelversion", {"lead", "administrator", "auditor"}),
    ("detection.view_trainingrun", {"lead", "administrator", "auditor"}),
    ("detection.activate_modelversion", {"administrator"}),
    ("detection.view_modelactivation", {"administrator", "auditor"}),
    ("detection.add_trainingrun", {"administrator"}),
    ("detection.change_trainingrun", {"administrator"}),
    ("detection.view_prediction", {"administrator", "auditor"}),
    ("detection.view_finding", {"administrator"}),
    ("detection.view_upload", {"administrator"}),
    ("detection.view_sourcefile", {"administrator"}),
    ("detection.view_series", {"administrator"}),
    ("detection.view_datasetsnapshot", {"administrator"}),
    ("accounts.view_user", {"administrator", "auditor"}),
    ("accounts.add_user", {"administrator"}),
    ("accounts.change_user", {"administrator"}),
]


@pytest.mark.parametrize(("permission", "expected"), TABLE)
def test_who_has_a_permission(permission, expected):
    assert {role.name for role in ROLES.values() if permission in role.permissions} == expected


def test_table_is_complete():
    named = frozenset().union(*(role.permissions for role in ROLES.values()))
    assert named == {permission for permission, _ in TABLE}


def groups() -> dict[str, set[str]]:
    return {
        group.name: {
            f"{permission.content_type.app_label}.{permission.codename}"
            for permission in group.permissions.select_related("content_type")
        }
        for group in Group.objects.all()
    }


def migrate() -> None:
    """Run the command that every installation and every update runs."""
    call_command("migrate", verbosity=0)


@pytest.fixture
def change_role(monkeypatch):
    """Change one line of the table, as a release does."""

    def change(name: str, **changes) -> None:
        monkeypatch.setitem(ROLES, name, replace(ROLES[name], **changes))

    return change


def test_migrate_makes_the_groups_of_the_table():
    assert groups() == {role.name: role.permissions for role in ROLES.values()}


def test_permission_added_to_a_role_reaches_an_installed_system(radiologist, change_role):
    more = ROLES["radiologist"].permissions | {"detection.view_series", "accounts.view_user"}
    change_role("radiologist", permissions=more)

    migrate()

    assert groups()["radiologist"] == more
    assert User.objects.get(pk=radiologist.pk).has_perm("detection.view_series")


def test_permission_taken_from_a_role_is_gone(lead, change_role):
    change_role("lead", permissions=ROLES["radiologist"].permissions)

    migrate()

    user = User.objects.get(pk=lead.pk)
    assert user.get_all_permissions() == ROLES["radiologist"].permissions
    assert [group.name for group in user.groups.all()] == ["lead"]


def test_permission_given_to_a_role_by_hand_is_taken_back(radiologist):
    group = Group.objects.get(name="radiologist")
    group.permissions.add(Permission.objects.get(codename="view_all_studies"))

    migrate()

    assert groups()["radiologist"] == ROLES["radiologist"].permissions


def test_group_that_is_no_role_is_left_alone(radiologist):
    group = Group.objects.create(name="physicists")
    group.permissions.add(Permission.objects.get(codename="view_series"))
    radiologist.groups.add(group)

    migrate()

    assert groups()["physicists"] == {"detection.view_series"}
    assert radiologist.groups.count() == 2


def test_new_role_gets_its_group(monkeypatch):
    role = Role("physicist", frozenset({"detection.view_modelversion"}))
    monkeypatch.setitem(ROLES, role.name, role)

    migrate()

    assert groups()["physicist"] == role.permissions


def test_group_that_was_deleted_comes_back():
    Group.objects.get(name="auditor").delete()

    migrate()

    assert groups()["auditor"] == ROLES["auditor"].permissions


def test_permission_that_was_deleted_comes_back():
    Permission.objects.get(codename="view_pixels").delete()

    migrate()

    assert groups() == {role.name: role.permissions for role in ROLES.values()}


def test_migrate_again_writes_nothing(administrator):
    with CaptureQueriesContext(connection) as captured:
        migrate()

    written = [
        query["sql"]
        for query in captured
        if query["sql"].startswith(("INSERT", "UPDATE", "DELETE"))
    ]
    assert written == []


def test_members_of_a_role_that_may_open_the_administration_may_open_it(lead, auditor, change_role):
    change_role("lead", is_staff=True)
    change_role("auditor", is_staff=False)
    superuser = User.objects.create_superuser("root", email="root@example.org")
    superuser.groups.add(Group.objects.get(name="auditor"))

    migrate()

    staff = User.objects.filter(is_staff=True)
    assert {user.username for user in staff} == {"lead", "root"}


def test_misspelt_permission_stops_migrate_with_its_name(change_role):
    change_role("lead", permissions=ROLES["lead"].permissions | {"detection.view_pixel"})

    with pytest.raises(ImproperlyConfigured, match=r"lead.*detection\.view_pixel"):
        migrate()


@pytest.mark.parametrize("role", ROLES)
def test_user_has_exactly_what_the_role_gives(role):
    user = user_create(username="ada", email="ada@example.org", role=role)

    user = User.objects.get(pk=user.pk)
    assert user.get_all_permissions() == ROLES[role].permissions
    assert user.is_staff is ROLES[role].is_staff
    assert not user.is_superuser
    assert not user.has_usable_password()


def test_new_role_takes_the_old_ones_rights_away(administrator):
    user_set_role(user=administrator, role="radiologist")

    user = User.objects.get(pk=administrator.pk)
    assert not user.is_staff
    assert user.get_all_permissions() == ROLES["radiologist"].permissions


def test_unknown_role_creates_nothing():
    with pytest.raises(ValidationError, match="no role 'king'"):
        user_create(username="ada", email="ada@example.org", role="king")

    assert not User.objects.exists()


def test_address_belongs_to_one_account(radiologist):
    with pytest.raises(ValidationError, match="Email address already exists"):
        user_create(username="ada", email=radiologist.email, role="lead")
