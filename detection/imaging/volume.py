"""The one form in which every image is kept: a stack of slices with its header, and its file."""

import errno
import hashlib
import json
import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from detection.imaging.errors import (
    Code,
    ImageError,
    Notice,
    is_of_the_machine,
    notices_json,
    notices_told,
)

Plane = Literal["axial", "coronal", "sagittal", "unknown"]
# Four rows of a matrix that maps (column, row, slice, 1) to LPS millimetres.
Affine = tuple[tuple[float, float, float, float], ...]

# A stored volume begins with a mark. The pixels follow from a fixed offset on, in C order and
# little endian, so that they can be mapped. Then come the header as JSON, and a tail with the
# length and the checksum of the header and the mark.
_MARK = b"KVOLUME2"
_PIXELS_AT = 64
_TAIL = struct.Struct("<II8s")
# Pixels up to this size are read and compared with their checksum; larger ones are mapped unread.
_CHECKED_BYTES = 4 * 2**20
_MAX_HEADER_BYTES = 2**20
# The compressed format (.npz) of the first version.
_OLDER_FORMAT = 1
_DAMAGED = "The stored image is damaged. Please upload the file again."
# numpy, zipfile and json raise these for a file that was changed or cut off.
_UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    EOFError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
)


@dataclass(frozen=True, eq=False)
class Volume:
    """A decoded image.

    Attributes
    ----------
    pixels : np.ndarray
        `(slices, rows, columns)`: int16 Hounsfield units if `is_hu`, else uint8 grey values.
    is_hu : bool
        Whether `pixels` are Hounsfield units.
    spacing_mm : tuple of float, optional
        Distance between slices, rows and columns in mm; None where the file does not say.
    plane : str
        "axial", "coronal", "sagittal" or "unknown".
    notices : tuple of Notice
        What must stand beside every answer about this image.
    colour_spread : float
        Mean over pixels of the largest minus the smallest colour channel, of 255; 0 for grey.
    affine_lps : tuple of tuple of float, optional
        4 x 4: it maps (column, row, slice, 1) to millimetres in the patient's coordinates (DICOM
        PS3.3, C.7.6.2.1.1: x to the left, y to the back, z to the head). None for a picture.
        Where it is known the axes are in canonical order, as radiologists look at slices. Axial:
        slices run to the head, rows to the back, columns to the left. Coronal: slices run to the
        back, rows to the feet, columns to the left. Sagittal: slices run to the left, rows to the
        feet, columns to the back.
    is_evenly_spaced : bool
        False if slices are missing or unevenly spaced. A place in the body is then right within
        its slice only, and nothing may be measured or resampled across slices.
    is_ordered : bool
        False if nothing says in which order the slices lie: neighbours in `pixels` are then no
        neighbours in the body, and each slice stands for itself.
    slices_unread : int
        Number of slices of the series that are not in `pixels`: they were damaged.
    slices_missing : int
        Number of slices for which there is room between the others, and which nobody sent.
    """

    pixels: NDArray[Any]
    is_hu: bool
    spacing_mm: tuple[float, float, float] | None = None
    plane: Plane = "unknown"
    notices: tuple[Notice, ...] = ()
    colour_spread: float = 0.0
    affine_lps: Affine | None = None
    is_evenly_spaced: bool = True
    is_ordered: bool = True
    slices_unread: int = 0
    slices_missing: int = 0

    def __post_init__(self) -> None:
        wanted = np.int16 if self.is_hu else np.uint8
        if self.pixels.ndim != 3 or 0 in self.pixels.shape or self.pixels.dtype != wanted:
            raise ValueError(
                f"Volume needs {np.dtype(wanted)} pixels (slices, rows, columns), "
                f"not {self.pixels.dtype} {self.pixels.shape}."
            )
        if self.plane not in get_args(Plane):
            raise ValueError(f"There is no plane {self.plane!r}.")
        if self.affine_lps is not None and np.shape(self.affine_lps) != (4, 4):
            raise ValueError("An affine has 4 rows of 4 numbers.")

    def header(self) -> dict[str, Any]:
        """Return everything but the pixels, in plain JSON types."""
        slices, rows, columns = self.pixels.shape
        return {
            "slices": slices,
            "rows": rows,
            "columns": columns,
            "is_hu": self.is_hu,
            "plane": self.plane,
            "spacing_mm": list(self.spacing_mm) if self.spacing_mm else None,
            "notices": notices_json(self.notices),
            "colour_spread": self.colour_spread,
            "affine_lps": [list(row) for row in self.affine_lps] if self.affine_lps else None,
            "is_evenly_spaced": self.is_evenly_spaced,
            "is_ordered": self.is_ordered,
            "slices_unread": self.slices_unread,
            "slices_missing": self.slices_missing,
        }

    def fingerprint(self) -> str:
        """Return the SHA-256 of the pixels and of where they lie.

        What a later version notices about an image does not change it.
        """
        place = (self.pixels.shape, self.is_hu, self.spacing_mm, self.plane, self.affine_lps)
        digest = hashlib.sha256(repr(place).encode())
        for pixels in self.pixels:
            digest.update(np.ascontiguousarray(pixels).data)
        return digest.hexdigest()


