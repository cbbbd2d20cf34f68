"""Reads place and series of each DICOM slice and, separately, the identifiers of its patient."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray

from detection.imaging.formats.dicom_header import (
    DicomFile,
    Identifiers,
    frame_datasets,
    localiser,
    tells_hu,
    texts,
)
from detection.imaging.formats.dicom_place import (
    numbers,
    orientation_of,
    plane_of,
    spacing_mm_of,
)
from detection.imaging.volume import Plane

Vector = tuple[float, float, float]
# These elements find a study again and tell series apart. They are parsed by themselves, leave the
# decoding process in a record of their own, and are never kept with the pixels.
_IDENTIFIERS = (
    "AccessionNumber",
    "FrameOfReferenceUID",
    "PatientBirthDate",
    "PatientID",
    "PatientName",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
)
_MAX_IDENTIFIER = 255


@dataclass(frozen=True)
class SliceFacts:
    """The header of one frame, without pixels and without any name.

    Attributes
    ----------
    frame : int
        Index of the frame in its file, from 0.
    is_hu : bool
        Whether the file says how its values become Hounsfield units.
    is_original : bool
        False for a reformatted or otherwise derived image, by Image Type (0008,0008).
    position_mm, orientation : tuple, optional
        Centre of the first pixel, and unit vectors along a row and along a column, in LPS.
    spacing_mm : tuple of float, optional
        As `dicom_place.spacing_mm_of` reads it.
    acquisition, variant : str
        Hashes that differ between slices of different scans or reconstructions at one place.
    plane : str
        As `dicom_place.plane_of` names it; it may be known where the position is not.
    frames : int
        Number of frames in the file.
    """

    frame: int
    rows: int
    columns: int
    is_hu: bool
    is_original: bool
    position_mm: Vector | None
    orientation: tuple[Vector, Vector] | None
    spacing_mm: tuple[float, float, float] | None
    acquisition: str
    variant: str
    plane: Plane = "unknown"
    frames: int = 1


@dataclass(frozen=True)
class SeriesKeys:
    """Hashes that stand for the study, series and image of a file; "" where it names none.

    `is_series_told` is False for a file that names no series. Its Frame of Reference (0020,0052),
    that is one patient on one table, then stands in for the series.
    """

    study: str
    series: str
    instance: str
    is_series_told: bool = True


def slice_facts(dicom: DicomFile) -> list[SliceFacts]:
    """Read the facts of each frame but localisers. Use within `damage_named`.

    Raises
    ------
    ImageError
        If a frame has another unit than HU, or if all frames are localisers.
    """
    facts = []
    for index, frame in enumerate(frame_datasets(dicom)):
        image_type = texts(frame.get("ImageType"))
        if "LOCALIZER" in image_type:
            continue
        position = numbers(frame.get("ImagePositionPatient"), 3)
        orientation = orientation_of(frame.get("ImageOrientationPatient"))
        acquisition = str(frame.get("AcquisitionNumber") or "")
        variant = (
            acquisition,
            image_type,
            str(frame.get("TemporalPositionIdentifier") or ""),
            texts(frame.get("ConvolutionKernel")),
        )
        facts.append(
            SliceFacts(
                frame=index,
                rows=int(frame.Rows),
                columns=int(frame.Columns),
                is_hu=tells_hu(frame),
                is_original=bool(image_type) and image_type[0] == "ORIGINAL",
                position_mm=None if position is None else _three(position),
                orientation=(_three(orientation[0]), _three(orientation[1]))
                if orientation
                else None,
                spacing_mm=spacing_mm_of(frame),
                acquisition=opaque(acquisition),
                variant=opaque(repr(variant)),
                plane=plane_of(frame.get("ImageOrientationPatient")),
                frames=dicom.frames,
            )
        )
    if not facts:
        raise localiser()
    return facts


def read_identifiers(path: Path) -> tuple[Identifiers, SeriesKeys]:
    """Read the identifiers of a file and the hashes of its series. Use within `damage_named`."""
    dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_IDENTIFIERS))

    def text(keyword: str) -> str:
        value = dataset.get(keyword)
        cleaned = "".join(letter for letter in str(value or "") if letter.isprintable())
        return cleaned.strip()[:_MAX_IDENTIFIER]

    study, series = text("StudyInstanceUID"), text("SeriesInstanceUID")
    identifiers = Identifiers(
        patient_id=text("PatientID"),
        patient_name=text("PatientName"),
        birth_date=text("PatientBirthDate"),
        accession_number=text("AccessionNumber"),
        study_uid=study,
    )
    # Some tools give the same UIDs to two patients, who must not share a series.
    patient, instance = identifiers.patient_id, text("SOPInstanceUID")
    told = series or text("FrameOfReferenceUID")
    return identifiers, SeriesKeys(
        study=opaque(f"{study}\n{patient}") if study else "",
        series=opaque(f"{study}\n{told}\n{patient}") if told else "",
        instance=opaque(instance) if instance else "",
        is_series_told=bool(series),
    )


def _three(values: NDArray[np.float64]) -> Vector:
    return float(values[0]), float(values[1]), float(values[2])


def opaque(text: str) -> str:
    """Return 32 hexadecimal digits of SHA-256, by which equal texts have equal names."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]
