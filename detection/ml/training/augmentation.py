"""Augments a canvas and its boxes, as another scanner, window or export might change them."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

import cv2
import numpy as np


@dataclass(frozen=True)
class Augmentation:
    """The strength of each change; 0 switches it off.

    `mirror`, `flip`, `salt`, `blur`, `jpeg`, `downsample` and `erase` are chances. The others bound
    the change, `noise_sigma` at two standard deviations. Their units are degrees, fractions, and
    grey levels of 0 to 1; `gamma` bounds the logarithm of the exponent. There is no crop and no
    cut-out, since these could remove a stone.
    """

    mirror: float = 0.5
    flip: float = 0.0
    rotation_degrees: float = 10.0
    scale: float = 0.1
    shift: float = 0.05
    brightness: float = 0.12
    contrast: float = 0.2
    gamma: float = 0.25
    noise_sigma: float = 0.04
    salt: float = 0.05
    blur: float = 0.2
    jpeg: float = 0.3
    # Images lose resolution now and then, so that resolution is no sign of the source.
    downsample: float = 0.3
    # The stones of tightly boxed images are painted over, which makes the images stone-free.
    erase: float = 0.3


_MIRRORS = ("mirror", "flip")
_CHANCES = (*_MIRRORS, "salt", "blur", "jpeg", "downsample", "erase")
OFF = Augmentation(**dict.fromkeys((field.name for field in fields(Augmentation)), 0.0))


def without(spec: Augmentation, names: Iterable[str]) -> Augmentation:
    """Switch single changes off by name. Raises ValueError for a name that does not exist."""
    unknown = set(names) - {field.name for field in fields(Augmentation)}
    if unknown:
        raise ValueError(f"There is no augmentation {', '.join(sorted(unknown))}.")
    return replace(spec, **dict.fromkeys(names, 0.0))


def strengthened(spec: Augmentation, factor: float) -> Augmentation:
    """Multiply every strength by a factor of 0 or more.

    A chance stays a chance: it ends at 1, those of mirror and flip at 0.5, where they change most.
    """
    strengths = {field.name: getattr(spec, field.name) * factor for field in fields(Augmentation)}
    for name in _CHANCES:
        highest = 0.5 if name in _MIRRORS else 1.0
        strengths[name] = min(strengths[name], max(highest, getattr(spec, name)))
    return Augmentation(**strengths)


def augment(
    canvas: np.ndarray,
    boxes: np.ndarray,
    *,
    spec: Augmentation,
    generator: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Change one canvas and its boxes at random.

    Parameters
    ----------
    canvas : np.ndarray
        uint8, `(height, width)`.
    boxes : np.ndarray
        float32, `(n, 4)`: x0, y0, x1, y1 in canvas pixels.

    Returns
    -------
    canvas, boxes : np.ndarray
        As given; the boxes of the moved stones keep their sizes but for the scale.
    """
    canvas, boxes = _move(canvas, boxes, spec, generator)
    if generator.random() < spec.downsample:
        canvas = _downsample(canvas, generator)
    if generator.random() < spec.blur:
        canvas = cv2.GaussianBlur(canvas, (0, 0), generator.uniform(0.3, 0.9))
    grey = canvas.astype(np.float32) / 255
    inside = grey > 0
    if spec.gamma:
        grey = grey ** np.exp(generator.uniform(-spec.gamma, spec.gamma))
    if spec.contrast or spec.brightness:
        gain = 1 + generator.uniform(-spec.contrast, spec.contrast)
        grey = (grey - 0.5) * gain + 0.5 + generator.uniform(-spec.brightness, spec.brightness)
        # Padding and air stay black, as a window would leave them.
        grey = np.where(inside, grey, 0)
    if spec.noise_sigma:
        sigma = abs(generator.normal(0, spec.noise_sigma / 2))
        grey = grey + generator.normal(0, sigma, grey.shape).astype(np.float32)
    canvas = (np.clip(grey, 0, 1) * 255).astype(np.uint8)
    if generator.random() < spec.salt:
        canvas = _salt(canvas, generator)
    if generator.random() < spec.jpeg:
        quality = int(generator.integers(30, 95))
        _, encoded = cv2.imencode(".jpg", canvas, [cv2.IMWRITE_JPEG_QUALITY, quality])
        canvas = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE), np.uint8)
    return canvas, boxes


