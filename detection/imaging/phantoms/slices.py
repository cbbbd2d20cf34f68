"""Draws synthetic CT slices with known stones; organs are ellipses with the HU of their tissue.

A model that is trained on them has learnt nothing about people.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.imaging.phantoms.tissues import (
    AIR,
    BLOOD,
    BOWEL,
    CORTEX,
    FAT,
    GAS,
    KIDNEY,
    LIVER,
    MARROW,
    MUSCLE,
    SPLEEN,
)

View = Literal["axial", "coronal"]
# Millimetres per pixel: a body of 36 cm fills an image of about 400 pixels.
SPACING_MM = 0.95
_SIZE = {"axial": (320, 400), "coronal": (400, 336)}

_STONE_MM, _STONE_HU = (3.0, 12.0), (450.0, 1300.0)
# Scanner blur (standard deviation in pixels) and noise of a low-dose scan.
_BLUR_PX, _NOISE_HU = 0.8, 14.0


@dataclass(frozen=True)
class Phantom:
    """One synthetic slice and the truth about it.

    Attributes
    ----------
    pixels_hu : np.ndarray
        int16 `(rows, columns)`.
    view : str
        "axial" or "coronal".
    boxes : tuple of tuple
        (x0, y0, x1, y1) in pixels, tight around each stone; empty without stones.
    """

    pixels_hu: NDArray[np.int16]
    view: View
    boxes: tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True)
class _Kidney:
    x: float
    y: float
    # Half axes in pixels, angle in degrees; `side` is -1 on the left of the picture, else 1.
    width: float
    height: float
    angle: float
    side: int


class _Canvas:
    """A slice being drawn, in Hounsfield units, by ellipses with soft edges."""

    def __init__(self, view: View, generator: np.random.Generator) -> None:
        self.rows, self.columns = _SIZE[view]
        self.generator = generator
        self.pixels_hu = np.full((self.rows, self.columns), AIR, np.float32)

    def ellipse(
        self, x: float, y: float, width: float, height: float, hu: float, angle: float = 0.0
    ) -> tuple[float, float, float, float] | None:
        """Fill an ellipse: centre and half axes in pixels, angle in degrees.

        Returns
        -------
        tuple of float or None
            x0, y0, x1, y1 along the outer edges of the pixels that are covered by half or more;
            None if the image holds none.
        """
        # Only the part of the image that the ellipse can cover is computed.
        reach = max(width, height) + 2
        left, right = max(0, int(x - reach)), min(self.columns, int(x + reach) + 1)
        top, bottom = max(0, int(y - reach)), min(self.rows, int(y + reach) + 1)
        if left >= right or top >= bottom:
            return None
        rows, columns = np.mgrid[top:bottom, left:right].astype(np.float32)
        turned = np.deg2rad(angle)
        along = (columns - x) * np.cos(turned) + (rows - y) * np.sin(turned)
        across = (rows - y) * np.cos(turned) - (columns - x) * np.sin(turned)
        radius = np.sqrt((along / width) ** 2 + (across / height) ** 2)
        # The approximate distance to the rim in pixels; one pixel of it is the soft edge.
        cover = np.clip((1 - radius) * min(width, height) + 0.5, 0, 1).astype(np.float32)
        part = self.pixels_hu[top:bottom, left:right]
        part += cover * (np.float32(hu) - part)
        covered_rows, covered_columns = np.nonzero(cover >= 0.5)
        if not len(covered_rows):
            return None
        return (
            float(left + covered_columns.min()),
            float(top + covered_rows.min()),
            float(left + covered_columns.max() + 1),
            float(top + covered_rows.max() + 1),
        )

    def vary(self, value: float, share: float) -> float:
        """Return the value, changed at random by up to this share of it."""
        return float(value * self.generator.uniform(1 - share, 1 + share))


def make_phantom(view: View, *, has_stone: bool, generator: np.random.Generator) -> Phantom:
    """Draw one slice.

    Parameters
    ----------
    view : str
        "axial" or "coronal".
    has_stone : bool
        Whether one to three stones of 3 to 12 mm lie in the kidneys.
    generator : np.random.Generator
        The same state gives the same slice.
    """
    canvas = _Canvas(view, generator)
    draw: Callable[[_Canvas], list[_Kidney]] = _draw_axial if view == "axial" else _draw_coronal
    kidneys = draw(canvas)
    boxes = _draw_stones(canvas, kidneys) if has_stone else ()
    pixels = cv2.GaussianBlur(canvas.pixels_hu, (0, 0), _BLUR_PX)
    # Reconstruction makes neighbouring pixels share their noise.
    noise = cv2.GaussianBlur(generator.standard_normal(pixels.shape).astype(np.float32), (0, 0), 1)
    noise *= canvas.vary(_NOISE_HU, 0.3) / float(noise.std())
    pixels_hu = np.rint(pixels + noise).clip(-1024, 3071).astype(np.int16)
    return Phantom(pixels_hu=pixels_hu, view=view, boxes=boxes)


def _draw_axial(canvas: _Canvas) -> list[_Kidney]:
    vary, generator = canvas.vary, canvas.generator
    x, y = canvas.columns / 2, canvas.rows * 0.5
    width, height = vary(178, 0.06), vary(128, 0.07)
    canvas.ellipse(x, y, width, height, MUSCLE)  # The skin.
    canvas.ellipse(x, y, width - 3, height - 3, FAT)
    wall = vary(17, 0.3)
    canvas.ellipse(x, y, width - wall, height - wall, MUSCLE)
    canvas.ellipse(x, y - 8, width - wall - 11, height - wall - 17, FAT)
    # The muscles of the back and the spine they carry.
    spine_y = y + height * 0.47
    for side in (-1, 1):
        canvas.ellipse(x + side * 50, spine_y + 28, 40, 21, MUSCLE, angle=-side * 12)
        canvas.ellipse(x + side * 33, spine_y - 3, 14, 19, MUSCLE)
    canvas.ellipse(x, spine_y + 34, 5, 22, CORTEX)
    for side in (-1, 1):
        canvas.ellipse(x + side * 20, spine_y + 22, 20, 5, CORTEX, angle=side * 14)
    _bone(canvas, x, spine_y, vary(25, 0.08), vary(19, 0.08))
    canvas.ellipse(x, spine_y + 22, 8, 6, 20)
    # Ribs are as bright as stones and are none.
    for angle in (18, 42, 140, 163, *(generator.uniform(-25, 5, 2) + (0, 180))):
        turned = np.deg2rad(angle + generator.uniform(-5, 5))
        inner = 1 - (wall + 4) / width
        rib_x, rib_y = x + np.cos(turned) * width * inner, y + np.sin(turned) * height * inner
        tilt = np.rad2deg(np.arctan2(np.cos(turned) * height, -np.sin(turned) * width))
        _bone(canvas, rib_x, rib_y, vary(11, 0.2), 4.2, angle=float(tilt), cortex=1.5)
    canvas.ellipse(x - 74, y - 26, vary(60, 0.1), vary(52, 0.1), vary(LIVER, 0.1), angle=-30)
    canvas.ellipse(x + 122, y + 6, vary(20, 0.15), vary(42, 0.15), SPLEEN, angle=10)
    canvas.ellipse(x + 7, spine_y - 32, 10, 10, BLOOD)
    canvas.ellipse(x - 17, spine_y - 31, 12, 9, BLOOD)
    for _ in range(int(generator.integers(4, 7))):
        _bowel(canvas, x + generator.uniform(-10, 100), y + generator.uniform(-78, -14))
    kidneys = []
    for side in (-1, 1):
        kidney = _Kidney(
            x=x + side * vary(82, 0.07),
            y=spine_y - vary(8, 0.9),
            width=vary(25, 0.12),
            height=vary(33, 0.12),
            angle=side * vary(28, 0.4),
            side=side,
        )
        # The fat around the kidney parts it from liver and bowel.
        canvas.ellipse(
            kidney.x, kidney.y, kidney.width + 8, kidney.height + 8, FAT, angle=kidney.angle
        )
        _draw_kidney(canvas, kidney)
        kidneys.append(kidney)
    return kidneys


def _draw_coronal(canvas: _Canvas) -> list[_Kidney]:
    vary, generator = canvas.vary, canvas.generator
    x, middle = canvas.columns / 2, canvas.rows / 2
    # Two wide ellipses, far taller than the image, make the flanks.
    half = vary(150, 0.04)
    canvas.ellipse(x, middle, half, canvas.rows * 1.3, MUSCLE)
    canvas.ellipse(x, middle, half - 3, canvas.rows * 1.3, FAT)
    wall = vary(15, 0.3)
    canvas.ellipse(x, middle, half - wall, canvas.rows * 1.25, MUSCLE)
    canvas.ellipse(x, middle, half - wall - 12, canvas.rows * 1.2, FAT)
    # The lungs' lower ends, liver and spleen below them.
    for side in (-1, 1):
        canvas.ellipse(x + side * 68, -30, 54, vary(72, 0.15), GAS)
    canvas.ellipse(x - 82, 70, vary(52, 0.1), vary(62, 0.1), vary(LIVER, 0.1), angle=-12)
    canvas.ellipse(x + 96, 62, vary(26, 0.15), vary(42, 0.15), SPLEEN, angle=-12)
    for row in range(20, 250, 42):
        for side in (-1, 1):
            rib_x = x + side * (half - wall - 8 - max(0, 60 - row) * 0.35)
            rib_y = row + vary(8, 0.8)
            _bone(canvas, rib_x, rib_y, 4.5, 9, angle=-side * 18, cortex=1.5)
    # Psoas muscles, spreading downwards, and the spine between them.
    for side in (-1, 1):
        canvas.ellipse(x + side * 44, 285, 20, 125, MUSCLE, angle=-side * 11)
    pitch = vary(37, 0.06)
    for vertebra in range(9):
        y = vertebra * pitch + 6
        canvas.ellipse(x, y + pitch / 2, 21, 5, 75)
        _bone(canvas, x + generator.uniform(-1, 1), y, 23 + vertebra * 0.8, pitch * 0.40)
    for side in (-1, 1):
        _bone(canvas, x + side * 93, 372, 17, 62, angle=-side * 32, cortex=4)
    for _ in range(int(generator.integers(5, 9))):
        side = generator.choice((-1, 1))
        _bowel(canvas, x + side * generator.uniform(62, 112), generator.uniform(232, 330))
    kidneys = []
    for side in (-1, 1):
        kidney = _Kidney(
            x=x + side * vary(71, 0.06),
            y=vary(162, 0.06) + (8 if side < 0 else -4),
            width=vary(26, 0.12),
            height=vary(55, 0.09),
            angle=-side * vary(14, 0.4),
            side=side,
        )
        canvas.ellipse(
            kidney.x, kidney.y, kidney.width + 9, kidney.height + 10, FAT, angle=kidney.angle
        )
        _draw_kidney(canvas, kidney)
        kidneys.append(kidney)
    return kidneys


def _draw_kidney(canvas: _Canvas, kidney: _Kidney) -> None:
    canvas.ellipse(
        kidney.x,
        kidney.y,
        kidney.width,
        kidney.height,
        canvas.vary(KIDNEY, 0.15),
        angle=kidney.angle,
    )
    # The sinus: fat that opens towards the spine, with the fluid of the pelvis in it.
    sinus_x = kidney.x - kidney.side * kidney.width * 0.48
    canvas.ellipse(
        sinus_x, kidney.y, kidney.width * 0.5, kidney.height * 0.42, -70, angle=kidney.angle
    )
    canvas.ellipse(
        sinus_x, kidney.y, kidney.width * 0.3, kidney.height * 0.2, 8, angle=kidney.angle
    )


def _draw_stones(
    canvas: _Canvas, kidneys: list[_Kidney]
) -> tuple[tuple[float, float, float, float], ...]:
    generator = canvas.generator
    boxes: list[tuple[float, float, float, float]] = []
    centers: list[tuple[float, float]] = []
    apart = _STONE_MM[1] / SPACING_MM + 4
    for _ in range(int(generator.choice((1, 1, 1, 2, 3)))):
        kidney = kidneys[int(generator.integers(len(kidneys)))]
        # The stone lies in the calyces, between the sinus and the outer rim.
        direction = generator.uniform(-1.2, 1.2)
        x = kidney.x + kidney.side * np.cos(direction) * kidney.width * generator.uniform(0, 0.45)
        y = kidney.y + np.sin(direction) * kidney.height * generator.uniform(0.1, 0.55)
        longest = generator.uniform(*_STONE_MM) / SPACING_MM / 2
        shortest = max(_STONE_MM[0] / SPACING_MM / 2, longest * generator.uniform(0.6, 1))
        angle = float(generator.uniform(0, 180))
        # Two stones that grow together would need one box.
        if any(np.hypot(x - other_x, y - other_y) < apart for other_x, other_y in centers):
            continue
        hu = generator.uniform(*_STONE_HU)
        box = canvas.ellipse(x, y, longest, shortest, hu, angle=angle)
        if box is not None:
            centers.append((x, y))
            boxes.append(box)
    return tuple(boxes)


def _bone(
    canvas: _Canvas,
    x: float,
    y: float,
    width: float,
    height: float,
    *,
    angle: float = 0.0,
    cortex: float = 2.5,
) -> None:
    canvas.ellipse(x, y, width, height, CORTEX, angle)
    canvas.ellipse(x, y, width - cortex, height - cortex, canvas.vary(MARROW, 0.2), angle)


def _bowel(canvas: _Canvas, x: float, y: float) -> None:
    width, height = canvas.vary(19, 0.35), canvas.vary(15, 0.3)
    canvas.ellipse(x, y, width, height, MUSCLE)
    canvas.ellipse(x, y, width - 3, height - 3, BOWEL)
    if canvas.generator.random() < 0.6:
        canvas.ellipse(x, y - height * 0.25, width * 0.7, height * 0.5, GAS)
