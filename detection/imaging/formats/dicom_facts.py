"""Reads place and series of each DICOM slice and, separately, the identifiers of its patient."""

import datetime
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from detection.imaging.formats.dicom_header import (
    DicomFile,
    Identifiers,
    frame_datasets,
    localiser,
    tells_hu,
    texts,
)
from detection.imaging.formats.dicom_kind import refuse_other_kinds
from detection.imaging.formats.dicom_layout import opened, read_elements
from detection.imaging.formats.dicom_pixels import is_enhanced
from detection.imaging.formats.dicom_place import (
    first_number,
    numbers,
    orientation_of,
    plane_of,
    spacing_mm_of,
)
from detection.imaging.formats.dicom_text import text_of
from detection.imaging.limits import LIMITS
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
# A day or more before any date or time of a file; only differences count.
_EPOCH = datetime.date(1900, 1, 1)
_PIECE_BYTES = 2**20


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
    plane : str
        As `dicom_place.plane_of` names it; it may be known where the position is not.
    frames : int
        Number of frames in the file.
    slice_location_mm : float, optional
        Slice Location (0020,1041).
    instance_number, series_number, acquisition : int, optional
        Instance Number (0020,0013), Series Number (0020,0011), Acquisition Number (0020,0012). The
        frames of one file are numbered on.
    acquired_s, content_s : float, optional
        When the slice was acquired and when its content was made, in seconds. Only differences
        have a meaning; nothing of them is stored.
    kvp : float, optional
        KVP (0018,0060).
    contrast : str
        A hash of Contrast/Bolus Agent (0018,0010); "" if none is named.
    temporal, kernel, image_type : str
        Hashes of Temporal Position Identifier (0020,0100), Convolution Kernel (0018,1210) and
        Image Type.
    pixels : str
        A hash of the stored pixels and their scale: equal for copies of one image.
    syntax : str
        A hash of the transfer syntax: the pixels of one image are stored otherwise under another.
    """

    frame: int
    rows: int
    columns: int
    is_hu: bool
    is_original: bool
    position_mm: Vector | None
    orientation: tuple[Vector, Vector] | None
    spacing_mm: tuple[float, float, float] | None
    plane: Plane = "unknown"
    frames: int = 1
    slice_location_mm: float | None = None
    instance_number: int | None = None
    series_number: int | None = None
    acquisition: int | None = None
    acquired_s: float | None = None
    content_s: float | None = None
    kvp: float | None = None
    contrast: str = ""
    temporal: str = ""
    kernel: str = ""
    image_type: str = ""
    pixels: str = ""
    syntax: str = ""


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
    frame_of_reference: str = ""


def slice_facts(dicom: DicomFile) -> list[SliceFacts]:
    """Read the facts of each frame but localisers. Use within `damage_named`.

    Raises
    ------
    ImageError
        If a frame has another unit than HU or is a derived map, or if all are localisers.
    """
    facts = []
    pixels = _digest(dicom)
    for index, frame in enumerate(frame_datasets(dicom)):
        image_type = texts(frame.get("ImageType"))
        if "LOCALIZER" in image_type:
            continue
        refuse_other_kinds(frame)
        position = numbers(frame.get("ImagePositionPatient"), 3)
        orientation = orientation_of(frame.get("ImageOrientationPatient"))
        number = _whole(frame, "InstanceNumber")
        if dicom.frames > 1:
            number = (number or 0) * dicom.frames + index
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
                plane=plane_of(frame.get("ImageOrientationPatient")),
                frames=dicom.frames,
                slice_location_mm=_number(frame, "SliceLocation"),
                instance_number=number,
                series_number=_whole(frame, "SeriesNumber"),
                acquisition=_whole(frame, "AcquisitionNumber"),
                acquired_s=_seconds(frame, "Acquisition"),
                content_s=_seconds(frame, "Content"),
                kvp=_number(frame, "KVP"),
                contrast=opaque(str(frame.ContrastBolusAgent)) if is_enhanced(frame) else "",
                temporal=opaque(str(frame.get("TemporalPositionIdentifier") or "")),
                kernel=opaque(repr(texts(frame.get("ConvolutionKernel")))),
                image_type=opaque(repr(image_type)),
                pixels=_of_frame(pixels, frame, index),
                syntax=opaque(str(dicom.syntax)),
            )
        )
    if not facts:
        raise localiser()
    return facts


def read_identifiers(path: Path) -> tuple[Identifiers, SeriesKeys]:
    """Read the identifiers of a file and the hashes of its series. Use within `damage_named`."""
    with opened(path, LIMITS) as (file, layout):
        dataset = read_elements(file, layout, _IDENTIFIERS)

    def text(keyword: str) -> str:
        cleaned = "".join(letter for letter in text_of(dataset, keyword) if letter.isprintable())
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
        frame_of_reference=opaque(f"{text('FrameOfReferenceUID')}\n{patient}"),
    )


def _number(dataset: Dataset, keyword: str) -> float | None:
    """Read a number that only helps to sort: a malformed one is as good as none."""
    try:
        return first_number(dataset.get(keyword))
    except (TypeError, ValueError, OverflowError):
        return None


def _whole(dataset: Dataset, keyword: str) -> int | None:
    number = _number(dataset, keyword)
    return None if number is None else int(number)


def _seconds(dataset: Dataset, what: str) -> float | None:
    """Read `what` DateTime, else Date and Time, as seconds; None without a time of day."""
    told = str(dataset.get(f"{what}DateTime") or "")
    date, time = told[:8], told[8:]
    if not time:
        date, time = (str(dataset.get(f"{what}{part}") or "") for part in ("Date", "Time"))
    # Until 1993 times were written with colons, and dates with full stops.
    clock = re.match(r"(\d\d)(\d\d)?(\d\d(?:\.\d+)?)?", time.replace(":", "").strip())
    if not clock:
        return None
    hours, minutes, seconds = (float(part or 0) for part in clock.groups())
    try:
        day = datetime.datetime.strptime(date.replace(".", "").strip(), "%Y%m%d").date()
    except ValueError:
        day = _EPOCH
    return (day - _EPOCH).days * 86_400.0 + hours * 3_600 + minutes * 60 + seconds


def _digest(dicom: DicomFile) -> str:
    """Hash the stored pixels of a file, whatever their encoding."""
    found = hashlib.blake2b(dicom.inflated or b"", digest_size=16)
    if dicom.inflated is None:
        with dicom.path.open("rb") as file:
            file.seek(dicom.pixels_at)
            left = dicom.pixels_length
            while piece := file.read(min(_PIECE_BYTES, _PIECE_BYTES if left is None else left)):
                found.update(piece)
                left = None if left is None else left - len(piece)
    return found.hexdigest()


def _of_frame(pixels: str, frame: Dataset, index: int) -> str:
    meaning: list[Any] = [frame.get(f"Rescale{part}") for part in ("Slope", "Intercept")]
    return opaque(repr((pixels, index, *(str(one) for one in meaning))))


def _three(values: NDArray[np.float64]) -> Vector:
    return float(values[0]), float(values[1]), float(values[2])


def opaque(text: str) -> str:
    """Return 32 hexadecimal digits of SHA-256, by which equal texts have equal names."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]
