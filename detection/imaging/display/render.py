"""Pictures for the browser: a cut as PNG, and the stone map as a PNG that lies over it."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.imaging.window import SOFT_TISSUE, Window, apply_window

# Below this a cell of the map is not shown at all.
LOWEST_SHOWN = 0.05
# Alpha of 255 where the probability is just shown, and where it is 1.
_ALPHA_LOWEST, _ALPHA_HIGHEST = 50.0, 215.0
# The darkest third of the colour map would look like a shadow on the image.
_COLOUR_LOWEST, _COLOUR_HIGHEST = 90.0, 250.0


def pixels_png(pixels: NDArray[Any], *, is_hu: bool, window: Window = SOFT_TISSUE) -> bytes:
    """Return one cut, `(rows, columns)` in HU or 8-bit grey, as an 8-bit grey PNG."""
    return _png(apply_window(pixels, window) if is_hu else np.asarray(pixels, np.uint8))


def overlay_png(stone_map_slice: NDArray[np.floating], size: tuple[int, int]) -> bytes:
    """Return the stone map of one slice as an RGBA PNG that lies over the slice.

    The colours are those of "inferno": their lightness rises evenly with the probability, so that
    the order can be seen without colour vision. Opacity rises with the probability too; below
    `LOWEST_SHOWN` the map is invisible.

    Parameters
    ----------
    stone_map_slice : np.ndarray
        Probabilities 0 to 1, `(h, w)`, over exactly the area of the image.
    size : tuple of int
        Width and height of the image, and so of the result, in pixels.

    Raises
    ------
    ValueError
        If the map is not two-dimensional, or holds a value that is not finite.
    """
    if stone_map_slice.ndim != 2 or not np.isfinite(stone_map_slice).all():
        raise ValueError("The stone map of a slice must be two-dimensional and finite.")
    enlarged = cv2.resize(stone_map_slice.astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
    # Cubic interpolation overshoots at steep edges; the result keeps to the range of the map.
    probability = np.clip(enlarged, 0.0, float(stone_map_slice.max(initial=0.0)))
    probability = np.minimum(probability, 1.0)
    rise = np.clip((probability - LOWEST_SHOWN) / (1.0 - LOWEST_SHOWN), 0.0, 1.0)
    levels = _COLOUR_LOWEST + rise * (_COLOUR_HIGHEST - _COLOUR_LOWEST)
    colours = cv2.applyColorMap(np.rint(levels).astype(np.uint8), cv2.COLORMAP_INFERNO)
    # The root makes a candidate of 0.3 stand out already, and leaves the image visible at 1.
    alpha = _ALPHA_LOWEST + np.sqrt(rise) * (_ALPHA_HIGHEST - _ALPHA_LOWEST)
    # A short ramp instead of a cut, so that the rim of a spot is smooth.
    alpha *= np.clip((probability - LOWEST_SHOWN) / LOWEST_SHOWN, 0.0, 1.0)
    return _png(np.dstack([colours, np.rint(alpha).astype(np.uint8)]))


def _png(pixels: NDArray[np.uint8]) -> bytes:
    written, data = cv2.imencode(".png", pixels)
    if not written:
        raise ValueError("The picture could not be written as PNG.")
    return bytes(data)
