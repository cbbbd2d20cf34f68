"""The project itself as an app: it brings the system checks of the settings."""

from django.apps import AppConfig


class KidneywebConfig(AppConfig):
    name = "kidneyweb"
    verbose_name = "Reading room"

    def ready(self) -> None:
        # Importing registers the checks.
        import kidneyweb.checks  # noqa: F401
