"""Faults of the installation: their words for the page and for the log."""

import errno

from django.db import InterfaceError, OperationalError

from detection.ml.errors import BundleError

# No file is to blame for these: the work waits, and is tried again by itself.
FAULTS = (OSError, OperationalError, InterfaceError, BundleError)
_DATABASE = (OperationalError, InterfaceError)
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


def is_no_space(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in _NO_SPACE


def fault_sentence(error: BaseException) -> str:
    """Return what is wrong with the installation, for those who wait."""
    if is_no_space(error):
        return "The server has no free space."
    if isinstance(error, OSError) and error.errno == errno.EROFS:
        return "The disk of the server cannot be written."
    if isinstance(error, OSError) and error.errno == errno.ENODEV:
        return "The disk of the server is not mounted."
    if isinstance(error, _DATABASE):
        return "The database of the server did not answer."
    if isinstance(error, BundleError):
        return "The model of the server cannot be loaded."
    return "The server cannot use its own files."


def fault_name(error: BaseException) -> str:
    """Return the fault for the log, without words that may quote a file or a value."""
    if isinstance(error, OSError) and error.errno is not None:
        return errno.errorcode.get(error.errno, f"errno {error.errno}")
    # The sentence of a bundle names files of its own folder alone.
    return str(error) if isinstance(error, BundleError) else type(error).__name__
