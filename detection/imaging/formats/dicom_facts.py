"""What each DICOM slice says of its place and series, and, apart, to whom it belongs."""

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
# What finds a study again and tells series apart. It is parsed by itself, leaves the decoding
# process in a record of its own, and is never kept with the pixels.
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
    """What one frame says of itself, without its pixels and without any name.

    Attributes
    ----------
    frame : int
        Within its file, from 0.
    is_hu : bool
        Whether the file says how its values become Hounsfield units.
    is_original : bool
        False for a reformatted or otherwise derived image, by Image Type (0008,0008).
    position_mm, orientation : tuple, optional
        Of the centre of the first pixel, and the directions along a row and along a column, LPS.
    spacing_mm : tuple of float, optional
        As `dicom_place.spacing_mm_of` reads it.
    acquisition, variant : str
        What parts slices at one place that belong to different scans or reconstructions.
    plane : str
        As `plane_of` names it, of a slice that does not say where it lies too.
    frames : int
        How many its file holds.
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
    """Opaque names of the study, series and image of a file; "" where it does not say.

    A file that names no series is taken with others of its Frame of Reference (0020,0052), that
    is of one patient on one table, and `is_series_told` is False.
    """

    study: str
    series: str
    instance: str
    is_series_told: bool = True


def slice_facts(dicom: DicomFile) -> list[SliceFacts]:
    """Read what each frame says of itself. Raises ImageError. Use within `damage_named`."""
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
    """Read what finds a study again, by itself. Use within `damage_named`."""
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
    # Two patients never share a series, whatever a tool has done to the UIDs.
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
    """Return a name that tells equal from different, and nothing else."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]
