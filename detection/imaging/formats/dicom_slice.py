"""Decodes one DICOM CT slice to a volume of one slice."""

from pathlib import Path

import numpy as np

from detection.imaging.errors import Code, ImageError
from detection.imaging.formats.dicom_header import damage_named, frame_datasets, open_dicom
from detection.imaging.formats.dicom_pixels import decode_frame, frames_of, representable_hu
from detection.imaging.formats.dicom_place import (
    numbers,
    plane_of,
    slice_arrangement,
    spacing_mm_of,
)
from detection.imaging.hounsfield import HounsfieldJudge
from detection.imaging.limits import LIMITS, Limits
from detection.imaging.volume import Volume


def decode_dicom(path: Path, *, limits: Limits = LIMITS) -> Volume:
    """Decode a single-frame CT image.

    Parameters
    ----------
    path : Path
        A DICOM file (PS3.10), with or without its preamble and file meta group.

    Returns
    -------
    Volume
        One slice in Hounsfield units. MONOCHROME1 changes nothing here: the Photometric
        Interpretation (0028,0004) says how values are displayed, not what they measure. A file
        that does not say how its values become HU gives a uint8 picture with a notice, inverted
        if MONOCHROME1.

    Raises
    ------
    ImageError
        If the file is not a single CT slice, or too large, truncated or damaged, or if its values
        are not HU.
    OSError
        If the file cannot be read.
    """
    with damage_named():
        dicom = open_dicom(path, limits=limits)
        if dicom.frames > 1:
            raise ImageError(
                f"This DICOM file holds {dicom.frames} images in one (multi-frame). "
                "Please export the slices as single images.",
                code=Code.MULTI_FRAME,
            )
        (dataset,) = frame_datasets(dicom)
        frame = next(frames_of(dicom))
        pixels, is_hu, notices = decode_frame(dataset, frame, syntax=dicom.syntax)
        if is_hu:
            judge = HounsfieldJudge(is_declared=True)
            judge.add(pixels, representable=representable_hu(dataset))
            notices += judge.judge()
        plane = plane_of(dataset.get("ImageOrientationPatient"))
        spacing_mm = spacing_mm_of(dataset)
        rows, columns = pixels.shape
        arrangement = slice_arrangement(dataset, rows=rows, columns=columns)
        affine_lps = None
        if arrangement is not None:
            pixels = np.ascontiguousarray(arrangement.apply_to_slice(pixels))
            plane = arrangement.plane
            if spacing_mm is not None:
                spacing_mm = (spacing_mm[0], *arrangement.spacing_mm[1:])
                is_placed = numbers(dataset.get("ImagePositionPatient"), 3) is not None
                affine_lps = arrangement.affine_lps if is_placed else None
        return Volume(
            pixels=pixels[np.newaxis],
            is_hu=is_hu,
            spacing_mm=spacing_mm,
            plane=plane,
            notices=notices,
            affine_lps=affine_lps,
        )
