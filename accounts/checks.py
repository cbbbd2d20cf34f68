"""System checks of the accounts app."""

from typing import Any

from django.core.checks import CheckMessage, Error, register

from accounts.roles import undeclared_permissions


@register("accounts")
def permissions_of_roles_exist(**kwargs: Any) -> list[CheckMessage]:
    return [
        Error(
            f"The role {role} names the permission {permission}, which no model has.",
            hint="Compare accounts/roles.py with the models: a permission is app.codename.",
            id="accounts.E001",
        )
        for role, permission in undeclared_permissions()
    ]
