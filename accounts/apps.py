"""The accounts app: who may do what, sign-in and sessions."""

from typing import Any

from django.apps import AppConfig
from django.apps import apps as installed_apps
from django.apps.registry import Apps
from django.db.models.signals import post_migrate


class AccountsConfig(AppConfig):
    name = "accounts"

    def ready(self) -> None:
        # Importing registers the checks.
        import accounts.checks  # noqa: F401

        # The one signal of the project: only Django knows when the migrations are through.
        post_migrate.connect(_roles_sync_after_migrate, sender=self, dispatch_uid="accounts.roles")


def _roles_sync_after_migrate(*, using: str, apps: Apps = installed_apps, **kwargs: Any) -> None:
    # `flush` sends the signal without `apps`. Models can be imported only when all apps are there.
    from accounts.services import roles_sync

    roles_sync(apps=apps, using=using)