def erase_stones(
    canvas: np.ndarray, boxes: np.ndarray, *, generator: np.random.Generator
) -> np.ndarray:
    """Paint over the contents of the boxes, so that the image is stone-free.

    A network that has seen such images can find a stone by nothing but the stone, since scan,
    window and the rest of the kidney are the same. The paint has the grain of its surroundings, so
    that smoothness is no sign either.

    Parameters
    ----------
    canvas : np.ndarray
        uint8 `(height, width)`.
    boxes : np.ndarray
        float32 `(n, 4)`, tight boxes in canvas pixels.

    Returns
    -------
    np.ndarray
        uint8, a new array.
    """
    height, width = canvas.shape
    mask = np.zeros_like(canvas)
    for x0, y0, x1, y1 in boxes:
        margin = generator.uniform(1.0, 3.0)
        left, top = max(0, int(x0 - margin)), max(0, int(y0 - margin))
        right, bottom = min(width, int(x1 + margin) + 1), min(height, int(y1 + margin) + 1)
        mask[top:bottom, left:right] = 255
    ring = (cv2.dilate(mask, np.ones((9, 9), np.uint8)) > 0) & (mask == 0)
    if not ring.any():
        return canvas.copy()
    kinds = ("inpaint", "median")
    if kinds[int(generator.integers(2))] == "inpaint":
        filled = np.asarray(cv2.inpaint(canvas, mask, 3, cv2.INPAINT_TELEA), np.float32)
    else:
        # Only pixels brighter than the surroundings change, so that vessels and fat stay.
        level = float(np.median(canvas[ring]))
        filled = np.minimum(canvas.astype(np.float32), level)
    smooth = cv2.GaussianBlur(canvas.astype(np.float32), (0, 0), 1.5)
    grain = float((canvas[ring] - smooth[ring]).std())
    filled += generator.normal(0, grain, canvas.shape).astype(np.float32)
    return np.where(mask > 0, np.clip(filled, 0, 255), canvas).astype(np.uint8)


def _move(
    canvas: np.ndarray, boxes: np.ndarray, spec: Augmentation, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    height, width = canvas.shape
    angle = generator.uniform(-spec.rotation_degrees, spec.rotation_degrees)
    scale = 1 + generator.uniform(-spec.scale, spec.scale)
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, scale)
    matrix[0, 2] += generator.uniform(-spec.shift, spec.shift) * width
    matrix[1, 2] += generator.uniform(-spec.shift, spec.shift) * height
    if generator.random() < spec.mirror:
        matrix = matrix @ np.array([[-1, 0, width], [0, 1, 0], [0, 0, 1]], np.float64)
    if generator.random() < spec.flip:
        matrix = matrix @ np.array([[1, 0, 0], [0, -1, height], [0, 0, 1]], np.float64)
    # Boxes count from the edges of pixels, the warp from their centres.
    centred = matrix.copy()
    centred[:, 2] += matrix[:, :2] @ np.array([0.5, 0.5]) - 0.5
    canvas = cv2.warpAffine(canvas, centred, (width, height), flags=cv2.INTER_LINEAR)
    if len(boxes):
        # A rotated stone keeps its size, so its centre moves and its sides are only scaled.
        centres = np.stack([boxes[:, [0, 2]].mean(1), boxes[:, [1, 3]].mean(1)], 1)
        centres = centres @ matrix[:, :2].T + matrix[:, 2]
        half = (boxes[:, 2:] - boxes[:, :2]) / 2 * scale
        boxes = np.concatenate([centres - half, centres + half], 1).astype(np.float32)
    return canvas, boxes


def _downsample(canvas: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    factor = generator.uniform(0.5, 0.9)
    small = cv2.resize(canvas, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, canvas.shape[::-1])


def _salt(canvas: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    # More than 2 pixels in a thousand would look like stones of their own.
    share = generator.uniform(0, 0.002)
    canvas = canvas.copy()
    canvas[generator.random(canvas.shape) < share] = 255
    return canvas
