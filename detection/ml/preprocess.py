"""Turns a grey slice into the network's input, by the same functions in training and serving."""

from dataclasses import asdict, dataclass
from typing import ClassVar

import cv2
import numpy as np

# Means of ImageNet in the order blue, green, red, as the caffe-style Keras weights expect them.
INPUT_MEAN = (103.939, 116.779, 123.68)


@dataclass(frozen=True)
class Preprocessing:
    """The canvas and the window of a network; they go with its weights in `model.json`."""

    # Canvas pixels per cell of the stone map; every network joins its stages at this stride.
    stride: ClassVar[int] = 8

    height: int = 384
    width: int = 416
    # Soft-tissue window for slices in Hounsfield units; 8-bit pictures come windowed.
    window_center_hu: float = 40.0
    window_width_hu: float = 400.0
    # Edge of a canvas pixel in mm where the pixel spacing is known. The training pictures have
    # about this size, a body of 36 cm across 380 pixels.
    pixel_mm: float = 0.95

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True)
class Letterbox:
    """The place of a slice on the canvas: canvas = slice * scale + offset, in pixels (x, y)."""

    scale_x: float
    scale_y: float
    offset_x: int
    offset_y: int
    width: int
    height: int

    @property
    def middle_column(self) -> int:
        """Column of the map's cells at which the right half of the slice begins."""
        return round((self.offset_x + self.width / 2) / Preprocessing.stride)


def letterbox(
    grey: np.ndarray,
    spec: Preprocessing,
    *,
    spacing_mm: tuple[float, float] | None = None,
) -> tuple[np.ndarray, Letterbox]:
    """Fit a slice into the middle of the canvas, keeping its aspect; the rest is black.

    A picture without spacing is fitted to the canvas. A slice of known spacing gets `spec.pixel_mm`
    to a canvas pixel, the scale at which the network has learnt stones, and more only if it is too
    large for the canvas. Pixels that are not square become square.

    Parameters
    ----------
    grey : np.ndarray
        uint8, `(rows, columns)`.
    spacing_mm : tuple of float, optional
        Distance between rows and between columns.

    Returns
    -------
    canvas : np.ndarray
        uint8, `(spec.height, spec.width)`.
    box : Letterbox
        The place of the slice on the canvas.
    """
    rows, columns = grey.shape
    row_mm, column_mm = spacing_mm or (1.0, 1.0)
    # Canvas pixels per millimetre, or per pixel of a picture.
    scale = min(spec.height / (rows * row_mm), spec.width / (columns * column_mm))
    if spacing_mm:
        scale = min(scale, 1 / spec.pixel_mm)
    height = max(1, min(spec.height, round(rows * row_mm * scale)))
    width = max(1, min(spec.width, round(columns * column_mm * scale)))
    # Area averaging shrinks without aliasing; a small bright stone stays bright.
    shrinks = height * width < rows * columns
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized = cv2.resize(grey, (width, height), interpolation=interpolation)
    top, left = (spec.height - height) // 2, (spec.width - width) // 2
    canvas = np.zeros((spec.height, spec.width), np.uint8)
    canvas[top : top + height, left : left + width] = resized
    return canvas, Letterbox(
        scale_x=width / columns,
        scale_y=height / rows,
        offset_x=left,
        offset_y=top,
        width=width,
        height=height,
    )


def network_input(canvas: np.ndarray) -> np.ndarray:
    """Turn grey canvases into the input of every served network, whatever its backbone.

    Parameters
    ----------
    canvas : np.ndarray
        uint8, `(..., height, width)`.

    Returns
    -------
    np.ndarray
        float32, `(..., height, width, 3)`: the grey level less the ImageNet mean of blue, green
        and red.
    """
    return canvas[..., None].astype(np.float32) - np.array(INPUT_MEAN, np.float32)
