"""Finds out how a DICOM file is laid out: preamble, file meta group, encoding, pixel data.

What a file says of its encoding is compared with what it is. Where the two differ and its bytes
leave no doubt, the bytes are believed.
"""

import io
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID
from pydicom.valuerep import VR

from detection.imaging.errors import Code, ImageError
from detection.imaging.formats.dicom_elements import AGAIN, absent
from detection.imaging.formats.kinds import DICOM_MARK
from detection.imaging.limits import Limits

DEFLATED = UID("1.2.840.10008.1.2.1.99")
IMPLICIT = UID("1.2.840.10008.1.2")
EXPLICIT = UID("1.2.840.10008.1.2.1")
BIG_ENDIAN = UID("1.2.840.10008.1.2.2")
NATIVE = frozenset({IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED})
_JPEG = "1.2.840.10008.1.2.4."
RLE = "1.2.840.10008.1.2.5"
BY_PYDICOM = frozenset(
    {RLE, *(_JPEG + end for end in ("50", "80", "81", "90", "91", "201", "202", "203"))}
)
# 12-bit and lossless JPEG: of the permissively licensed libraries only SimpleITK (GDCM) reads it.
BY_SIMPLEITK = frozenset(_JPEG + end for end in ("51", "53", "55", "57", "70"))
LOSSY = frozenset(_JPEG + end for end in ("50", "51", "53", "55", "81"))
_DIRECTORY = "1.2.840.10008.1.3.10"
_PIXEL_DATA = 0x7FE00010
_UNDEFINED = 0xFFFFFFFF
_VRS = frozenset(str(vr).encode() for vr in VR if len(str(vr)) == 2)


@dataclass(frozen=True, eq=False)
class Layout:
    """How the data set of a file is stored.

    Attributes
    ----------
    told : UID or None
        Transfer Syntax UID (0002,0010), if the file has one.
    is_implicit, is_little_endian : bool
        As found in the bytes.
    starts_at : int
        Offset of the data set, in the file or, of a deflated one, in `inflated`.
    """

    told: UID | None
    is_implicit: bool
    is_little_endian: bool
    starts_at: int
    inflated: bytes | None = None

    @property
    def syntax(self) -> UID:
        """The transfer syntax by which pixels are read."""
        if self.told is not None and self.told not in NATIVE:
            return self.told
        if not self.is_little_endian:
            return BIG_ENDIAN
        return IMPLICIT if self.is_implicit else EXPLICIT


@contextmanager
def opened(path: Path, limits: Limits) -> Iterator[tuple[BinaryIO, Layout]]:
    """Open the data set of a file, with or without preamble and file meta group.

    Raises
    ------
    ImageError
        If its compression is not supported, if it is too large when inflated, or a DICOMDIR.
    """
    with path.open("rb") as file:
        layout = _layout(file, limits)
        if layout.inflated is None:
            yield file, layout
        else:
            yield io.BytesIO(layout.inflated), layout


def read_elements(file: BinaryIO, layout: Layout, keywords: Iterable[str]) -> Dataset:
    """Read some elements of the data set, all before Pixel Data; leave the file standing there.

    Raises
    ------
    ImageError
        If the file ends within an element.
    """
    file.seek(layout.starts_at)
    dataset = read_dataset(
        file,
        layout.is_implicit,
        layout.is_little_endian,
        stop_when=_at_pixel_data,
        specific_tags=[Tag(keyword) for keyword in keywords],
    )
    at = file.tell()
    size = file.seek(0, io.SEEK_END)
    file.seek(at)
    if at > size:
        raise _damaged()
    return dataset


