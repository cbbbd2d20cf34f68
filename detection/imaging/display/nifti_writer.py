"""Writes a volume as an uncompressed NIfTI-1 file, for the three-dimensional view."""

import struct
from collections.abc import Iterator

import numpy as np

from detection.imaging.display.planes import is_oriented
from detection.imaging.volume import Volume

_HEADER_BYTES = 352
# Codes of the NIfTI-1 header: data types, millimetres, and "scanner" coordinates.
_UINT8, _INT16 = 2, 4
_MILLIMETRES = 2
_SCANNER = 1


def nifti_step(volume: Volume, *, largest_side: int) -> int:
    """Return the step between kept rows and columns that leaves at most `largest_side` of each."""
    return max(1, -(-max(volume.pixels.shape[1:]) // largest_side))


def nifti_size(volume: Volume, *, step: int) -> int:
    """Return the length of the file in bytes."""
    slices, rows, columns = volume.pixels.shape
    voxels = slices * -(-rows // step) * -(-columns // step)
    return _HEADER_BYTES + voxels * volume.pixels.dtype.itemsize


def nifti_parts(volume: Volume, *, step: int = 1) -> Iterator[bytes]:
    """Yield the file in parts, its header and then each slice, so that it is never all in memory.

    Parameters
    ----------
    step : int
        Every `step`-th row and column is written; the affine accounts for it.

    Raises
    ------
    ValueError
        If the orientation of the volume in the patient is not known.
    """
    if volume.affine_lps is None or not is_oriented(volume):
        raise ValueError("Only a volume whose orientation is known has a three-dimensional view.")
    # NIfTI coordinates run to the patient's right and front, those of DICOM to left and back.
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.array(volume.affine_lps, np.float64)
    affine = affine @ np.diag([step, step, 1.0, 1.0])
    yield _header(volume, affine, step=step)
    little_endian = volume.pixels.dtype.newbyteorder("<")
    for pixels in volume.pixels:
        yield np.ascontiguousarray(pixels[::step, ::step], dtype=little_endian).tobytes()


def _header(volume: Volume, affine: np.ndarray, *, step: int) -> bytes:
    slices, rows, columns = volume.pixels.shape
    lengths_mm = np.linalg.norm(affine[:3, :3], axis=0)
    header = bytearray(_HEADER_BYTES)
    struct.pack_into("<i", header, 0, 348)
    sides = (3, -(-columns // step), -(-rows // step), slices, 1, 1, 1, 1)
    struct.pack_into("<8h", header, 40, *sides)
    bits = volume.pixels.dtype.itemsize * 8
    struct.pack_into("<2h", header, 70, _INT16 if volume.is_hu else _UINT8, bits)
    # The first number is the handedness of the quaternion form, which is not used.
    struct.pack_into("<8f", header, 76, 1.0, *lengths_mm, 0.0, 0.0, 0.0, 0.0)
    struct.pack_into("<3f", header, 108, _HEADER_BYTES, 1.0, 0.0)
    struct.pack_into("<B", header, 123, _MILLIMETRES)
    struct.pack_into("<2h", header, 252, 0, _SCANNER)
    struct.pack_into("<12f", header, 280, *affine[:3].ravel())
    header[344:348] = b"n+1\0"
    return bytes(header)
