"""Cuts, pictures and NIfTI files of a volume, for a browser."""

from detection.imaging.display.nifti_writer import nifti_parts, nifti_size, nifti_step
from detection.imaging.display.planes import (
    as_plane,
    cut,
    is_oriented,
    letters_of,
    map_cut,
    planes_of,
    shown_axes,
)
from detection.imaging.display.render import overlay_png, pixels_png

__all__ = [
    "as_plane",
    "cut",
    "is_oriented",
    "letters_of",
    "map_cut",
    "nifti_parts",
    "nifti_size",
    "nifti_step",
    "overlay_png",
    "pixels_png",
    "planes_of",
    "shown_axes",
]
