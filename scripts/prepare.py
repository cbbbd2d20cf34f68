"""Bring the database, the model registry, the demo accounts and the static files up to date."""

import os

import django
from django.conf import settings
from django.core.management import call_command

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kidneyweb.settings")


def main() -> None:
    # One process for all of them: starting Django four times would take most of the start-up.
    django.setup()
    # Images, maps and the SQLite file: for this account alone.
    settings.DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    (settings.DATA_DIR / "run").mkdir(exist_ok=True)
    call_command("migrate", verbosity=0)
    call_command("register_model")
    if settings.KIDNEYWEB_DEMO:
        call_command("seed_demo")
    call_command("collectstatic", interactive=False, verbosity=0)


if __name__ == "__main__":
    main()
