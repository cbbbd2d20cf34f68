"""CT windows, which turn Hounsfield units into the grey values that are shown and read."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detection.imaging.volume import Volume


@dataclass(frozen=True)
class Window:
    """A grey scale over Hounsfield units: black below its lower end, white above its upper end."""

    center_hu: float
    width_hu: float

    def __post_init__(self) -> None:
        if not self.width_hu > 0:
            raise ValueError("A window must be wider than 0 HU.")

    @property
    def lower_hu(self) -> float:
        return self.center_hu - self.width_hu / 2


SOFT_TISSUE = Window(center_hu=40, width_hu=400)
# Wide enough to tell a dense stone from a fainter one; soft tissue is almost uniform here.
STONE = Window(center_hu=400, width_hu=1500)
BONE = Window(center_hu=500, width_hu=2000)
LUNG = Window(center_hu=-600, width_hu=1500)


def apply_window(pixels_hu: NDArray[np.generic], window: Window) -> NDArray[np.uint8]:
    """Map Hounsfield units to grey values, black to white, linearly over the window.

    Parameters
    ----------
    pixels_hu : np.ndarray
        Any shape and number type, in HU.
    window : Window
        Values at its lower end and below become black, values at its upper end and above white.

    Returns
    -------
    np.ndarray
        uint8, same shape, by the function "LINEAR_EXACT" of DICOM PS3.3, C.11.2.1.3.2, rounded to
        the nearest grey value.
    """
    grey = np.asarray(pixels_hu, np.float32) - np.float32(window.lower_hu)
    grey *= np.float32(255.0 / window.width_hu)
    np.clip(grey, 0.0, 255.0, out=grey)
    np.rint(grey, out=grey)
    return grey.astype(np.uint8)


def grey_slice(volume: Volume, slice_index: int, window: Window = SOFT_TISSUE) -> NDArray[np.uint8]:
    """Return one slice as it is shown and read.

    Parameters
    ----------
    slice_index : int
        From 0 to the number of slices - 1.
    window : Window
        The window for Hounsfield units; an 8-bit picture is windowed already and stays as it is.

    Returns
    -------
    np.ndarray
        uint8, `(rows, columns)`.

    Raises
    ------
    IndexError
        If the volume has no such slice.
    """
    if not 0 <= slice_index < volume.pixels.shape[0]:
        raise IndexError(f"The volume has {volume.pixels.shape[0]} slices, not {slice_index + 1}.")
    pixels = volume.pixels[slice_index]
    if volume.is_hu:
        return apply_window(pixels, window)
    return np.ascontiguousarray(pixels, np.uint8)
