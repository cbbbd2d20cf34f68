"""From one grey slice to the network's input: the same function for training and serving."""

from dataclasses import asdict, dataclass

import cv2
import numpy as np

# Means of ImageNet in the order blue, green, red, as the caffe-style Keras weights expect them.
_IMAGENET_MEAN_BGR = np.array([103.939, 116.779, 123.68], np.float32)


@dataclass(frozen=True)
class Preprocessing:
    """How a slice becomes the input; travels with the weights in `model.json`."""

    height: int = 384
    width: int = 416
    # Soft-tissue window for slices in Hounsfield units; 8-bit pictures come windowed.
    window_center_hu: float = 40.0
    window_width_hu: float = 400.0

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


def letterbox(grey: np.ndarray, spec: Preprocessing) -> tuple[np.ndarray, Letterbox]:
    """Fit a slice into the middle of the canvas, keeping its aspect; the rest is black.

    Parameters
    ----------
    grey : np.ndarray
        uint8, `(rows, columns)`.

    Returns
    -------
    canvas : np.ndarray
        uint8, `(spec.height, spec.width)`.
    box : Letterbox
        How to get back from canvas pixels to pixels of the slice.
    """
    rows, columns = grey.shape
    scale = min(spec.height / rows, spec.width / columns)
    height = max(1, min(spec.height, round(rows * scale)))
    width = max(1, min(spec.width, round(columns * scale)))
    # Area averaging shrinks without aliasing; a small bright stone stays bright.
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
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
    """Turn grey canvases into what the caffe-style ResNet50 weights expect.

    Parameters
    ----------
    canvas : np.ndarray
        uint8, `(..., height, width)`.

    Returns
    -------
    np.ndarray
        float32, `(..., height, width, 3)`, blue green red minus the ImageNet means.
    """
    return canvas[..., None].astype(np.float32) - _IMAGENET_MEAN_BGR
