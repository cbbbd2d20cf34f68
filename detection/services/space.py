"""Free space: an upload is taken only if there is room for it and for what is made of it."""

import logging
import shutil
import tempfile
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ValidationError

from detection.services.faults import fault_name, fault_sentence, is_no_space
from detection.services.media import media_root

logger = logging.getLogger(__name__)

# The codes of the errors below: the server failed, and not what was sent.
NO_SPACE = "no_space"
NOT_STORED = frozenset({NO_SPACE, "not_stored"})
# Of each byte that is sent: one in quarantine, one unpacked, one or more as the volume.
COPIES = 3
_LATER = "Please tell an administrator, and send the files again later."


def space_check(*, size_bytes: int, is_received: bool = True) -> None:
    """Raise ValidationError, and log an error, if the disk is away or has no room for this upload.

    Parameters
    ----------
    size_bytes : int
        Size of the files, or of the whole request.
    is_received : bool
        The files lie in the folder of temporary files already, and not in the request only.
    """
    try:
        short = _short_of(size_bytes, is_received)
    except OSError as error:
        logger.error("upload not taken", extra={"fault": fault_name(error)}, exc_info=error)
        raise not_stored(error) from error
    if short is not None:
        bytes_wanted, bytes_free = short
        logger.error(
            "upload not taken: too little free space",
            extra={"bytes_wanted": bytes_wanted, "bytes_free": bytes_free},
        )
        raise ValidationError(
            f"The server has too little free space for these files. {_LATER}", code=NO_SPACE
        )


def _short_of(size_bytes: int, is_received: bool) -> tuple[int, int] | None:
    """Return the bytes wanted and free of the first disk that has too few, if any."""
    media = media_root()
    wanted = {media: size_bytes * COPIES + settings.MIN_FREE_BYTES}
    if not is_received:
        folder = Path(settings.FILE_UPLOAD_TEMP_DIR or tempfile.gettempdir())
        if folder.stat().st_dev == media.stat().st_dev:
            wanted[media] += size_bytes
        else:
            wanted[folder] = size_bytes
    for folder, bytes_wanted in wanted.items():
        free = shutil.disk_usage(folder).free
        if free < bytes_wanted:
            return bytes_wanted, free
    return None


def has_reserve() -> bool:
    """Say whether the data folder has the free space that no upload may use."""
    try:
        return shutil.disk_usage(media_root()).free >= settings.MIN_FREE_BYTES
    except OSError:
        return False


def not_stored(error: BaseException) -> ValidationError:
    """Return the error for the sender of files that could not be stored."""
    return ValidationError(
        f"{fault_sentence(error)} The files were not stored. {_LATER}",
        code=NO_SPACE if is_no_space(error) else "not_stored",
    )