def find_pixel_data(file: BinaryIO, layout: Layout) -> tuple[int, int | None]:
    """Read the element at which `read_elements` stopped: offset and length of its value.

    The length is None for encapsulated pixels, and 0 without pixels.

    Raises
    ------
    ImageError
        If the pixels are compressed and the file says that they are not, or the other way round.
    """
    head = file.read(12)
    order = "<" if layout.is_little_endian else ">"
    if len(head) < 8:
        return 0, 0
    group, element = struct.unpack(f"{order}HH", head[:4])
    if (group << 16) | element != _PIXEL_DATA:
        # Float Pixel Data, which no CT image has, or no pixels at all.
        return 0, 0
    if layout.is_implicit:
        length, at = struct.unpack("<I", head[4:8])[0], file.tell() - len(head) + 8
    else:
        length, at = struct.unpack(f"{order}I", head[8:12])[0], file.tell()
    is_encapsulated = length == _UNDEFINED
    if layout.told is None and is_encapsulated:
        raise absent("TransferSyntaxUID")
    if is_encapsulated == (layout.syntax in NATIVE):
        words = ("uncompressed", "compressed")
        says, is_ = words if is_encapsulated else words[::-1]
        raise ImageError(
            f"The DICOM file says that its pixels are {says}, but they are {is_}. {AGAIN}",
            code=Code.DAMAGED,
        )
    return at, None if is_encapsulated else int(length)


def _at_pixel_data(tag: BaseTag, vr: str | None, length: int) -> bool:
    return tag in (0x7FE00008, 0x7FE00009, _PIXEL_DATA)


def _layout(file: BinaryIO, limits: Limits) -> Layout:
    # DICOM PS3.10, 7.1. Some programs leave the preamble out, some its mark and the meta group too.
    head = file.read(132)
    if head[128:] != DICOM_MARK:
        file.seek(len(DICOM_MARK) if head.startswith(DICOM_MARK) else 0)
    meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
    starts_at = file.tell()
    if str(meta.get("MediaStorageSOPClassUID") or "") == _DIRECTORY:
        raise ImageError(
            "This is a DICOMDIR, the table of contents of a disc. "
            "Please upload the image files beside it.",
            code=Code.DICOMDIR,
        )
    told = UID(str(meta.get("TransferSyntaxUID") or "").strip()) or None
    if told is not None and told not in NATIVE | BY_PYDICOM | BY_SIMPLEITK:
        known = f" ({told.name})" if told.name != told else ""
        raise ImageError(
            f"The compression of the DICOM file{known} is not supported. "
            "Please export it uncompressed or as JPEG 2000.",
            code=Code.UNSUPPORTED_COMPRESSION,
        )
    found = _encoding(file.read(8))
    inflated = None
    if told == DEFLATED and (found is None or found[0]):
        inflated = _inflated(file, starts_at, limits)
        starts_at, found = 0, _encoding(inflated[:8])
    is_implicit, is_little_endian = found or (told in (None, IMPLICIT), told != BIG_ENDIAN)
    return Layout(told, is_implicit, is_little_endian, starts_at, inflated)


def _encoding(head: bytes) -> tuple[bool, bool] | None:
    """Tell from the first element whether VRs are implicit, and whether it is little endian.

    None if it cannot be told.
    """
    if len(head) < 8:
        return None
    little, big = struct.unpack("<H", head[:2])[0], struct.unpack(">H", head[:2])[0]
    if head[4:6] in _VRS:
        # The first group is a small number, 0008 as a rule: 0800 in the other order.
        return False, little <= big
    (length,) = struct.unpack("<I", head[4:8])
    return (True, True) if little <= big and length < 2**16 else None


def _inflated(file: BinaryIO, offset: int, limits: Limits) -> bytes:
    """Inflate piece by piece, so that a bomb is found before it fills the memory."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    pieces, total = [], 0
    file.seek(offset)
    while piece := file.read(2**16):
        while piece and not inflater.eof:
            pieces.append(inflater.decompress(piece, 2**20))
            total += len(pieces[-1])
            if total > limits.max_inflated_bytes:
                raise ImageError(
                    "The DICOM file is too large when unpacked. "
                    "Please export the CT slice uncompressed.",
                    code=Code.BOMB,
                )
            piece = inflater.unconsumed_tail
    return b"".join(pieces)


def _damaged() -> ImageError:
    return ImageError(
        f"The DICOM file is damaged or was not copied completely. {AGAIN}", code=Code.DAMAGED
    )
