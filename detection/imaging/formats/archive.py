"""Unpacks the members of ZIP archives under names of our own, within bounds."""

import os
import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from detection.imaging.errors import Code, ImageError, is_of_the_machine
from detection.imaging.limits import Limits

_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_IS_ENCRYPTED = 0x1
# What zipfile and zlib raise for an archive that was changed or cut off.
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    ValueError,
    EOFError,
    NotImplementedError,
    RuntimeError,
)
_PIECE = 2**20
# The end of central directory record (APPNOTE, 4.3.16) with the longest comment.
_END, _END_MARK, _MAX_END = struct.Struct("<4s4H2LH"), b"PK\x05\x06", 2**16 + 22
# One entry of the central directory with a long name and some extra fields.
_DIRECTORY_BYTES_PER_MEMBER = 1024
_SYSTEM_NAMES = frozenset({".ds_store", "thumbs.db", "desktop.ini", "dicomdir"})

_AGAIN = "Please pack it again, or upload the images themselves."


@dataclass(frozen=True)
class Member:
    """A member of an archive: unpacked to `path`, or left out with a code and a sentence."""

    name: str
    path: str = ""
    code: str = ""
    sentence: str = ""
    is_skipped: bool = False


def unpack(
    source: Path, folder: Path, *, limits: Limits, files_left: int, bytes_left: int
) -> list[Member]:
    """Unpack the files of a ZIP archive into an existing folder.

    Names of members are never part of a path. Each member gets its own answer. One is left out if
    it is encrypted, damaged or a link, points out of the archive, or grows too much.

    Parameters
    ----------
    files_left, bytes_left : int
        Number and total size of files that may still be unpacked in this upload.

    Raises
    ------
    ImageError
        If the archive as a whole is damaged, too large or a bomb, or holds too many files.
    OSError
        If the disk is full or access is denied.
    """
    _check_directory(source, limits)
    try:
        with zipfile.ZipFile(source) as archive:
            return _unpack_all(archive, source, folder, limits, files_left, bytes_left)
    except (*_UNREADABLE, OSError) as error:
        if is_of_the_machine(error):
            raise
        raise ImageError(
            f"The ZIP archive is damaged or was not copied completely. {_AGAIN}", code=Code.DAMAGED
        ) from error


def is_system_file(name: str) -> bool:
    """Say whether a file is a by-product of an operating system or a disc, not an image."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    last = parts[-1].lower() if parts else ""
    return last in _SYSTEM_NAMES or last.startswith("._") or "__MACOSX" in parts


def _check_directory(source: Path, limits: Limits) -> None:
    """Refuse an archive that is too large, cut off, or whose directory alone is an attack."""
    size = source.stat().st_size
    if size > limits.max_archive_bytes:
        raise ImageError(
            f"The ZIP archive is too large (at most {limits.max_archive_bytes / 2**20:.0f} MiB "
            "are read). Please upload the images in several archives.",
            code=Code.TOO_LARGE,
        )
    with source.open("rb") as file:
        file.seek(max(0, size - _MAX_END))
        tail = file.read()
    at = tail.rfind(_END_MARK)
    if at < 0 or len(tail) < at + _END.size:
        raise ImageError(
            f"The ZIP archive is damaged or was not copied completely. {_AGAIN}", code=Code.DAMAGED
        )
    directory_bytes = _END.unpack_from(tail, at)[5]
    # The field is all ones in ZIP64, which says the size elsewhere: there memory is the bound.
    most = limits.max_files * _DIRECTORY_BYTES_PER_MEMBER
    if directory_bytes != 0xFFFFFFFF and directory_bytes > most:
        raise _too_many(limits)


def _too_many(limits: Limits) -> ImageError:
    return ImageError(
        f"The ZIP archive holds too many files (at most {limits.max_files} are read in one "
        "upload). Please upload a part of it.",
        code=Code.TOO_MANY_FILES,
    )


def _unpack_all(
    archive: zipfile.ZipFile,
    source: Path,
    folder: Path,
    limits: Limits,
    files_left: int,
    bytes_left: int,
) -> list[Member]:
    # `ZipInfo.is_dir` fails where a member has no name.
    infos = [info for info in archive.infolist() if not info.filename.endswith("/")]
    if len(infos) > files_left:
        raise _too_many(limits)
    # Members that share their bytes make a small archive huge without nesting.
    starts = [info.header_offset for info in infos]
    if sum(info.compress_size for info in infos) > source.stat().st_size or len(set(starts)) < len(
        starts
    ):
        raise _bomb()
    members = []
    for number, info in enumerate(infos):
        target = folder / f"{number:06d}"
        try:
            refusal = _refusal(info)
            if refusal is not None:
                members.append(refusal)
                continue
            written = _unpack_one(archive, info, target, limits, bytes_left)
        except ImageError as error:
            target.unlink(missing_ok=True)
            members.append(Member(name=info.filename, code=error.code, sentence=str(error)))
            continue
        except (*_UNREADABLE, OSError) as error:
            if is_of_the_machine(error):
                raise
            target.unlink(missing_ok=True)
            members.append(
                Member(
                    name=info.filename,
                    code=Code.DAMAGED,
                    sentence=f"This file is damaged within the ZIP archive. {_AGAIN}",
                )
            )
            continue
        bytes_left -= written
        members.append(Member(name=info.filename, path=str(target)))
    return members


def _bomb() -> ImageError:
    return ImageError(
        "The ZIP archive is made to grow without end when it is unpacked. "
        "Please pack the images again.",
        code=Code.BOMB,
    )


def _refusal(info: zipfile.ZipInfo) -> Member | None:
    """Return the member that stands for a refused one, judged by its entry alone, or None."""
    name = info.filename
    if is_system_file(name):
        return Member(
            name=name,
            code=Code.SYSTEM_FILE,
            sentence="This file belongs to the computer or disc the images were on.",
            is_skipped=True,
        )
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or ".." in parts or parts[0].startswith("/") or ":" in parts[0]:
        return Member(
            name=name,
            code=Code.UNSAFE_PATH,
            sentence=f"The name of this file points out of the archive. {_AGAIN}",
        )
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        return Member(
            name=name,
            code=Code.LINK,
            sentence="This is a link or a device, not a file. Please pack the file itself.",
        )
    if info.flag_bits & _IS_ENCRYPTED:
        return Member(
            name=name,
            code=Code.ENCRYPTED,
            sentence="The ZIP archive is protected by a password. "
            "Please pack the images without one.",
        )
    if info.compress_type not in _METHODS:
        return Member(
            name=name,
            code=Code.UNSUPPORTED_COMPRESSION,
            sentence="This file is packed in a way that is not read. "
            "Please pack it as an ordinary ZIP archive.",
        )
    return None


def _unpack_one(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path, limits: Limits, bytes_left: int
) -> int:
    """Unpack one member and return its size, counted as it comes out and not as its entry says."""
    written = 0
    most = max(_PIECE, int(info.compress_size * limits.max_ratio))
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file, archive.open(info) as member:
        while piece := member.read(_PIECE):
            written += len(piece)
            if written > most:
                raise ImageError(
                    "This file is made to grow without end when it is unpacked. "
                    "Please pack the image again.",
                    code=Code.BOMB,
                )
            if written > min(limits.max_file_bytes, bytes_left):
                raise ImageError(
                    "The files of the archive are too large when unpacked (at most "
                    f"{limits.max_total_bytes / 2**20:.0f} MiB in one upload and "
                    f"{limits.max_file_bytes / 2**20:.0f} MiB a file). "
                    "Please upload a part of them.",
                    code=Code.TOO_LARGE,
                )
            file.write(piece)
    return written
