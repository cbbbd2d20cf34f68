"""The disk of images and waiting uploads: a mark tells it from the empty folder it is mounted on.

Where the disk is not mounted, nothing must be written in its place, and no file is lost.
"""

import errno
import logging
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from django.conf import settings

from detection.models import Prediction, Series, SourceFile

logger = logging.getLogger(__name__)

# An empty file in MEDIA_ROOT.
MARK = ".kidneyweb"


def media_root() -> Path:
    """Return MEDIA_ROOT, with its disk in place.

    Raises OSError, with ENODEV where the mark is missing, and as the disk itself fails otherwise.
    """
    media = Path(settings.MEDIA_ROOT)
    try:
        (media / MARK).stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise OSError(errno.ENODEV, "The disk of the images is not mounted.") from error
    return media


def media_prepare() -> None:
    """Mark MEDIA_ROOT, and make it for a new installation; programs do so as they start.

    A folder without the mark is the right one if any file is there that the database names, or if
    it names none. Any other is left alone, with an error in the log. Raises OSError if the disk
    fails.
    """
    media = Path(settings.MEDIA_ROOT)
    if (media / MARK).exists():
        return
    names = _names()
    first = next(names, None)
    if first is None:
        media.mkdir(mode=0o700, parents=True, exist_ok=True)
    elif not media.is_dir() or not any((media / name).exists() for name in chain([first], names)):
        logger.error("the disk of the images is not mounted, or is another one")
        return
    (media / MARK).touch(mode=0o600)


def _names() -> Iterator[str]:
    """Yield the path below MEDIA_ROOT of each file that the database names."""
    for model, field in (
        (Series, "volume_path"),
        (SourceFile, "quarantine_path"),
        (Prediction, "map_path"),
    ):
        rows = model._default_manager.exclude(**{field: ""}).order_by("-pk")
        yield from rows.values_list(field, flat=True).iterator()
