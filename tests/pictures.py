"""What the tests draw: bodies that look a little like CT, and volumes with landmarks.

Files of DICOM, PNG and the like are made in `tests/imaging/synthetic.py`.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.imaging.volume import Volume

# Towards which side the slices, rows and columns of each plane run, as Volume says.
_STORED = {"axial": "HPL", "coronal": "PFL", "sagittal": "LFP"}
# The volume with a block: slices, rows and columns, and what it is made of.
BLOCK_SIDES = (24, 60, 80)
BLOCK_HU = 300
_LPS = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "H": (2, 1), "F": (2, -1)}


def oriented_volume(
    *,
    plane: str = "axial",
    sides: tuple[int, int, int] = (12, 20, 30),
    spacing_mm: tuple[float, float, float] = (3.0, 1.0, 0.5),
    marks: dict[str, int] | None = None,
) -> Volume:
    """A volume of air with one bright voxel near each named side of the patient.

    Parameters
    ----------
    sides, spacing_mm : tuple
        Of the stored array, and in mm.
    marks : dict
        HU by the letter of the side (L R A P H F): a bar in the middle of the volume, a quarter
        from that side.
    """
    pixels_hu = np.full(sides, -1000, np.int16)
    affine = np.eye(4)
    for axis, letter in enumerate(_STORED[plane]):
        coordinate, sign = _LPS[letter]
        # The columns of the affine belong to column, row and slice.
        affine[:3, 2 - axis] = 0
        affine[coordinate, 2 - axis] = sign * spacing_mm[axis]
    affine[:3, 3] = (-10, -20, 100)
    for letter, value_hu in (marks or {}).items():
        coordinate, sign = _LPS[letter]
        axis = next(a for a, s in enumerate(_STORED[plane]) if _LPS[s][0] == coordinate)
        runs_there = _LPS[_STORED[plane][axis]][1] == sign
        place = [side // 2 for side in sides]
        place[axis] = sides[axis] * 3 // 4 if runs_there else sides[axis] // 4
        pixels_hu[tuple(place)] = value_hu
    return Volume(
        pixels=pixels_hu,
        is_hu=True,
        spacing_mm=spacing_mm,
        plane=plane,
        affine_lps=tuple(tuple(float(value) for value in row) for row in affine),
    )


def block_volume() -> Volume:
    """Air with a block of bone at the patient's right, in the middle of all other directions."""
    volume = oriented_volume(sides=BLOCK_SIDES, spacing_mm=(3.0, 1.0, 1.0))
    volume.pixels[8:16, 25:35, 10:20] = BLOCK_HU
    return volume


def picture_volume(*, slices: int = 1, plane: str = "unknown") -> Volume:
    pixels = np.zeros((slices, 6, 8), np.uint8)
    return Volume(pixels=pixels, is_hu=False, plane=plane)


def body(
    *, stone_at: tuple[int, int] | None = None, shape: tuple[int, int] = (320, 391)
) -> NDArray[np.uint8]:
    """A grey body with two kidneys and a spine; a bright stone of 10 px where asked for."""
    picture = np.zeros(shape, np.uint8)
    cv2.ellipse(picture, (195, 160), (180, 140), 0, 0, 360, 60, -1)
    cv2.ellipse(picture, (195, 160), (165, 125), 0, 0, 360, 95, -1)
    for x in (110, 280):
        cv2.ellipse(picture, (x, 160), (32, 55), 0, 0, 360, 70, -1)
        cv2.ellipse(picture, (x, 160), (26, 48), 0, 0, 360, 125, -1)
    cv2.rectangle(picture, (175, 20), (215, 300), 235, -1)
    if stone_at:
        cv2.circle(picture, stone_at, 5, 255, -1)
    noise = np.random.default_rng(1).normal(0, 6, shape)
    blurred = cv2.GaussianBlur(picture, (0, 0), 0.8).astype(np.float32)
    return np.where(blurred > 3, np.clip(blurred + noise, 0, 255), 0).astype(np.uint8)


def seeded_body(seed: int) -> NDArray[np.uint8]:
    """A body of a patient's own: wider than high, a bright spine below, darker in the middle."""
    generator = np.random.default_rng(seed)
    picture = np.zeros((200, 240), np.uint8)
    width, height = (int(value) for value in generator.integers((85, 60), (100, 75)))
    cv2.ellipse(picture, (120, 100), (width, height), 0, 0, 360, 110, -1)
    cv2.ellipse(picture, (120, 80), (width // 2, height // 2), 0, 0, 360, 60, -1)
    cv2.circle(picture, (120, 100 + height * 2 // 3), 14, 230, -1)
    noise = generator.normal(0, 4, picture.shape)
    return np.clip(picture + noise * (picture > 0), 0, 255).astype(np.uint8)


def hollow_body_hu(*, inside_hu: int) -> NDArray[np.int16]:
    """An axial body of 40 HU with two round spaces in it, in air."""
    pixels = np.full((256, 256), -1000, np.int16)
    cv2.ellipse(pixels, (128, 128), (110, 80), 0, 0, 360, 40, -1)
    for x in (80, 176):
        cv2.circle(pixels, (x, 128), 35, inside_hu, -1)
    return pixels


def textured_body(shape: tuple[int, int]) -> NDArray[np.uint8]:
    """A body of about grey 100 with texture, on a black rim of 20 px."""
    rows, columns = shape
    grey = np.zeros(shape, np.uint8)
    texture = np.random.default_rng(0).integers(90, 111, (rows - 40, columns - 40))
    grey[20:-20, 20:-20] = texture
    return grey


def smooth_picture(seed: int) -> NDArray[np.uint8]:
    """A smooth picture of its own for each seed, 320 x 400."""
    noise = np.random.default_rng(seed).normal(0, 1, (320, 400)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 18)
    return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
