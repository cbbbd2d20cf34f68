"""Reads NIfTI volumes by nibabel, plane by plane, into canonical volume files."""

import gzip
import math
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import nibabel
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from numpy.typing import NDArray

from detection.imaging.errors import (
    Code,
    ImageError,
    Notice,
    is_of_the_machine,
    notices_json,
    thick_slices,
)
from detection.imaging.formats.kinds import HEAD_BYTES, Kind, sniff
from detection.imaging.formats.picture import EIGHT_BIT
from detection.imaging.geometry import Arrangement, arrange
from detection.imaging.hounsfield import AIR_HU, HounsfieldJudge, darken_padding
from detection.imaging.limits import LIMITS, Limits
from detection.imaging.volume import write_volume

_HEADERS = (nibabel.Nifti1Header, nibabel.Nifti2Header)
_LONGEST_HEADER = max(header.sizeof_hdr for header in _HEADERS)
# Turns the RAS+ millimetres of NIfTI into the LPS of DICOM.
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])
_OUTSIDE_HU, _INT16 = -10_000, np.iinfo(np.int16)
# The axis with the widest spacing is that of the slices if it exceeds the others by this factor.
_THICKER = 1.5
_CONFLICT_MM = 1.0

_AGAIN = "Please export it again or upload it again."
_NO_ORIENTATION = Notice(
    Code.NO_ORIENTATION,
    "The NIfTI volume does not say how it lies in the body: its side is not known and the slices "
    "may be upside down. Please export it with its orientation (sform or qform).",
)
_CONFLICT = Notice(
    Code.ORIENTATION_CONFLICT,
    "The NIfTI volume says in two ways how it lies in the body (sform and qform), and they differ: "
    "the first was believed. Please check the side against the original images.",
)


