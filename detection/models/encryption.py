"""Encrypted text that may name a person, and the keyed index that finds it again.

The first key of IDENTIFIER_KEYS encrypts, and every one decrypts. A new key is put in front of
the old ones; `manage.py rotate_identifier_keys` then encrypts everything with it.
"""

import hashlib
import hmac
from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models

UNREADABLE = "(not readable: its key is missing)"
_ENDINGS = (".nii.gz", ".nii", ".png", ".jpeg", ".jpg", ".dcm", ".zip")
# The index key must never be the key that encrypts.
_INDEX_PURPOSE = b"kidneyweb blind index"


class Unreadable(str):
    """The placeholder of a text whose key is missing; saving it keeps the stored token."""

    token: str


def encrypt(text: str) -> str:
    """Return the text as a token of the newest key. Raises ImproperlyConfigured without keys."""
    return _fernet(tuple(settings.IDENTIFIER_KEYS)).encrypt(text.encode()).decode()


def decrypt(token: str) -> str:
    """Return the text of a token, or an `Unreadable` if none of the keys fits."""
    try:
        return _fernet(tuple(settings.IDENTIFIER_KEYS)).decrypt(token.encode()).decode()
    except InvalidToken:
        text = Unreadable(UNREADABLE)
        text.token = token
        return text


def blind_index(text: str, *, field: str) -> str:
    """Return the index of a field's text under the newest key; "" for no text."""
    found = blind_indices(text, field=field)
    return found[0] if found else ""


def blind_indices(text: str, *, field: str) -> list[str]:
    """Return the index under each key, newest first, so that rows older than a rotation are found.

    Upper and lower case, and how many blanks there are, make no difference.
    """
    word = " ".join(text.split()).casefold()
    if not word:
        return []
    message = f"{field}:{word}".encode()
    return [
        hmac.new(_index_key(key), message, hashlib.sha256).hexdigest()
        for key in settings.IDENTIFIER_KEYS
    ]


def name_stem(name: str) -> str:
    """Return a file's name without folders and known ending, the form that is indexed."""
    last = name.replace("\\", "/").rpartition("/")[2]
    for ending in _ENDINGS:
        if last.casefold().endswith(ending) and len(last) > len(ending):
            return last[: -len(ending)]
    return last


def file_name_index(name: str) -> str:
    """Return the keyed index of a file's name, without its folders and known ending."""
    return blind_index(name_stem(name), field="name")


class EncryptedTextField(models.TextField):
    """A text that the database holds encrypted; "" stays "". Only `isnull` can be asked of it."""

    def get_prep_value(self, value: Any) -> Any:
        value = super().get_prep_value(value)
        if isinstance(value, Unreadable):
            return value.token
        return encrypt(value) if value else value

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> str | None:
        return decrypt(value) if value else value

    def get_lookup(self, lookup_name: str) -> Any:
        # Two tokens of one text differ, so that no comparison would find it.
        return super().get_lookup(lookup_name) if lookup_name == "isnull" else None


@lru_cache(maxsize=4)
def _fernet(keys: tuple[str, ...]) -> MultiFernet:
    if not keys:
        raise ImproperlyConfigured(
            "IDENTIFIER_KEYS is empty: text that may name a person cannot be stored. "
            "See .env.example."
        )
    return MultiFernet([Fernet(key) for key in keys])


@lru_cache(maxsize=8)
def _index_key(key: str) -> bytes:
    return hmac.new(key.encode(), _INDEX_PURPOSE, hashlib.sha256).digest()
