"""Bring the database, the model registry, the demo accounts and the static files up to date."""

import hashlib
import os
from pathlib import Path

import django
from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kidneyweb.settings")


def main() -> None:
    # One process for all of them: starting Django four times would take most of the start-up.
    django.setup()
    # Images, maps and the SQLite file: for this account alone.
    settings.DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    (settings.DATA_DIR / "run").mkdir(exist_ok=True)
    call_command("migrate", verbosity=0)
    # Models can be imported only after the setup.
    from detection.services.media import media_prepare

    media_prepare()
    call_command("register_model")
    if settings.KIDNEYWEB_DEMO:
        call_command("seed_demo")
    static_collect()


def static_collect() -> None:
    """Collect and compress the static files, unless nothing changed since the last time."""
    stamp = Path(settings.STATIC_ROOT) / ".collected.sha256"
    wanted = static_fingerprint()
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return
    call_command("collectstatic", interactive=False, verbosity=0)
    stamp.write_text(wanted, encoding="utf-8")


def static_fingerprint() -> str:
    """Return a checksum of which static files there are, how large and how old."""
    digest = hashlib.sha256()
    for finder in get_finders():
        for name, storage in finder.list([]):
            stat = Path(storage.path(name)).stat()
            digest.update(f"{storage.path(name)} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


if __name__ == "__main__":
    main()
