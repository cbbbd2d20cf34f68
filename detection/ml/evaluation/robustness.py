"""Corruptions of five severities, as another scanner, export or careless copy makes them."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.ml.data import Sample

Grey = NDArray[np.uint8]
Corrupt = Callable[[Grey, float, np.random.Generator], Grey]


@dataclass(frozen=True)
class Corruption:
    """One kind of corruption with the strengths of its five severities."""

    name: str
    unit: str
    strengths: tuple[float, ...]
    apply: Corrupt

    def condition(self, severity: int) -> str:
        """Return the name of severity 1 to 5 of this corruption."""
        return f"{self.name} {self.strengths[severity - 1]:g}"

    def change(self, severity: int) -> Callable[[Grey, Sample, np.random.Generator], Grey]:
        """Return the change of severity 1 to 5, for a `Reader`."""
        strength = self.strengths[severity - 1]
        return lambda grey, _, generator: self.apply(grey, strength, generator)


def gaussian_noise(grey: Grey, sigma: float, generator: np.random.Generator) -> Grey:
    """Add normal noise to every pixel; `sigma` in units of the full grey range."""
    return _grey(grey + generator.normal(0, 255 * sigma, grey.shape))


def salt_and_pepper(grey: Grey, share: float, generator: np.random.Generator) -> Grey:
    """Set a share of the pixels to white or black, half and half."""
    drawn = generator.random(grey.shape)
    changed = grey.copy()
    changed[drawn < share / 2] = 255
    changed[drawn > 1 - share / 2] = 0
    return changed


def rotation(grey: Grey, degrees: float, generator: np.random.Generator) -> Grey:
    """Rotate about the centre, to either side; the uncovered corners are black."""
    rows, columns = grey.shape
    angle = degrees * _sign(generator)
    matrix = cv2.getRotationMatrix2D(((columns - 1) / 2, (rows - 1) / 2), angle, 1.0)
    return np.asarray(cv2.warpAffine(grey, matrix, (columns, rows)), np.uint8)


def brightness(grey: Grey, share: float, generator: np.random.Generator) -> Grey:
    """Multiply by 1 plus or minus the share."""
    return _grey(grey * (1 + share * _sign(generator)))


def contrast(grey: Grey, share: float, generator: np.random.Generator) -> Grey:
    """Stretch or squeeze the grey levels about 128 by the share; black stays black."""
    changed = (grey - 128.0) * (1 + share * _sign(generator)) + 128
    return _grey(np.where(grey > 0, changed, 0))


def gamma(grey: Grey, exponent: float, generator: np.random.Generator) -> Grey:
    """Raise to the power of the exponent or of its inverse."""
    power = exponent if _sign(generator) > 0 else 1 / exponent
    return _grey(255 * (grey / 255.0) ** power)


def blur(grey: Grey, sigma_px: float, generator: np.random.Generator) -> Grey:
    """Blur with a Gaussian; `sigma_px` in pixels of the image."""
    return np.asarray(cv2.GaussianBlur(grey, (0, 0), sigma_px), np.uint8)


def jpeg(grey: Grey, quality: float, generator: np.random.Generator) -> Grey:
    """Save as JPEG of this quality and read it again."""
    _, encoded = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE), np.uint8)


def down_sampling(grey: Grey, factor: float, generator: np.random.Generator) -> Grey:
    """Shrink by the factor and enlarge again to the old size."""
    small = cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, grey.shape[::-1]), np.uint8)


def at_256_px(grey: Grey, sample: Sample, generator: np.random.Generator) -> Grey:
    """Shrink an image so that its longest side has 256 px; a smaller one stays as it is."""
    scale = 256 / max(grey.shape)
    if scale >= 1:
        return grey
    return np.asarray(cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))


CORRUPTIONS = (
    Corruption("Gaussian noise", "sigma", (0.01, 0.02, 0.04, 0.08, 0.12), gaussian_noise),
    Corruption("Salt and pepper", "share", (0.001, 0.003, 0.005, 0.01, 0.02), salt_and_pepper),
    Corruption("Rotation", "degrees", (3, 5, 10, 15, 20), rotation),
    Corruption("Brightness", "share", (0.05, 0.1, 0.2, 0.25, 0.3), brightness),
    Corruption("Contrast", "share", (0.1, 0.2, 0.3, 0.4, 0.5), contrast),
    Corruption("Gamma", "exponent", (1.1, 1.25, 1.5, 1.75, 2.0), gamma),
    Corruption("Blur", "sigma in px", (0.5, 1.0, 1.5, 2.0, 3.0), blur),
    Corruption("JPEG", "quality", (90, 70, 50, 30, 10), jpeg),
    Corruption("Down-sampling", "factor", (0.9, 0.8, 0.7, 0.6, 0.5), down_sampling),
)
# Name and severity of the corruptions that may cost at most two points of accuracy.
MILD = (("Gaussian noise", 3), ("Rotation", 3), ("JPEG", 4), ("Brightness", 3))


def corruption(name: str) -> Corruption:
    """Return the corruption of this name."""
    return next(kind for kind in CORRUPTIONS if kind.name == name)


def _grey(values: NDArray[np.floating]) -> Grey:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _sign(generator: np.random.Generator) -> float:
    return 1.0 if generator.random() < 0.5 else -1.0
