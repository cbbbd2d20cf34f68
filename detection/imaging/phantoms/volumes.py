"""Draws synthetic CT volumes of an abdomen in HU, with stones of known place and size.

They prove that geometry and measurement are right, and say nothing about people.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.imaging.phantoms.tissues import (
    AIR,
    BLOOD,
    BOWEL,
    CORTEX,
    FAT,
    FLUID,
    FOAM,
    GAS,
    KIDNEY,
    LIVER,
    MARROW,
    MUSCLE,
    SHELL,
    SPLEEN,
)
from detection.imaging.volume import Volume

# Extent of the volume in mm: the drawn body and the air around it.
WIDTH_MM, DEPTH_MM = 400.0, 300.0
HEIGHT_MM = 220.0
_KIDNEY_X, _KIDNEY_Y, _KIDNEY_RADII = 66.0, 28.0, (27.0, 25.0, 54.0)
# Scanner blur (standard deviation, in the slice) and noise of a thin-slice scan.
BLUR_MM, NOISE_HU = 0.5, 12.0
_STONE_SAMPLES = 6


@dataclass(frozen=True)
class KnownStone:
    """A stone that was drawn: an ellipsoid along the axes of the body.

    `centre_lps_mm` is x to the left, y to the back, z to the head; `diameters_mm` has the same
    order.
    """

    centre_lps_mm: tuple[float, float, float]
    diameters_mm: tuple[float, float, float]
    hu: float

    @property
    def diameter_mm(self) -> float:
        return max(self.diameters_mm)

    @property
    def volume_mm3(self) -> float:
        return float(np.pi / 6 * np.prod(self.diameters_mm))

    @property
    def side(self) -> str:
        return "left" if self.centre_lps_mm[0] > 0 else "right"


@dataclass(frozen=True, eq=False)
class PhantomVolume:
    """A synthetic axial volume and the truth about it.

    `clean_hu` holds the pixels before the noise was added, float32 of the volume's shape.
    """

    volume: Volume
    stones: tuple[KnownStone, ...]
    clean_hu: NDArray[np.float32]


def place_stones(
    sizes_mm: Sequence[float], *, hu: Sequence[float], generator: np.random.Generator
) -> tuple[KnownStone, ...]:
    """Place up to four stones in the poles of the two kidneys, one each, in the given order.

    Parameters
    ----------
    sizes_mm, hu : sequence of float
        Longest diameter in mm and density in HU of each stone; its other diameters are 0.7 to 1
        times the longest.
    """
    poles = [(1, -1), (-1, 1), (1, 1), (-1, -1)]
    stones = []
    for (side, pole), size_mm, density in zip(poles, sizes_mm, hu, strict=False):
        shares = np.array([1.0, *generator.uniform(0.7, 1.0, 2)])
        generator.shuffle(shares)
        shift = generator.uniform(-3, 3, 3)
        stones.append(
            KnownStone(
                centre_lps_mm=(
                    float(side * (_KIDNEY_X + 4) + shift[0]),
                    float(_KIDNEY_Y + shift[1]),
                    float(pole * 26 + shift[2]),
                ),
                diameters_mm=tuple(float(size_mm * share) for share in shares),  # type: ignore[arg-type]
                hu=float(density),
            )
        )
    return tuple(stones)


def make_phantom_volume(
    stones: Sequence[KnownStone] = (),
    *,
    generator: np.random.Generator,
    slice_mm: float = 1.0,
    pixel_mm: float = 0.8,
    height_mm: float = HEIGHT_MM,
    noise_hu: float = NOISE_HU,
    blur_mm: float = BLUR_MM,
    has_table: bool = True,
    has_arms: bool = False,
) -> PhantomVolume:
    """Draw an abdomen around the origin of the patient's coordinates.

    A slice averages its stones over its whole thickness; organs are drawn as at its middle.

    Parameters
    ----------
    generator : np.random.Generator
        The same state gives the same volume.
    slice_mm, pixel_mm : float
        Distance of the slices, which touch, and edge of a pixel.
    noise_hu : float
        Standard deviation of the noise.
    blur_mm : float
        Standard deviation of the blur within a slice.

    Returns
    -------
    PhantomVolume
        Axial, in HU, in canonical order.
    """
    columns, rows = round(WIDTH_MM / pixel_mm), round(DEPTH_MM / pixel_mm)
    slices = max(1, round(height_mm / slice_mm))
    origin = (
        -(columns - 1) / 2 * pixel_mm,
        -(rows - 1) / 2 * pixel_mm,
        -(slices - 1) / 2 * slice_mm,
    )
    body = _Body(generator, has_table=has_table, has_arms=has_arms)
    clean_hu = np.empty((slices, rows, columns), np.float32)
    for index in range(slices):
        canvas = _Canvas(clean_hu[index], origin=origin[:2], pixel_mm=pixel_mm)
        body.draw(canvas, z=origin[2] + index * slice_mm)
    spacing_mm = (slice_mm, pixel_mm, pixel_mm)
    for stone in stones:
        _draw_stone(clean_hu, stone, origin=origin, spacing_mm=spacing_mm)
    pixels_hu = np.empty(clean_hu.shape, np.int16)
    for index in range(slices):
        if blur_mm:
            clean_hu[index] = cv2.GaussianBlur(clean_hu[index], (0, 0), blur_mm / pixel_mm)
        noisy = clean_hu[index] + _noise((rows, columns), noise_hu, generator)
        pixels_hu[index] = np.rint(noisy).clip(-1024, 3071)
    return PhantomVolume(
        volume=Volume(
            pixels=pixels_hu,
            is_hu=True,
            spacing_mm=spacing_mm,
            plane="axial",
            affine_lps=(
                (pixel_mm, 0.0, 0.0, origin[0]),
                (0.0, pixel_mm, 0.0, origin[1]),
                (0.0, 0.0, slice_mm, origin[2]),
                (0.0, 0.0, 0.0, 1.0),
            ),
        ),
        stones=tuple(stones),
        clean_hu=clean_hu,
    )


class _Canvas:
    """One slice being drawn by ellipses with soft edges, in millimetres of the body."""

    def __init__(
        self, pixels_hu: NDArray[np.float32], *, origin: tuple[float, float], pixel_mm: float
    ) -> None:
        self.pixels_hu = pixels_hu
        self.origin = origin
        self.pixel_mm = pixel_mm
        pixels_hu[:] = AIR

    def ellipse(self, x: float, y: float, width: float, depth: float, hu: float) -> None:
        """Fill an ellipse, by its centre and half axes in mm."""
        if width <= 0 or depth <= 0:
            return
        rows, columns = self.pixels_hu.shape
        x, y = (x - self.origin[0]) / self.pixel_mm, (y - self.origin[1]) / self.pixel_mm
        width, depth = width / self.pixel_mm, depth / self.pixel_mm
        left, right = max(0, int(x - width - 1)), min(columns, int(x + width) + 2)
        top, bottom = max(0, int(y - depth - 1)), min(rows, int(y + depth) + 2)
        if left >= right or top >= bottom:
            return
        across = ((np.arange(left, right, dtype=np.float32) - x) / width) ** 2
        along = ((np.arange(top, bottom, dtype=np.float32) - y) / depth) ** 2
        radius = np.sqrt(along[:, None] + across[None])
        # The approximate distance to the rim in pixels; one pixel of it is the soft edge.
        cover = np.clip((1 - radius) * min(width, depth) + 0.5, 0, 1)
        part = self.pixels_hu[top:bottom, left:right]
        part += cover * (np.float32(hu) - part)

    def ring(self, x: float, y: float, width: float, depth: float, *, wall: float) -> None:
        """Draw a bone: cortex around marrow."""
        self.ellipse(x, y, width, depth, CORTEX)
        self.ellipse(x, y, width - wall, depth - wall, MARROW)


class _Body:
    """The anatomy of one phantom; the patient's left is +x, the back is +y, the head is +z."""

    def __init__(self, generator: np.random.Generator, *, has_table: bool, has_arms: bool) -> None:
        self.has_table, self.has_arms = has_table, has_arms
        self.width, self.depth = generator.uniform(150, 165), generator.uniform(105, 115)
        self.wall = generator.uniform(14, 20)
        self.kidney_z = {side: float(generator.uniform(-5, 5)) for side in (-1, 1)}
        self.bowel = [
            (
                float(generator.uniform(-75, 75)),
                float(generator.uniform(-62, -25)),
                float(generator.uniform(-110, 110)),
                float(generator.uniform(12, 20)),
                bool(generator.random() < 0.6),
            )
            for _ in range(14)
        ]

    def draw(self, canvas: _Canvas, *, z: float) -> None:
        if self.has_table:
            canvas.ellipse(0, self.depth + 20, 180, 17, SHELL)
            canvas.ellipse(0, self.depth + 20, 177, 14, FOAM)
        if self.has_arms:
            for side in (-1, 1):
                canvas.ellipse(side * (self.width + 23), 20, 25, 32, MUSCLE)
                canvas.ring(side * (self.width + 25), 20, 10, 10, wall=3)
        canvas.ellipse(0, 0, self.width, self.depth, MUSCLE)  # The skin.
        canvas.ellipse(0, 0, self.width - 3, self.depth - 3, FAT)
        wall = self.wall
        canvas.ellipse(0, 0, self.width - wall, self.depth - wall, MUSCLE)
        canvas.ellipse(0, -8, self.width - wall - 11, self.depth - wall - 17, FAT)
        self._organs(canvas, z)
        self._ribs(canvas, z)
        self._spine(canvas, z)
        for side in (-1, 1):
            self._kidney(canvas, side, z)

    def _organs(self, canvas: _Canvas, z: float) -> None:
        _ellipsoid(canvas, (-72, -22, 85), (58, 58, 88), LIVER, z)
        _ellipsoid(canvas, (92, 10, 80), (28, 42, 50), SPLEEN, z)
        for x, y, at, radius, has_gas in self.bowel:
            _ellipsoid(canvas, (x, y, at), (radius, radius * 0.8, 30), MUSCLE, z)
            _ellipsoid(canvas, (x, y, at), (radius - 3, radius * 0.8 - 3, 27), BOWEL, z)
            if has_gas:
                _ellipsoid(canvas, (x, y - 4, at), (radius * 0.6, radius * 0.35, 20), GAS, z)
        canvas.ellipse(14, 18, 10, 10, BLOOD)
        canvas.ellipse(-16, 18, 11, 9, BLOOD)

    def _ribs(self, canvas: _Canvas, z: float) -> None:
        # Each rib runs down and forwards, so that it is a spot that moves with z.
        for number in range(5):
            turn = np.deg2rad(20 + number * 38 - z * 0.6)
            if z < -40 or not 0.1 < turn < 2.4:
                continue
            for side in (-1, 1):
                x = side * np.cos(turn - 0.6) * (self.width - self.wall - 4)
                y = -np.sin(turn - 0.9) * (self.depth - self.wall - 4)
                canvas.ring(float(x), float(y), 6, 5, wall=1.5)

    def _spine(self, canvas: _Canvas, z: float) -> None:
        for side in (-1, 1):
            canvas.ellipse(side * 48, 78, 34, 17, MUSCLE)
            canvas.ellipse(side * 34, 46, 13, 18, MUSCLE)
        is_disc = z % 36 < 7
        if is_disc:
            canvas.ellipse(0, 48, 22, 17, 75)
        else:
            canvas.ring(0, 48, 23, 18, wall=2.5)
        canvas.ring(0, 76, 14, 13, wall=2.5)
        canvas.ellipse(0, 74, 8, 7, 20)
        canvas.ellipse(0, 90, 3, 8, CORTEX)

    def _kidney(self, canvas: _Canvas, side: int, z: float) -> None:
        x, y, at = side * _KIDNEY_X, _KIDNEY_Y, self.kidney_z[side]
        width, depth, height = _KIDNEY_RADII
        _ellipsoid(canvas, (x, y, at), (width + 9, depth + 9, height + 10), FAT, z)
        _ellipsoid(canvas, (x, y, at), (width, depth, height), KIDNEY, z)
        inwards = x - side * width * 0.5
        _ellipsoid(canvas, (inwards, y, at), (width * 0.4, depth * 0.4, 18), -70, z)
        _ellipsoid(canvas, (inwards, y, at), (width * 0.25, depth * 0.25, 9), FLUID, z)