class VolumeWriter:
    """Writes the file of a volume slice by slice; see `write_volume`."""

    def __init__(self, file: BinaryIO, shape: tuple[int, int, int], dtype: type[Any]) -> None:
        self._file = file
        self._shape = shape
        self._dtype: np.dtype[Any] = np.dtype(dtype).newbyteorder("<")
        self._bytes = int(np.prod(shape, dtype=np.int64)) * self._dtype.itemsize
        file.write(_MARK.ljust(_PIXELS_AT, b"\0"))
        file.flush()
        # A full disk is an error here; a mapping that met it would kill the process.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), _PIXELS_AT, self._bytes)
        else:
            file.truncate(_PIXELS_AT + self._bytes)

    def write_slice(self, index: int, pixels: NDArray[Any]) -> None:
        """Write one slice, `(rows, columns)`, to its place. Raises ValueError if there is none."""
        if pixels.shape != self._shape[1:] or not 0 <= index < self._shape[0]:
            raise ValueError(f"A slice {pixels.shape} {index} does not fit into {self._shape}.")
        data = np.ascontiguousarray(pixels, self._dtype).tobytes()
        self._file.seek(_PIXELS_AT + index * len(data))
        self._file.write(data)

    def mapped(self) -> NDArray[Any]:
        """Return all pixels as a writeable memory map, `(slices, rows, columns)`.

        Raises
        ------
        MemoryError
            If the address space is not large enough.
        """
        self._file.flush()
        try:
            return np.memmap(
                self._file, dtype=self._dtype, mode="r+", offset=_PIXELS_AT, shape=self._shape
            )
        except OSError as error:
            if error.errno == errno.ENOMEM:
                raise MemoryError from error
            raise

    def finish(self, header: dict[str, Any]) -> None:
        """Write the header, in the form of `Volume.header`, and the checksums."""
        self._file.flush()
        self._file.seek(_PIXELS_AT)
        checksum, left = 0, self._bytes
        while left:
            piece = self._file.read(min(left, 2**20))
            checksum = zlib.crc32(piece, checksum)
            left -= len(piece)
        told = json.dumps({**header, "pixels_crc32": checksum}).encode()
        self._file.seek(_PIXELS_AT + self._bytes)
        self._file.write(told + _TAIL.pack(len(told), zlib.crc32(told), _MARK))


