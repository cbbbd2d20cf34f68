"""The one form in which every image is kept: a stack of slices, and what is known about it."""

import json
import os
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from detection.imaging.errors import ImageError

Plane = Literal["axial", "coronal", "sagittal", "unknown"]
_FORMAT = 1
_DAMAGED = "The stored image is damaged. Please upload the file again."
# What numpy, zipfile and json raise for a file that was changed or cut off.
_UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    EOFError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
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
    caveats : tuple of str
        Sentences that must stand beside every result got from this image.
    colour_spread : float
        Mean over pixels of the largest minus the smallest colour channel, of 255; 0 for grey.
    """

    pixels: NDArray[Any]
    is_hu: bool
    spacing_mm: tuple[float, float, float] | None = None
    plane: Plane = "unknown"
    caveats: tuple[str, ...] = ()
    colour_spread: float = 0.0

    def __post_init__(self) -> None:
        wanted = np.int16 if self.is_hu else np.uint8
        if self.pixels.ndim != 3 or 0 in self.pixels.shape or self.pixels.dtype != wanted:
            raise ValueError(
                f"Volume needs {np.dtype(wanted)} pixels (slices, rows, columns), "
                f"not {self.pixels.dtype} {self.pixels.shape}."
            )
        if self.plane not in get_args(Plane):
            raise ValueError(f"There is no plane {self.plane!r}.")

    def header(self) -> dict[str, Any]:
        """Return what is known about the pixels, in plain JSON types."""
        slices, rows, columns = self.pixels.shape
        return {
            "slices": slices,
            "rows": rows,
            "columns": columns,
            "is_hu": self.is_hu,
            "plane": self.plane,
            "spacing_mm": list(self.spacing_mm) if self.spacing_mm else None,
            "caveats": list(self.caveats),
            "colour_spread": self.colour_spread,
        }


def save_volume(volume: Volume, path: Path) -> None:
    """Write a volume to an .npz file, whole or not at all.

    Parameters
    ----------
    path : Path
        Its folder must exist. The file is written under a temporary name beside it and moved.
    """
    header = json.dumps({"format": _FORMAT, **volume.header()})
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".volume-", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(file, pixels=volume.pixels, header=np.array(header))
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load_volume(path: Path) -> Volume:
    """Read what `save_volume` wrote.

    Raises
    ------
    ImageError
        If the file is missing, damaged or of another format.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            header = json.loads(str(stored["header"]))
            if header["format"] != _FORMAT:
                raise ImageError(_DAMAGED)
            spacing = header["spacing_mm"]
            return Volume(
                pixels=stored["pixels"],
                is_hu=header["is_hu"],
                spacing_mm=(spacing[0], spacing[1], spacing[2]) if spacing else None,
                plane=header["plane"],
                caveats=tuple(header["caveats"]),
                colour_spread=header["colour_spread"],
            )
    except FileNotFoundError as error:
        raise ImageError("The stored image is missing. Please upload the file again.") from error
    except _UNREADABLE as error:
        raise ImageError(_DAMAGED) from error
