from dataclasses import replace

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from accounts.roles import ROLES


def found() -> list[tuple[str, str]]:
    return [(message.id, message.msg) for message in run_checks(tags=["accounts"])]


def test_every_permission_of_the_table_is_declared():
    assert found() == []


@pytest.mark.parametrize(
    "permission",
    ["detection.view_pixel", "detection.see_study", "nowhere.view_study", "view_study"],
)
def test_permission_that_no_model_declares_is_an_error(monkeypatch, permission):
    role = ROLES["lead"]
    changed = replace(role, permissions=role.permissions | {permission})
    monkeypatch.setitem(ROLES, "lead", changed)

    assert found() == [
        ("accounts.E001", f"The role lead names the permission {permission}, which no model has.")
    ]
    with pytest.raises(SystemCheckError, match=permission):
        call_command("check")