def _ellipsoid(
    canvas: _Canvas,
    centre: tuple[float, float, float],
    radii: tuple[float, float, float],
    hu: float,
    z: float,
) -> None:
    share = 1 - ((z - centre[2]) / radii[2]) ** 2
    if share > 0:
        narrow = float(np.sqrt(share))
        canvas.ellipse(centre[0], centre[1], radii[0] * narrow, radii[1] * narrow, hu)


def _draw_stone(
    pixels_hu: NDArray[np.float32],
    stone: KnownStone,
    *,
    origin: tuple[float, float, float],
    spacing_mm: tuple[float, float, float],
) -> None:
    """Blend a stone into the voxels by the share of each that it covers, by supersampling."""
    offsets = (np.arange(_STONE_SAMPLES) + 0.5) / _STONE_SAMPLES - 0.5
    windows, squares = [], []
    # Axes in the order slice, row, column: z, y, x.
    for axis in range(3):
        step = spacing_mm[axis]
        middle = (stone.centre_lps_mm[2 - axis] - origin[2 - axis]) / step
        radius = stone.diameters_mm[2 - axis] / 2 / step
        first = max(0, int(np.floor(middle - radius)) - 1)
        end = min(pixels_hu.shape[axis], int(np.ceil(middle + radius)) + 2)
        windows.append(slice(first, end))
        places = (np.arange(first, end)[:, None] + offsets).ravel()
        squares.append(((places - middle) / radius) ** 2)
    inside = squares[0][:, None, None] + squares[1][None, :, None] + squares[2] <= 1
    n = _STONE_SAMPLES
    z, y, x = (len(square) // n for square in squares)
    cover = inside.reshape(z, n, y, n, x, n).mean(axis=(1, 3, 5), dtype=np.float32)
    part = pixels_hu[tuple(windows)]
    part += cover * (np.float32(stone.hu) - part)


def _noise(
    shape: tuple[int, int], noise_hu: float, generator: np.random.Generator
) -> NDArray[np.float32]:
    # Reconstruction makes neighbouring pixels share their noise.
    noise = cv2.GaussianBlur(generator.standard_normal(shape).astype(np.float32), (0, 0), 0.8)
    return noise * np.float32(noise_hu / max(float(noise.std()), 1e-6))
