"""Tells the kind of a file by its first bytes alone, never by its name or extension."""

import re
import struct
from enum import StrEnum

from detection.imaging.errors import Code, ImageError


class Kind(StrEnum):
    """The kinds of file that are accepted."""

    PNG = "png"
    JPEG = "jpeg"
    DICOM = "dicom"
    NIFTI = "nifti"
    GZIP = "gzip"
    ZIP = "zip"


PICTURE_KINDS = frozenset({Kind.PNG, Kind.JPEG})

# Enough for the mark of a tar archive (257) and of NIfTI (344).
HEAD_BYTES = 512

_EXPORT = "Please export the CT slices as DICOM, PNG or JPEG and upload those."
_UNPACK = "Please unpack it and upload the images themselves."
_ONE_FILE = "Please export it as one .nii or .nii.gz file."
# Offset, mark, name in the user's words, advice. The first mark that fits is named.
_OTHERS: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"PK\x05\x06", "an empty ZIP archive", _EXPORT),
    (0, b"PK\x07\x08", "a part of a divided ZIP archive", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _UNPACK),
    (0, b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (0, b"BZh", "compressed with bzip2", _UNPACK),
    (0, b"\xfd7zXZ\x00", "compressed with xz", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
    (344, b"ni1\x00", "the header of a NIfTI volume without its image", _ONE_FILE),
    (4, b"ni2\x00", "the header of a NIfTI volume without its image", _ONE_FILE),
    (0, b"NRRD000", "an NRRD volume", _EXPORT),
    (0, b"%PDF-", "a PDF document", _EXPORT),
    (0, b"GIF8", "a GIF picture", _EXPORT),
    (0, b"II*\x00", "a TIFF picture", _EXPORT),
    (0, b"MM\x00*", "a TIFF picture", _EXPORT),
    (0, b"II+\x00", "a TIFF picture", _EXPORT),
    (8, b"WEBP", "a WebP picture", _EXPORT),
    (4, b"ftypheic", "an HEIC photo", _EXPORT),
    (4, b"ftypheix", "an HEIC photo", _EXPORT),
    (4, b"ftypmif1", "an HEIC photo", _EXPORT),
    (4, b"ftypavif", "an AVIF picture", _EXPORT),
    (4, b"ftyp", "a film", _EXPORT),
    (8, b"AVI ", "a film", _EXPORT),
    (0, b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 picture", _EXPORT),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture", _EXPORT),
    (0, b"\xff\x0a", "a JPEG XL picture", _EXPORT),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file", _EXPORT),
    (0, b"\x93NUMPY", "a NumPy file", _EXPORT),
    (0, b"BM", "a BMP picture", _EXPORT),
)

DICOM_MARK = b"DICM"
# Value representations (PS3.5, 6.2) whose length takes two bytes in explicit encoding, and four.
_SHORT_VRS = re.compile(rb"A[EST]|CS|D[AST]|F[DL]|IS|L[TO]|PN|S[HLST]|TM|U[ILS]")
_LONG_VRS = re.compile(rb"O[BDFLVW]|S[QV]|U[CNRTV]")
# Groups 0002, 0008, 0010, 0018, 0020 and 0028 come before the pixels, and private ones between.
_ELEMENTS_SEEN, _ELEMENTS_OF_META, _LAST_EARLY_GROUP = 3, 2, 0x0029

_PROGRAMS = (
    b"MZ",
    b"\x7fELF",
    b"\xcf\xfa\xed\xfe",
    b"\xce\xfa\xed\xfe",
    b"\xfe\xed\xfa\xce",
    b"\xfe\xed\xfa\xcf",
    b"\xca\xfe\xba\xbe",
    b"#!",
)
# Marks of other files that fit into the preamble of DICOM. That of TIFF is allowed (PS3.10, 7.1).
_OTHER_IN_PREAMBLE = (b"PK", b"7z\xbc\xaf", b"Rar!", b"%PDF-", b"%!PS", b"\x1f\x8b", b"<")


def sniff(head: bytes) -> Kind:
    """Tell the kind of a file from its beginning.

    Parameters
    ----------
    head : bytes
        The first `HEAD_BYTES` bytes of the file, or all of it if it is shorter.

    Raises
    ------
    ImageError
        If the kind is not accepted; the sentence names what the file seems to be and what to do.
    """
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return Kind.PNG
    if head.startswith(b"\xff\xd8\xff"):
        return Kind.JPEG
    # DICOM PS3.10, 7.1: these four bytes follow 128 bytes of any content.
    if head[128:132] == DICOM_MARK:
        if head.lstrip().startswith(_PROGRAMS + _OTHER_IN_PREAMBLE):
            raise ImageError(
                "This file is a DICOM file and a program or document at once, which no scanner "
                "writes and an attacker might. Please export the CT slice again from its source.",
                code=Code.POLYGLOT,
            )
        return Kind.DICOM
    # Some programs leave the 128 bytes out and keep the mark.
    if head.startswith(DICOM_MARK) or _is_bare_dicom(head):
        return Kind.DICOM
    if head[344:348] == b"n+1\x00" or head[4:8] == b"n+2\x00":
        return Kind.NIFTI
    if head.startswith(b"\x1f\x8b"):
        return Kind.GZIP
    if head.startswith(b"PK\x03\x04"):
        return Kind.ZIP
    raise _refused(head)


def _is_bare_dicom(head: bytes) -> bool:
    """Say whether a file is DICOM without its preamble, and perhaps without file meta group.

    It then begins with the elements of group 0002 or 0008, in ascending order: two or three are
    asked for, since a mark of its own is what such a file lacks.
    """
    is_big = head.startswith(b"\x00\x08")
    if not is_big and head[:2] not in (b"\x02\x00", b"\x08\x00"):
        return False
    order = ">" if is_big else "<"
    at, last, found = 0, -1, 0
    while found < _ELEMENTS_SEEN and at + 12 <= len(head):
        group, element = struct.unpack_from(f"{order}HH", head, at)
        vr = head[at + 4 : at + 6]
        if _LONG_VRS.fullmatch(vr):
            header, (length,) = 12, struct.unpack_from(f"{order}I", head, at + 8)
        elif _SHORT_VRS.fullmatch(vr):
            header, (length,) = 8, struct.unpack_from(f"{order}H", head, at + 6)
        else:
            header, (length,) = 8, struct.unpack_from(f"{order}I", head, at + 4)
        tag = group << 16 | element
        if tag <= last or group > _LAST_EARLY_GROUP or length > len(head):
            return False
        at, last, found = at + header + length, tag, found + 1
        if group == 2 and found == _ELEMENTS_OF_META:
            # The data set behind it may be in another byte order.
            return True
    # A first element that fills the whole file, or two that fill its beginning, do as well.
    return found == _ELEMENTS_SEEN or (found > 0 and at >= len(head))


def _refused(head: bytes) -> ImageError:
    if not head:
        return ImageError("The file is empty. Please export the image again.", code=Code.EMPTY)
    if head.startswith(_PROGRAMS):
        return ImageError(
            f"This file is not a CT image: it seems to be a program. {_EXPORT}", code=Code.PROGRAM
        )
    for offset, mark, name, advice in _OTHERS:
        if head[offset : offset + len(mark)] == mark:
            return ImageError(
                f"This file is not a CT image: it seems to be {name}. {advice}",
                code=Code.NOT_AN_IMAGE,
            )
    if not head.strip(b"\x00"):
        return ImageError(
            "The file begins with zeros only: it is damaged or was not copied completely. "
            "Please export the image again.",
            code=Code.DAMAGED,
        )
    if _is_text(head):
        return ImageError(
            f"This file is not a CT image: it seems to be text. {_EXPORT}", code=Code.NOT_AN_IMAGE
        )
    return ImageError(
        f"This file is not an image of a kind that can be read. {_EXPORT}", code=Code.NOT_AN_IMAGE
    )


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        # The end of the head may cut a letter in two.
        if error.start < len(head) - 3:
            return False
        text = head[: error.start].decode("utf-8")
    return all(letter.isprintable() or letter in "\t\r\n\f\ufeff" for letter in text)
