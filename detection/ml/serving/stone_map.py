"""Turns the cells of a canvas into the stone map of an image, and stores stone maps."""

import os
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.ml.calibration import apply_platt
from detection.ml.preprocess import Letterbox, Preprocessing

# Longer side of a map: fine enough to look smooth over the image, small enough to keep.
MAP_SIDE = 128


def image_map(
    cells: NDArray[np.float32],
    box: Letterbox,
    *,
    preprocessing: Preprocessing,
    calibration: dict[str, float],
    picture: tuple[int, int],
    image: tuple[int, int] | None = None,
    origin: tuple[int, int] = (0, 0),
) -> NDArray[np.float32]:
    """Cut the image out of the canvas' map and turn it into calibrated probabilities.

    Parameters
    ----------
    cells : np.ndarray
        Logits of the canvas, float32 `(canvas height / 8, canvas width / 8)`.
    box : Letterbox
        The place of the picture on the canvas.
    picture : tuple of int
        `(rows, columns)` of the picture that was read.
    image, origin : tuple of int
        `(rows, columns)` of the image of which the picture is a part, and row and column where the
        part begins. The probability is 0 outside the picture.

    Returns
    -------
    np.ndarray
        float32, with a longer side of `MAP_SIDE`, over exactly the area of the image.
    """
    rows, columns = image or picture
    stride = preprocessing.height / cells.shape[0]
    map_columns = max(1, round(MAP_SIDE * columns / max(rows, columns)))
    map_rows = max(1, round(MAP_SIDE * rows / max(rows, columns)))
    # Sample the logits bilinearly at the centre of each map pixel, in cells of the canvas.
    x = (np.arange(map_columns) + 0.5) * columns / map_columns - origin[1]
    y = (np.arange(map_rows) + 0.5) * rows / map_rows - origin[0]
    grid_x, grid_y = np.meshgrid(
        ((box.offset_x + x * box.scale_x) / stride - 0.5).astype(np.float32),
        ((box.offset_y + y * box.scale_y) / stride - 0.5).astype(np.float32),
    )
    sampled = cv2.remap(
        cells.astype(np.float32), grid_x, grid_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    probabilities = apply_platt(sampled, calibration).astype(np.float32)
    is_read = np.outer((y >= 0) & (y <= picture[0]), (x >= 0) & (x <= picture[1]))
    return np.where(is_read, probabilities, np.float32(0))


def part_of(
    stone_map: NDArray[np.float32],
    box: tuple[float, float, float, float],
    *,
    size: tuple[int, int],
) -> tuple[NDArray[np.float32], int, int]:
    """Return the part of a map that lies in a box, and the map's column and row where it begins.

    Parameters
    ----------
    box : tuple of float
        x0, y0, x1, y1 in pixels of the slice, as `findings.locate` makes them of such a map.
    size : tuple of int
        `(rows, columns)` of the slice, all of which the map covers.
    """
    scale_y, scale_x = size[0] / stone_map.shape[0], size[1] / stone_map.shape[1]
    x0, y0, x1, y1 = box
    left, top = round(x0 / scale_x), round(y0 / scale_y)
    return stone_map[top : round(y1 / scale_y), left : round(x1 / scale_x)], left, top


def peak_of(
    stone_map: NDArray[np.float32],
    box: tuple[float, float, float, float],
    *,
    size: tuple[int, int],
) -> tuple[float, float]:
    """Return column and row, in pixels of the slice, of the highest place of a map in a box."""
    part, left, top = part_of(stone_map, box, size=size)
    row, column = np.unravel_index(int(part.argmax()), part.shape)
    scale_y, scale_x = size[0] / stone_map.shape[0], size[1] / stone_map.shape[1]
    return (left + float(column) + 0.5) * scale_x, (top + float(row) + 0.5) * scale_y


def save_stone_map(stone_map: NDArray[np.floating[Any]], path: Path) -> None:
    """Write a map as float16 under a temporary name and move it into place.

    The format of `numpy.save` is not compressed, so that one slice can be read without the others.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            np.save(file, stone_map.astype(np.float16, copy=False))
        os.replace(temporary, path)
    except BaseException:
        # On a full disk the half of a map would take what is left.
        Path(temporary).unlink(missing_ok=True)
        raise


def load_stone_map(path: Path) -> NDArray[np.float16]:
    """Read a file of `save_stone_map`: float16 `(slices, rows, columns)`, mapped from the disk.

    The compressed `.npz` of the first version is read into memory.
    """
    stored = np.load(path, mmap_mode="r", allow_pickle=False)
    if isinstance(stored, np.ndarray):
        return stored
    with stored:
        return stored["stone_map"].astype(np.float16)
