"""System checks of the settings: they name what is unsafe or unfit for production."""

from typing import Any

from cryptography.fernet import Fernet
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured


@register("kidneyweb")
def demo_is_loopback_only(**kwargs: Any) -> list[CheckMessage]:
    if settings.KIDNEYWEB_DEMO and not settings.IS_LOOPBACK:
        return [
            Error(
                "KIDNEYWEB_DEMO=1 makes accounts whose password is published, and ALLOWED_HOSTS "
                "names more than this machine.",
                hint="Unset KIDNEYWEB_DEMO, or leave only localhost, 127.0.0.1 and [::1] in "
                "ALLOWED_HOSTS.",
                id="kidneyweb.E001",
            )
        ]
    return []


@register("kidneyweb")
def production_database_is_a_server(**kwargs: Any) -> list[CheckMessage]:
    engine = settings.DATABASES["default"]["ENGINE"]
    if engine.endswith("sqlite3") and not (settings.DEBUG or settings.KIDNEYWEB_DEMO):
        return [
            Warning(
                "The database is SQLite, which is meant for trying the project on one machine.",
                hint="Set DATABASE_URL to a MySQL or MariaDB server; see docs/mysql.md.",
                id="kidneyweb.W001",
            )
        ]
    return []


@register("kidneyweb")
def secret_key_is_set(**kwargs: Any) -> list[CheckMessage]:
    # Reading an empty settings.SECRET_KEY raises.
    try:
        has_key = bool(settings.SECRET_KEY)
    except ImproperlyConfigured:
        has_key = False
    if has_key:
        return []
    return [
        Error(
            "SECRET_KEY is empty.",
            hint="Set it to a long random text; see .env.example.",
            id="kidneyweb.E002",
        )
    ]


@register("kidneyweb")
def identifier_keys_are_usable(**kwargs: Any) -> list[CheckMessage]:
    try:
        keys = [Fernet(key) for key in settings.IDENTIFIER_KEYS]
    except ValueError:
        keys = []
    if keys:
        return []
    return [
        Error(
            "IDENTIFIER_KEYS holds no key, or one that is no Fernet key: patients' identifiers and "
            "the names of files cannot be stored.",
            hint="Set it to 32 random bytes in URL-safe base64; see .env.example.",
            id="kidneyweb.E003",
        )
    ]