@contextmanager
def write_volume(path: Path, *, shape: tuple[int, int, int], is_hu: bool) -> Iterator[VolumeWriter]:
    """Write a volume file, whole or not at all, without holding its pixels.

    Parameters
    ----------
    path : Path
        A file in an existing folder. It is written under a temporary name beside it and moved
        when the block ends without an error.
    shape : tuple of int
        `(slices, rows, columns)`.
    is_hu : bool
        int16 pixels if true, else uint8.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".volume-", suffix=".part")
    try:
        with os.fdopen(handle, "w+b") as file:
            yield VolumeWriter(file, shape, np.int16 if is_hu else np.uint8)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def save_volume(volume: Volume, path: Path) -> None:
    """Write a volume to a file, uncompressed, whole or not at all.

    Parameters
    ----------
    path : Path
        A file in an existing folder. It is written under a temporary name beside it and moved.
    """
    slices, rows, columns = volume.pixels.shape
    with write_volume(path, shape=(slices, rows, columns), is_hu=volume.is_hu) as writer:
        for index, pixels in enumerate(volume.pixels):
            writer.write_slice(index, pixels)
        writer.finish(volume.header())


def load_volume(path: Path, *, is_new: bool = False) -> Volume:
    """Read a file of `save_volume` or `write_volume`, or one that the first version wrote.

    Parameters
    ----------
    is_new : bool
        The file was written just now: it is not unpacked as one of the first version, which may
        hold a thousand times its size.

    Returns
    -------
    Volume
        A volume with read-only pixels. A large one is mapped into memory, so that a cut reads the
        parts of the file that it touches and no more.

    Raises
    ------
    ImageError
        If the file is missing, damaged or of another format.
    OSError
        If the disk or a limit of the system keeps it from being read.
    """
    try:
        with path.open("rb") as file:
            is_older = file.read(len(_MARK)) != _MARK
            if is_older and is_new:
                raise ImageError(_DAMAGED)
            header, pixels = (None, None) if is_older else _read(path, file)
        if header is None or pixels is None:
            header, pixels = _read_older(path)
        pixels.flags.writeable = False
        spacing, affine = header["spacing_mm"], header.get("affine_lps")
        return Volume(
            pixels=pixels,
            is_hu=header["is_hu"],
            spacing_mm=(spacing[0], spacing[1], spacing[2]) if spacing else None,
            plane=header["plane"],
            notices=_notices(header),
            colour_spread=header["colour_spread"],
            affine_lps=tuple((x, y, z, w) for x, y, z, w in affine) if affine else None,
            is_evenly_spaced=header.get("is_evenly_spaced", True),
            is_ordered=header.get("is_ordered", True),
            slices_unread=header.get("slices_unread", 0),
            slices_missing=header.get("slices_missing", 0),
        )
    except FileNotFoundError as error:
        raise ImageError("The stored image is missing. Please upload the file again.") from error
    except _UNREADABLE as error:
        if is_of_the_machine(error):
            raise
        raise ImageError(_DAMAGED) from error


def _notices(header: dict[str, Any]) -> tuple[Notice, ...]:
    if "notices" in header:
        return notices_told(header["notices"])
    # Volumes stored before notices had codes hold bare sentences.
    return tuple(Notice(Code.EARLIER, str(sentence)) for sentence in header["caveats"])


def _read(path: Path, file: BinaryIO) -> tuple[dict[str, Any], NDArray[Any]]:
    size = file.seek(0, os.SEEK_END)
    file.seek(size - _TAIL.size)
    length, checksum, mark = _TAIL.unpack(file.read())
    if mark != _MARK or length > _MAX_HEADER_BYTES:
        raise ValueError("the tail of the volume is missing")
    file.seek(size - _TAIL.size - length)
    told = file.read(length)
    if zlib.crc32(told) != checksum:
        raise ValueError("the header of the volume was changed")
    header = json.loads(told)
    shape = (int(header["slices"]), int(header["rows"]), int(header["columns"]))
    dtype = np.dtype("<i2" if header["is_hu"] else "u1")
    count = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if size != _PIXELS_AT + count + length + _TAIL.size:
        raise ValueError("the volume has another length than its header says")
    if count > _CHECKED_BYTES:
        mapped = np.memmap(path, dtype=dtype, mode="r", offset=_PIXELS_AT, shape=shape)
        return header, np.asarray(mapped)
    file.seek(_PIXELS_AT)
    data = file.read(count)
    if zlib.crc32(data) != header["pixels_crc32"]:
        raise ValueError("the pixels of the volume were changed")
    return header, np.frombuffer(data, dtype).reshape(shape)


def _read_older(path: Path) -> tuple[dict[str, Any], NDArray[Any]]:
    with np.load(path, allow_pickle=False) as stored:
        header = json.loads(str(stored["header"]))
        if header["format"] != _OLDER_FORMAT:
            raise ImageError(_DAMAGED)
        return header, stored["pixels"]
