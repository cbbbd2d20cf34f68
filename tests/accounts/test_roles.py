"""The table of roles, and that the migrations give exactly it."""

import pytest
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError

from accounts.models import User
from accounts.roles import ROLES
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


def test_migrations_make_the_groups_of_the_table():
    groups = {
        group.name: {
            f"{permission.content_type.app_label}.{permission.codename}"
            for permission in group.permissions.select_related("content_type")
        }
        for group in Group.objects.all()
    }

    assert groups == {role.name: role.permissions for role in ROLES.values()}


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
