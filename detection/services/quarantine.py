"""Quarantine: the bytes of a file as they came, until they are imported or refused."""

import hashlib
import logging
import uuid
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile

from detection.services.media import media_root

logger = logging.getLogger(__name__)


def quarantine_store(*, file: "UploadedFile[Any]") -> tuple[str, str]:
    """Copy a file into quarantine; return its path below MEDIA_ROOT and its SHA-256.

    Raises OSError if it cannot be stored; then nothing is left of it.
    """
    digest = hashlib.sha256()
    # A name of our own: the sender's is never part of a path.
    quarantine_path = f"quarantine/{uuid.uuid4().hex}"
    target = media_root() / quarantine_path
    target.parent.mkdir(mode=0o700, exist_ok=True)
    try:
        with target.open("xb") as copy:
            target.chmod(0o600)
            for chunk in file.chunks():
                digest.update(chunk)
                copy.write(chunk)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return quarantine_path, digest.hexdigest()


def quarantine_delete(*, quarantine_path: str) -> None:
    """Delete a file of quarantine. Nothing happens for "", or if the file is gone.

    A disk that does not let go of it is told to the log alone: what became of the file is stored,
    and the next start of a worker deletes what no row names.
    """
    if not quarantine_path:
        return
    try:
        (Path(settings.MEDIA_ROOT) / quarantine_path).unlink(missing_ok=True)
    except OSError:
        logger.exception("file of quarantine not deleted")
