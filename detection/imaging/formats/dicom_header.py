"""Reads the header of a DICOM file: the whitelisted elements and the place of its pixels."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID

from detection.imaging.errors import Code, ImageError, is_of_the_machine
from detection.imaging.formats.dicom_elements import (
    AGAIN,
    absent,
    cleaned,
    finite_number,
    malformed,
    named,
    whole_number,
)
from detection.imaging.formats.dicom_kind import refuse_other_kinds
from detection.imaging.formats.dicom_layout import find_pixel_data, opened, read_elements
from detection.imaging.limits import Limits

# The elements that are parsed of an image, beside the functional groups of a multi-frame one. None
# of them names a person.
_ELEMENTS = (
    "AcquisitionDate",
    "AcquisitionDateTime",
    "AcquisitionNumber",
    "AcquisitionTime",
    "BitsAllocated",
    "BitsStored",
    "BodyPartExamined",
    "BurnedInAnnotation",
    "Columns",
    "ContentDate",
    "ContentTime",
    "ContrastBolusAgent",
    "ConvolutionKernel",
    "HighBit",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "ImageType",
    "InstanceNumber",
    "KVP",
    "LossyImageCompression",
    "Modality",
    "ModalityLUTSequence",
    "NumberOfFrames",
    "PhotometricInterpretation",
    "PixelPaddingRangeLimit",
    "PixelPaddingValue",
    "PixelRepresentation",
    "PixelSpacing",
    "RescaleIntercept",
    "RescaleSlope",
    "RescaleType",
    "Rows",
    "SOPClassUID",
    "SamplesPerPixel",
    "SeriesNumber",
    "SliceLocation",
    "SliceThickness",
    "SpacingBetweenSlices",
    "TemporalPositionIdentifier",
    "WindowCenter",
    "WindowWidth",
)
# A multi-frame image (PS3.3, A.38) says the same in these functional groups of each frame. Some
# elements have other names there than in a single image.
_GROUPS = (
    "CTImageFrameTypeSequence",
    "CTReconstructionSequence",
    "CTXRayDetailsSequence",
    "ContrastBolusUsageSequence",
    "FrameContentSequence",
    "FrameVOILUTSequence",
    "PixelMeasuresSequence",
    "PixelValueTransformationSequence",
    "PlaneOrientationSequence",
    "PlanePositionSequence",
)
_RENAMED = {
    # "YES" or "NO": the frames before the contrast medium came are told from those after it.
    "ContrastBolusAgentAdministered": "ContrastBolusAgent",
    "FrameAcquisitionDateTime": "AcquisitionDateTime",
    "FrameAcquisitionNumber": "AcquisitionNumber",
    "FrameType": "ImageType",
    "TemporalPositionIndex": "TemporalPositionIdentifier",
}
_FRAMES = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")
# Rescale Type (0028,1054), terms of PS3.3, C.11.1.1.2, that are never HU: optical density,
# concentration, effective atomic number, electron density, percent.
_OTHER_UNITS = frozenset({"OD", "MGML", "Z_EFF", "ED", "EDW", "PCT"})
# CT Image Storage, Enhanced CT and Legacy Converted Enhanced CT.
_CT_CLASSES = tuple("1.2.840.10008.5.1.4.1.1.2" + end for end in ("", ".1", ".2"))
_LEAST_BYTES_OF_COLOUR = 3


@dataclass(frozen=True)
class Identifiers:
    """The identifiers by which a hospital finds a study again; stored encrypted, off the images.

    Patient ID (0010,0020), Patient's Name (0010,0010), Patient's Birth Date (0010,0030),
    Accession Number (0008,0050) and Study Instance UID (0020,000D); "" where the file has none.
    """

    patient_id: str = ""
    patient_name: str = ""
    birth_date: str = ""
    accession_number: str = ""
    study_uid: str = ""


@dataclass(frozen=True, eq=False)
class DicomFile:
    """An opened DICOM image.

    Attributes
    ----------
    dataset : Dataset
        The whitelisted elements, without pixels.
    syntax : UID
        The transfer syntax by which pixels are read: as found, where the file says another.
    pixels_at, pixels_length : int, optional
        Offset and length of the value of Pixel Data (no length: encapsulated), in the file or in
        `inflated`.
    inflated : bytes, optional
        The data set, if it was deflated as a whole.
    """

    path: Path
    dataset: Dataset
    syntax: UID
    pixels_at: int
    pixels_length: int | None
    inflated: bytes | None = None

    @property
    def frames(self) -> int:
        return whole_number(self.dataset, "NumberOfFrames", default=1)


@contextmanager
def damage_named() -> Iterator[None]:
    """Turn the errors that parsers raise for a damaged DICOM file into an ImageError.

    ImageError, MemoryError and the errors of the file system pass as they are.
    """
    try:
        with warnings.catch_warnings():
            # pydicom quotes odd values in its warnings.
            warnings.simplefilter("ignore")
            yield
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        # A damaged file makes the parsers raise almost anything.
        if is_of_the_machine(error):
            raise
        raise ImageError(
            f"The DICOM file is damaged or was not copied completely. {AGAIN}", code=Code.DAMAGED
        ) from error


def open_dicom(path: Path, *, limits: Limits) -> DicomFile:
    """Read the header of a CT image and check its kind. Use within `damage_named`.

    Raises
    ------
    ImageError
        If the file is not a CT image, if an element that it needs is absent or malformed, or if
        the file is too large, truncated, damaged, or compressed in a way that is not supported.
    """
    with opened(path, limits) as (file, layout):
        raw = read_elements(file, layout, [*_ELEMENTS, *_FRAMES])
        pixels_at, pixels_length = find_pixel_data(file, layout)
    dataset = cleaned(raw, [*_ELEMENTS, *_FRAMES], is_signed=_is_signed(raw))
    _check_kind(dataset, has_pixels=pixels_length != 0)
    rows, columns = whole_number(dataset, "Rows"), whole_number(dataset, "Columns")
    refusal = limits.pixels_refusal(rows=rows, columns=columns)
    if refusal:
        raise ImageError(refusal, code=Code.TOO_MANY_PIXELS)
    _check_layout(dataset, pixels_length)
    return DicomFile(
        path=path,
        dataset=dataset,
        syntax=layout.syntax,
        pixels_at=pixels_at,
        pixels_length=pixels_length,
        inflated=layout.inflated,
    )


def _is_signed(raw: Dataset) -> bool:
    return cleaned(raw, ["PixelRepresentation"]).get("PixelRepresentation") == 1


def frame_datasets(dicom: DicomFile) -> list[Dataset]:
    """Return a data set for each frame, in the form of a single image.

    Raises
    ------
    ImageError
        If a multi-frame image does not describe each of its frames.
    """
    dataset = dicom.dataset
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence")
    if per_frame is None:
        if dicom.frames > 1:
            raise ImageError(
                f"This DICOM file holds {dicom.frames} images in one without saying where each "
                "lies. Please export the CT slices as single images.",
                code=Code.MULTI_FRAME,
            )
        return [dataset]
    if len(per_frame) != dicom.frames:
        raise ImageError(
            f"The DICOM file describes another number of images than it holds. {AGAIN}",
            code=Code.DAMAGED,
        )
    common = Dataset()
    for name in _ELEMENTS:
        if name in dataset:
            common[name] = dataset[name]
    is_signed = dataset.get("PixelRepresentation") == 1
    for shared in dataset.get("SharedFunctionalGroupsSequence") or ():
        _flatten(shared, common, is_signed=is_signed)
    flat = []
    for groups in per_frame:
        frame = Dataset()
        frame.update(common)
        _flatten(groups, frame, is_signed=is_signed)
        flat.append(frame)
    return flat


def _flatten(groups: Dataset, into: Dataset, *, is_signed: bool) -> None:
    for group in _GROUPS:
        for item in groups.get(group) or ():
            into.update(cleaned(item, _ELEMENTS, is_signed=is_signed))
            for element in cleaned(item, _RENAMED):
                setattr(into, _RENAMED[element.keyword], element.value)


def tells_hu(dataset: Dataset) -> bool:
    """Say whether the file tells how its values become HU.

    Raises
    ------
    ImageError
        If its values have another unit, or its scale is incomplete or malformed.
    """
    has_lut = bool(dataset.get("ModalityLUTSequence"))
    scale = {name: finite_number(dataset, name) for name in ("RescaleSlope", "RescaleIntercept")}
    lost = [name for name, value in scale.items() if value is None]
    if has_lut:
        unit = str(dataset.ModalityLUTSequence[0].get("ModalityLUTType") or "")
    elif len(lost) == len(scale):
        return False
    elif lost:
        raise ImageError(
            f"The values are not Hounsfield units: the DICOM file has no {named(lost[0])}. {AGAIN}",
            code=Code.NOT_HU,
        )
    elif not scale["RescaleSlope"]:
        raise malformed("RescaleSlope")
    else:
        unit = str(dataset.get("RescaleType") or "")
    # Some scanners write "US" or words of their own ("Houndsfield Unit") for HU.
    if unit.strip().upper() in _OTHER_UNITS:
        raise ImageError(
            "The values of this DICOM file are not Hounsfield units but another measure. "
            "Please upload the CT slices themselves.",
            code=Code.NOT_HU,
        )
    return True


def texts(value: Any) -> list[str]:
    """Return the words of an element as a list, in upper case."""
    values = [value] if isinstance(value, str) else list(value or ())
    return [str(item).strip().upper() for item in values]


def _check_kind(dataset: Dataset, *, has_pixels: bool) -> None:
    modality = " ".join(texts(dataset.get("Modality")))
    if not modality and str(dataset.get("SOPClassUID") or "") not in _CT_CLASSES:
        raise absent("Modality")
    if modality not in ("", "CT"):
        # The modality comes from the file: it is quoted only if it has the form of a code.
        told = f" (its modality is {modality})" if re.fullmatch(r"[A-Z]{2,16}", modality) else ""
        raise ImageError(
            f"This DICOM file is not a CT image{told}. Please upload CT slices.", code=Code.NOT_CT
        )
    if "LOCALIZER" in texts(dataset.get("ImageType")):
        raise localiser()
    refuse_other_kinds(dataset)
    if not has_pixels:
        raise ImageError(
            f"The DICOM file holds no image: it has no {named('PixelData')}, or was not copied "
            "completely. Please upload CT slices.",
            code=Code.NO_IMAGE,
        )
    # A colour picture always names its colours: a picture of one value a pixel is grey.
    photometric = " ".join(texts(dataset.get("PhotometricInterpretation"))) or "MONOCHROME2"
    samples = whole_number(dataset, "SamplesPerPixel", default=1)
    if samples != 1 or not photometric.startswith("MONOCHROME"):
        raise ImageError(
            "The DICOM file is in colour: a CT slice is grey. Please upload the CT slice itself.",
            code=Code.COLOUR,
        )
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise ImageError(
            f"The DICOM file does not say what its grey values mean. {AGAIN}", code=Code.DAMAGED
        )
    dataset.PhotometricInterpretation = photometric
    if not 1 <= whole_number(dataset, "NumberOfFrames", default=1) < 100_000:
        raise malformed("NumberOfFrames")


def _check_layout(dataset: Dataset, pixels_length: int | None) -> None:
    """Check the elements by which stored bytes become values."""
    allocated, bits = whole_number(dataset, "BitsAllocated"), whole_number(dataset, "BitsStored")
    if allocated not in (8, 16) or not 1 <= bits <= allocated:
        raise ImageError(
            f"The DICOM file stores {bits} of {allocated} bits per pixel, which no CT slice does. "
            f"{AGAIN}",
            code=Code.DAMAGED,
        )
    if whole_number(dataset, "PixelRepresentation") > 1:
        raise malformed("PixelRepresentation")
    whole_number(dataset, "HighBit", default=bits - 1)
    frame_bytes = int(dataset.Rows) * int(dataset.Columns) * allocated // 8
    frames = whole_number(dataset, "NumberOfFrames", default=1)
    is_colour = (pixels_length or 0) >= _LEAST_BYTES_OF_COLOUR * frame_bytes * frames
    if is_colour and "SamplesPerPixel" not in dataset:
        raise absent("SamplesPerPixel")


def localiser() -> ImageError:
    return ImageError(
        "This DICOM file is a localiser (scout view), not a CT slice. Please upload CT slices.",
        code=Code.LOCALISER,
    )
