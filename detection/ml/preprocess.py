"""From one grey slice to the network's input: the same function for training and serving."""

from dataclasses import asdict, dataclass
from typing import ClassVar

import cv2
import numpy as np

# Means of ImageNet in the order blue, green, red, as the caffe-style Keras weights expect them.
INPUT_MEAN = (103.939, 116.779, 123.68)


@dataclass(frozen=True)
class Preprocessing:
    """How a slice becomes the input; travels with the weights in `model.json`."""

    # Canvas pixels of a cell of the stone map: every network joins its stages at this stride.
    stride: ClassVar[int] = 8

    height: int = 384
    width: int = 416
    # Soft-tissue window for slices in Hounsfield units; 8-bit pictures come windowed.
    window_center_hu: float = 40.0
    window_width_hu: float = 400.0
    # Millimetres of a canvas pixel where the pixel spacing is known: about what the training
    # pictures have, a body of 36 cm across 380 pixels.
    pixel_mm: float = 0.95

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True)
class Letterbox:
    """Where a slice lies on the canvas: canvas = slice * scale + offset, in pixels (x, y)."""

    scale_x: float
    scale_y: float
    offset_x: int
    offset_y: int
    width: int
    height: int

    @property
    def middle_column(self) -> int:
        """Which column of the stone map's cells is the first one of the slice's right half."""
        return round((self.offset_x + self.width / 2) / Preprocessing.stride)


def letterbox(
    grey: np.ndarray,
    spec: Preprocessing,
    *,
    spacing_mm: tuple[float, float] | None = None,
) -> tuple[np.ndarray, Letterbox]:
    """Fit a slice into the middle of the canvas, keeping its aspect; the rest is black.

    A picture fills the canvas. Where the pixel spacing is known, a stone is shown at the size the
    network has learnt, `spec.pixel_mm` a pixel, unless the slice is too large for that; pixels
    that are not square become square.

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
        How to get back from canvas pixels to pixels of the slice.
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
        float32, `(..., height, width, 3)`, blue green red minus the ImageNet means.
    """
    return canvas[..., None].astype(np.float32) - np.array(INPUT_MEAN, np.float32)
