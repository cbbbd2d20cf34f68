"""Synthetic volumes with landmarks, stored as any plane would be."""

import numpy as np

from detection.imaging.volume import Volume

# Towards which side the slices, rows and columns of each plane run, as Volume says.
_STORED = {"axial": "HPL", "coronal": "PFL", "sagittal": "LFP"}
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


def picture_volume(*, slices: int = 1, plane: str = "unknown") -> Volume:
    pixels = np.zeros((slices, 6, 8), np.uint8)
    return Volume(pixels=pixels, is_hu=False, plane=plane)
