"""Reads size and coding of a compressed image from its header, before anything is decoded."""

import struct
from dataclasses import dataclass

# Start-of-frame markers of JPEG (ITU-T T.81, table B.1) and JPEG-LS (T.87, C.1.1).
_START_OF_FRAME = (frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}) | {0xF7}
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xDA)})
_JPEG_2000 = b"\xff\x4f\xff\x51"
_END = b"\xff\xd9"


@dataclass(frozen=True)
class Codestream:
    """Size of a compressed image, and whether its coding loses information (None: not told)."""

    rows: int
    columns: int
    components: int
    is_irreversible: bool | None = None


def read_codestream(data: bytes) -> Codestream | None:
    """Read the header of a JPEG, JPEG-LS or JPEG 2000 image.

    Parameters
    ----------
    data : bytes
        One frame, from its start-of-image marker on; JPEG 2000 may come inside a JP2 box.

    Returns
    -------
    Codestream or None
        None if no header of these kinds is found.
    """
    try:
        if data.startswith(b"\xff\xd8"):
            return _read_jpeg(data)
        start = data.find(_JPEG_2000, 0, 4096)
        return _read_jpeg_2000(data, start) if start >= 0 else None
    except (struct.error, IndexError):
        return None


def without_padding(data: bytes) -> bytes:
    """Return a frame without the zeros or fill bytes behind its end marker.

    Some programs pad a frame to the length of a block, where one byte is allowed (PS3.5, A.4).
    """
    bare = data.rstrip(b"\x00\xff")
    return bare if bare.endswith(_END) else data


def is_complete(data: bytes) -> bool:
    """Say whether an end-of-image or end-of-codestream marker stands at the end of a frame."""
    return _END in data[-64:]


def _read_jpeg(data: bytes) -> Codestream | None:
    position = 2
    while position < len(data):
        if data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if marker == 0xFF:
            # Fill bytes may stand before any marker.
            position += 1
        elif marker in _WITHOUT_LENGTH:
            position += 2
        elif marker in _START_OF_FRAME:
            rows, columns, components = struct.unpack_from(">HHB", data, position + 5)
            return Codestream(rows=rows, columns=columns, components=components)
        else:
            position += 2 + struct.unpack_from(">H", data, position + 2)[0]
    return None


def _read_jpeg_2000(data: bytes, start: int) -> Codestream:
    # ITU-T T.800, A.5.1: the size segment stands first, right after the start marker.
    right, bottom, left, top = struct.unpack_from(">4I", data, start + 8)
    (components,) = struct.unpack_from(">H", data, start + 40)
    is_irreversible = None
    position = start + 2
    while data[position] == 0xFF and data[position + 1] not in (0x90, 0xD9):
        if data[position + 1] == 0x52:
            # A.6.1: the last byte before the precincts is the wavelet, 0 for 9-7 irreversible.
            is_irreversible = data[position + 13] == 0
            break
        position += 2 + struct.unpack_from(">H", data, position + 2)[0]
    return Codestream(
        rows=bottom - top,
        columns=right - left,
        components=components,
        is_irreversible=is_irreversible,
    )