@dataclass(frozen=True)
class _Layout:
    """The voxels of the file and the arrangement that makes slices of them."""

    planes: ArrayProxy
    arrangement: Arrangement
    is_oriented: bool
    is_eight_bit: bool
    notices: tuple[Notice, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Lengths of the three axes, in the order of the file."""
        return self.planes.shape


def is_nifti_gzip(path: Path) -> bool:
    """Say whether a gzip file holds a NIfTI volume, by its first `HEAD_BYTES` bytes unpacked."""
    try:
        with gzip.open(path) as file:
            return sniff(file.read(HEAD_BYTES)) is Kind.NIFTI
    except (ImageError, OSError, EOFError, zlib.error):
        return False


def convert_nifti(
    source: Path,
    target: Path,
    *,
    limits: Limits = LIMITS,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Write the volume of a NIfTI file (.nii or .nii.gz) in canonical order.

    Voxel (i, j, k) lies at `affine @ (i, j, k, 1)`, RAS millimetres; the sform is believed before
    the qform (NIfTI-1, "3D image orientation"). Values are stored value * scl_slope + scl_inter.
    Slices lie across an axis of length 1, or else across the axis with by far the widest spacing.
    Without either they lie across the axis nearest to head-foot. Unscaled bytes stay 8-bit grey
    without HU.

    Parameters
    ----------
    source : Path
        The NIfTI file, compressed with gzip or not.
    target : Path
        The volume file to write, for `load_volume`.
    progress : callable, optional
        Called with planes read and planes in all.

    Returns
    -------
    dict
        The header of the volume, as `Volume.header` gives it.

    Raises
    ------
    ImageError
        If the file is damaged, too large, not one volume, or its values cannot be HU.
    OSError, MemoryError
        If a file cannot be read or written, or needs too much memory.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with source.open("rb") as raw:
                is_gzip = raw.read(2) == b"\x1f\x8b"
                raw.seek(0)
                file: IO[bytes] = gzip.GzipFile(fileobj=raw) if is_gzip else raw  # type: ignore[assignment]
                layout = _read_layout(file, limits)
                return _convert(layout, target, progress)
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        # A damaged header makes the parser raise almost anything.
        if is_of_the_machine(error):
            raise
        raise _damaged() from error


def _damaged() -> ImageError:
    return ImageError(
        f"The NIfTI volume is damaged or was not copied completely. {_AGAIN}", code=Code.DAMAGED
    )


def _read_layout(file: IO[bytes], limits: Limits) -> _Layout:
    header = _read_header(file)
    dtype = header.get_data_dtype()
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise ImageError(
            "The NIfTI volume holds colours or other values than numbers: it is not a CT. "
            "Please export the CT itself.",
            code=Code.NOT_CT,
        )
    dimensions = [int(n) for n in header.get_data_shape()]
    if not 2 <= len(dimensions) <= 7 or min(dimensions) < 1:
        raise _damaged()
    if any(n > 1 for n in dimensions[3:]):
        raise ImageError(
            f"The NIfTI file holds several volumes ({' x '.join(map(str, dimensions))}). "
            "Please export one volume a file.",
            code=Code.SEVERAL_VOLUMES,
        )
    columns, rows, planes = (*dimensions, 1)[:3]
    shape = (columns, rows, planes)
    voxels = columns * rows * planes
    if voxels > limits.max_voxels or max(shape) > limits.max_slices:
        raise ImageError(
            f"The NIfTI volume is too large ({columns} x {rows} x {planes} voxels; at most "
            f"{limits.max_voxels // 1_000_000} million are read). "
            "Please export a part of it or thicker slices.",
            code=Code.TOO_MANY_PIXELS,
        )
    told_slope, told_intercept = header.get_slope_inter()
    slope = 1.0 if told_slope is None else float(told_slope)
    intercept = 0.0 if told_intercept is None else float(told_intercept)
    if not math.isfinite(slope) or not math.isfinite(intercept) or not slope:
        raise _damaged()
    offset = int(header.get_data_offset())
    if not header.sizeof_hdr <= offset <= 2**24:
        raise _damaged()
    arrangement, is_oriented, notices = _find_orientation(header, shape)
    return _Layout(
        planes=ArrayProxy(file, (shape, dtype, offset, slope, intercept)),
        arrangement=arrangement,
        is_oriented=is_oriented,
        is_eight_bit=dtype == np.uint8 and (slope, intercept) == (1.0, 0.0),
        notices=notices,
    )


def _read_header(file: IO[bytes]) -> Any:
    """Read the header without its extensions, which may be long and say nothing of the voxels."""
    start = file.read(_LONGEST_HEADER)
    of_this_kind = next((each for each in _HEADERS if each.may_contain_header(start)), None)
    if of_this_kind is None:
        raise _damaged()
    header = of_this_kind(start[: of_this_kind.sizeof_hdr], check=False)
    # `check_fix` would mend this number silently, and it is what proves the byte order.
    if header["sizeof_hdr"] != header.sizeof_hdr:
        raise _damaged()
    header.check_fix()
    return header


def _find_orientation(
    header: Any, shape: tuple[int, int, int]
) -> tuple[Arrangement, bool, tuple[Notice, ...]]:
    affines = []
    for read in (header.get_sform, header.get_qform):
        try:
            affine, code = read(coded=True)
        except Exception:
            # nibabel raises for a quaternion that is no rotation.
            continue
        if code and affine is not None and _is_usable(affine):
            affines.append(np.array(affine, np.float64))
    notices: list[Notice] = []
    if len(affines) == 2 and _is_conflict(affines[0], affines[1], shape):
        notices.append(_CONFLICT)
    is_oriented = bool(affines)
    if affines:
        affine = affines[0]
    else:
        notices.append(_NO_ORIENTATION)
        zooms = [abs(float(z)) for z in header.get_zooms()[:3]]
        zooms += [1.0] * (3 - len(zooms))
        affine = np.diag([*(z if 0.01 <= z <= 50 else 1.0 for z in zooms), 1.0])
    steps = (_RAS_TO_LPS @ affine[:3, :3]).T
    lengths = np.linalg.norm(steps, axis=1)
    widest = int(lengths.argmax())
    others = np.delete(lengths, widest).max()
    is_thicker = lengths[widest] > _THICKER * others and shape[widest] > 1
    towards_head = np.abs(steps[:, 2]) / lengths
    flat = [axis for axis in range(3) if shape[axis] == 1]
    slice_axis = flat[-1] if flat else widest if is_thicker else int(towards_head.argmax())
    arrangement = arrange(
        origin_mm=_RAS_TO_LPS @ affine[:3, 3], steps_mm=steps, shape=shape, slice_axis=slice_axis
    )
    if is_oriented:
        notices += thick_slices(arrangement.spacing_mm[0], count=shape[arrangement.order[0]])
    return arrangement, is_oriented, tuple(notices)


def _is_usable(affine: NDArray[np.float64]) -> bool:
    if not np.isfinite(affine).all():
        return False
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not (lengths.min() >= 0.01 and lengths.max() <= 50):
        return False
    return abs(float(np.linalg.det(affine[:3, :3] / lengths))) > 0.1


def _is_conflict(
    one: NDArray[np.float64], other: NDArray[np.float64], shape: tuple[int, int, int]
) -> bool:
    corners = np.array([(0, 0, 0, 1), (*(np.array(shape) - 1), 1)], np.float64)
    return bool(np.abs(corners @ (one - other).T).max() > _CONFLICT_MM)


def _convert(
    layout: _Layout,
    target: Path,
    progress: Callable[[int, int], None] | None,
) -> dict[str, Any]:
    planes = layout.shape[2]
    first, second, third = (layout.shape[axis] for axis in layout.arrangement.order)
    judge = HounsfieldJudge(is_declared=False)
    is_hu = not layout.is_eight_bit
    with write_volume(target, shape=(first, second, third), is_hu=is_hu) as writer:
        # A view in the order of the file, so that each plane is written as it is read.
        in_file_order = _as_in_file(writer.mapped(), layout.arrangement)
        for plane in range(planes):
            values = layout.planes[:, :, plane]
            if is_hu:
                values = _to_int16(values)
                judge.add(values)
            in_file_order[:, :, plane] = values
            if progress:
                progress(plane + 1, planes)
        notices = (*layout.notices, *(judge.judge() if is_hu else (EIGHT_BIT,)))
        header = _header(layout, shape=(first, second, third), notices=notices)
        del in_file_order
        writer.finish(header)
    return header


def _as_in_file(pixels: NDArray[Any], arrangement: Arrangement) -> NDArray[Any]:
    flips = (slice(None, None, -1 if flip else None) for flip in arrangement.flips)
    first, second, third = flips
    return pixels[first, second, third].transpose(np.argsort(arrangement.order))


def _header(
    layout: _Layout, *, shape: tuple[int, int, int], notices: tuple[Notice, ...]
) -> dict[str, Any]:
    arrangement = layout.arrangement
    affine = arrangement.affine_lps if layout.is_oriented else None
    return {
        "slices": shape[0],
        "rows": shape[1],
        "columns": shape[2],
        "is_hu": not layout.is_eight_bit,
        "plane": arrangement.plane if layout.is_oriented else "unknown",
        "spacing_mm": list(arrangement.spacing_mm),
        "notices": notices_json(notices),
        "colour_spread": 0.0,
        "affine_lps": [list(row) for row in affine] if affine else None,
        "is_evenly_spaced": True,
        "is_ordered": True,
        "slices_unread": 0,
        "slices_missing": 0,
    }


def _to_int16(plane: NDArray[Any]) -> NDArray[np.int16]:
    values = plane.astype(np.float64)
    # Some tools write NaN, infinity or the lowest number there is outside the field of view.
    values[~np.isfinite(values) | (values <= _OUTSIDE_HU)] = AIR_HU
    pixels_hu = np.rint(values).clip(_INT16.min, _INT16.max).astype(np.int16)
    darken_padding(pixels_hu)
    return pixels_hu
