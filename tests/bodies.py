"""Axial sections of other parts of the body than the abdomen, drawn in Hounsfield units.

The sizes are those of adults: a head of 15 x 19 cm, a neck of 12 cm, a chest of 34 x 23 cm,
shoulders of 46 cm. `scale` makes a smaller or a larger person.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.imaging.volume import Volume

AIR, FAT, MUSCLE, BRAIN, BONE, LUNG, GAS = -1000, -100, 50, 35, 900, -780, -990


def section(
    part: str,
    *,
    scale: float = 1.0,
    pixel_mm: float = 0.8,
    side_px: int = 640,
    shift_mm: tuple[float, float] = (0.0, 0.0),
    noise_hu: float = 10.0,
) -> NDArray[np.int16]:
    """Draw a section, int16 `(side_px, side_px)`.

    Parameters
    ----------
    part : str
        A name in `SECTIONS`.
    shift_mm : tuple of float
        How far to the left of the patient and to the back the body lies.
    """
    drawing = _Drawing(scale=scale, pixel_mm=pixel_mm, side_px=side_px, shift_mm=shift_mm)
    SECTIONS[part](drawing)
    noise = np.random.default_rng(0).normal(0, noise_hu, drawing.pixels.shape)
    blurred = cv2.GaussianBlur(drawing.pixels.astype(np.float32), (0, 0), 0.7 / pixel_mm)
    return (blurred + noise).clip(-1024, 3071).astype(np.int16)


def stack(
    *parts: tuple[str, int], slice_mm: float = 5.0, pixel_mm: float = 1.2, side_px: int = 420
) -> Volume:
    """Stack sections from the feet up: (part, number of slices), with a known place in the body."""
    slices = [
        section(part, pixel_mm=pixel_mm, side_px=side_px)
        for part, count in parts
        for _ in range(count)
    ]
    return volume(np.stack(slices), spacing_mm=(slice_mm, pixel_mm, pixel_mm))


def volume(pixels: NDArray[np.int16], *, spacing_mm: tuple[float, float, float]) -> Volume:
    """An axial volume in HU with a known place in the body."""
    slice_mm, row_mm, column_mm = spacing_mm
    return Volume(
        pixels=pixels,
        is_hu=True,
        spacing_mm=spacing_mm,
        plane="axial",
        affine_lps=(
            (column_mm, 0.0, 0.0, 0.0),
            (0.0, row_mm, 0.0, 0.0),
            (0.0, 0.0, slice_mm, 0.0),
            (0.0, 0.0, 0.0, 1.0),
        ),
    )


class _Drawing:
    def __init__(
        self, *, scale: float, pixel_mm: float, side_px: int, shift_mm: tuple[float, float]
    ) -> None:
        self.pixels = np.full((side_px, side_px), AIR, np.int16)
        self._to_px = scale / pixel_mm
        middle = side_px / 2
        self._middle = (middle + shift_mm[0] / pixel_mm, middle + shift_mm[1] / pixel_mm)

    def ellipse(self, x: float, y: float, width: float, depth: float, hu: int) -> None:
        """Fill an ellipse by its centre and its axes in mm."""
        centre = (self._middle[0] + x * self._to_px, self._middle[1] + y * self._to_px)
        axes = (width * self._to_px, depth * self._to_px)
        cv2.ellipse(self.pixels, (centre, axes, 0), hu, -1)

    def bone(self, x: float, y: float, width: float, depth: float, wall: float = 6.0) -> None:
        """Draw a bone of a hard wall around marrow."""
        self.ellipse(x, y, width, depth, BONE)
        self.ellipse(x, y, width - 2 * wall, depth - 2 * wall, 150)

    def spine(self, y: float) -> None:
        self.bone(0, y, 44, 34)
        self.ellipse(0, y + 26, 30, 24, BONE)
        self.ellipse(0, y + 26, 18, 14, 30)


def _abdomen(draw: _Drawing) -> None:
    draw.ellipse(0, 0, 340, 240, FAT)
    draw.ellipse(0, 0, 310, 210, MUSCLE)
    draw.ellipse(0, -15, 280, 160, FAT)
    draw.ellipse(-70, -20, 130, 130, 60)
    for side in (-1, 1):
        draw.ellipse(side * 75, 40, 55, 60, 35)
        draw.ellipse(side * 145, 0, 8, 24, BONE)
    draw.ellipse(60, -40, 60, 30, GAS)
    draw.spine(60)


def _chest(draw: _Drawing) -> None:
    draw.ellipse(0, 0, 350, 240, FAT)
    draw.ellipse(0, 0, 320, 210, MUSCLE)
    for side in (-1, 1):
        draw.ellipse(side * 75, 0, 120, 160, LUNG)
        draw.ellipse(side * 148, 0, 8, 30, BONE)
    draw.ellipse(20, -20, 90, 80, MUSCLE)
    draw.spine(60)


def _shoulder(draw: _Drawing) -> None:
    draw.ellipse(0, 0, 460, 180, FAT)
    draw.ellipse(0, 0, 430, 150, MUSCLE)
    for side in (-1, 1):
        draw.bone(side * 185, 0, 50, 50)
        draw.ellipse(side * 120, 30, 70, 14, BONE)
    draw.ellipse(0, -25, 18, 18, GAS)
    draw.spine(25)


def _shoulder_arms_up(draw: _Drawing) -> None:
    draw.ellipse(0, 0, 330, 190, FAT)
    draw.ellipse(0, 0, 310, 170, MUSCLE)
    for side in (-1, 1):
        draw.bone(side * 125, 10, 50, 50, wall=10)
        draw.ellipse(side * 60, -10, 30, 36, LUNG)
    draw.ellipse(0, -25, 18, 18, GAS)
    draw.spine(35)


def _neck(draw: _Drawing) -> None:
    draw.ellipse(0, 0, 130, 128, FAT)
    draw.ellipse(0, 0, 118, 116, MUSCLE)
    draw.ellipse(0, -25, 18, 20, GAS)
    draw.bone(0, 15, 40, 30)


def _vault(draw: _Drawing) -> None:
    draw.ellipse(0, 0, 155, 192, MUSCLE)
    draw.ellipse(0, 0, 146, 183, BONE)
    draw.ellipse(0, 0, 132, 169, BRAIN)
    draw.ellipse(-12, 0, 8, 40, 5)
    draw.ellipse(0, 20, 4, 4, 300)


def _face(draw: _Drawing) -> None:
    draw.ellipse(0, 0, 155, 190, MUSCLE)
    for side in (-1, 1):
        draw.ellipse(side * 55, 35, 40, 60, BONE)
        draw.ellipse(side * 30, -40, 34, 36, GAS)
        draw.ellipse(side * 50, -40, 6, 40, BONE)
    draw.ellipse(0, -60, 20, 60, BONE)
    draw.ellipse(0, 60, 70, 14, BONE)


def _legs(draw: _Drawing) -> None:
    for side in (-1, 1):
        draw.ellipse(side * 100, 0, 170, 170, FAT)
        draw.ellipse(side * 100, 0, 145, 145, MUSCLE)
        draw.bone(side * 100, 0, 34, 34, wall=9)


def _legs_touching(draw: _Drawing) -> None:
    for side in (-1, 1):
        draw.ellipse(side * 82, 0, 180, 175, FAT)
        draw.ellipse(side * 82, 0, 150, 150, MUSCLE)
        draw.bone(side * 82, 0, 36, 36, wall=9)


def _thigh(draw: _Drawing) -> None:
    draw.ellipse(0, 0, 190, 180, FAT)
    draw.ellipse(0, 0, 160, 150, MUSCLE)
    draw.bone(8, -5, 36, 36, wall=9)


def _knees(draw: _Drawing) -> None:
    for side in (-1, 1):
        draw.ellipse(side * 90, 0, 125, 130, MUSCLE)
        draw.bone(side * 90, 5, 85, 65, wall=8)
        draw.ellipse(side * 90, -48, 40, 18, BONE)


def _pelvis(draw: _Drawing) -> None:
    draw.ellipse(0, 0, 370, 230, FAT)
    draw.ellipse(0, 0, 330, 190, MUSCLE)
    for side in (-1, 1):
        draw.bone(side * 95, 0, 70, 60, wall=12)
    draw.ellipse(0, 0, 90, 80, 10)
    draw.ellipse(0, 75, 30, 8, BONE)


SECTIONS = {
    "abdomen": _abdomen,
    "chest": _chest,
    "shoulder": _shoulder,
    "shoulder_arms_up": _shoulder_arms_up,
    "neck": _neck,
    "vault": _vault,
    "face": _face,
    "legs": _legs,
    "legs_touching": _legs_touching,
    "thigh": _thigh,
    "knees": _knees,
    "pelvis": _pelvis,
}
