"""Decodes one image file of any kind to a volume, after a check of its size."""

from pathlib import Path

from detection.imaging.errors import Code, ImageError
from detection.imaging.formats.dicom_slice import decode_dicom
from detection.imaging.formats.kinds import HEAD_BYTES, Kind, sniff
from detection.imaging.formats.picture import decode_picture
from detection.imaging.limits import LIMITS, Limits
from detection.imaging.volume import Volume


def decode_file(path: Path, *, limits: Limits = LIMITS) -> Volume:
    """Decode a PNG, JPEG or single-slice DICOM CT file, whatever its name.

    The decoder runs in this process, so the file must be the caller's own. Untrusted files go
    through `ingest`.

    Parameters
    ----------
    limits : Limits
        Bounds on the file and on its pixels.

    Returns
    -------
    Volume
        One slice: Hounsfield units from DICOM, 8-bit grey from a picture.

    Raises
    ------
    ImageError
        If the file cannot be used; `str(error)` is a sentence for the user.
    OSError, MemoryError
        If the file cannot be opened or read, or needs too much memory.
    """
    if path.is_dir():
        raise ImageError(
            "This is a folder, not an image. Please name the files in it.", code=Code.IS_FOLDER
        )
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    check_size(path, limits)
    kind = sniff(head)
    if kind is Kind.ZIP:
        raise ImageError(
            "This file is an archive, not a single image. Please unpack it.", code=Code.IS_ARCHIVE
        )
    if kind in (Kind.NIFTI, Kind.GZIP):
        raise ImageError(
            "This file is not a single image but a volume or a compressed file. "
            "Please upload it as a series.",
            code=Code.IS_VOLUME,
        )
    if kind is Kind.DICOM:
        return decode_dicom(path, limits=limits)
    return decode_picture(path, kind=kind, limits=limits)


def check_size(path: Path, limits: Limits) -> None:
    """Raise ImageError for a file above `limits.max_file_bytes`."""
    size = path.stat().st_size
    if size > limits.max_file_bytes:
        raise ImageError(
            f"The file is too large ({size / 2**20:.0f} MiB; at most "
            f"{limits.max_file_bytes / 2**20:.0f} MiB are read). "
            "Please export the CT slice alone.",
            code=Code.TOO_LARGE,
        )
