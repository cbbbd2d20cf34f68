"""Reads the header of a DICOM file: the whitelisted elements and the place of its pixels."""

import math
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import UID

from detection.imaging.errors import Code, ImageError, is_of_the_machine
from detection.imaging.formats.dicom_place import first_number
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
DEFLATED = UID("1.2.840.10008.1.2.1.99")
IMPLICIT = UID("1.2.840.10008.1.2")
BIG_ENDIAN = UID("1.2.840.10008.1.2.2")
NATIVE = frozenset({IMPLICIT, UID("1.2.840.10008.1.2.1"), BIG_ENDIAN, DEFLATED})
_JPEG = "1.2.840.10008.1.2.4."
RLE = "1.2.840.10008.1.2.5"
BY_PYDICOM = frozenset(
    {RLE, *(_JPEG + end for end in ("50", "80", "81", "90", "91", "201", "202", "203"))}
)
# 12-bit and lossless JPEG: of the permissively licensed libraries only SimpleITK (GDCM) reads it.
BY_SIMPLEITK = frozenset(_JPEG + end for end in ("51", "53", "55", "57", "70"))
LOSSY = frozenset(_JPEG + end for end in ("50", "51", "53", "55", "81"))
# Rescale Type (0028,1054), terms of PS3.3, C.11.1.1.2, that are never HU: optical density,
# concentration, effective atomic number, electron density, percent.
_OTHER_UNITS = frozenset({"OD", "MGML", "Z_EFF", "ED", "EDW", "PCT"})
_PIXEL_DATA = 0x7FE00010

AGAIN = "Please export it again or upload it again."


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
    pixels_at, pixels_length : int, optional
        Offset in the file and length of the value of Pixel Data (no length: encapsulated).
    inflated : bytes, optional
        The pixels themselves, if the whole data set was deflated.
    """

    path: Path
    dataset: Dataset
    syntax: UID
    pixels_at: int
    pixels_length: int | None
    inflated: bytes | None = None

    @property
    def frames(self) -> int:
        return int(self.dataset.get("NumberOfFrames") or 1)


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
        If the file is not a CT image, or too large, truncated, damaged, or compressed in a way
        that is not supported.
    """
    syntax = _transfer_syntax(path, limits)
    pixels_length: int | None
    tags = [*_ELEMENTS, *_FRAMES]
    if syntax == DEFLATED:
        dataset = pydicom.dcmread(path, specific_tags=[*tags, "PixelData"])
        inflated = dataset.get("PixelData") or b""
        if inflated:
            del dataset.PixelData
        pixels_at, pixels_length = 0, len(inflated)
    else:
        inflated = None
        with path.open("rb") as file:
            dataset = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=tags)
            pixels_at, pixels_length = _pixel_data(file, syntax)
    _check_kind(dataset, has_pixels=pixels_length != 0)
    rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    refusal = limits.pixels_refusal(rows=rows, columns=columns)
    if refusal:
        raise ImageError(refusal, code=Code.TOO_MANY_PIXELS)
    return DicomFile(
        path=path,
        dataset=dataset,
        syntax=syntax,
        pixels_at=pixels_at,
        pixels_length=pixels_length,
        inflated=inflated,
    )


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
    common.file_meta = dataset.file_meta
    for shared in dataset.get("SharedFunctionalGroupsSequence") or ():
        _flatten(shared, common)
    flat = []
    for groups in per_frame:
        frame = Dataset()
        frame.update(common)
        frame.file_meta = dataset.file_meta
        _flatten(groups, frame)
        flat.append(frame)
    return flat


def _flatten(groups: Dataset, into: Dataset) -> None:
    for group in _GROUPS:
        for item in groups.get(group) or ():
            for element in item:
                name = _RENAMED.get(element.keyword, element.keyword)
                if name == element.keyword and name in _ELEMENTS:
                    into[name] = element
                elif name != element.keyword:
                    setattr(into, name, element.value)


def tells_hu(dataset: Dataset) -> bool:
    """Say whether the file tells how its values become HU.

    Raises
    ------
    ImageError
        If its values have another unit, or its scale is damaged.
    """
    unit = ""
    if dataset.get("ModalityLUTSequence"):
        unit = str(dataset.ModalityLUTSequence[0].get("ModalityLUTType") or "")
    elif dataset.get("RescaleSlope") is None or dataset.get("RescaleIntercept") is None:
        return False
    else:
        unit = str(dataset.get("RescaleType") or "")
    # Some scanners write "US" or words of their own ("Houndsfield Unit") for HU.
    if unit.strip().upper() in _OTHER_UNITS:
        raise ImageError(
            "The values of this DICOM file are not Hounsfield units but another measure. "
            "Please upload the CT slices themselves.",
            code=Code.NOT_HU,
        )
    slope, intercept = (first_number(dataset.get(f"Rescale{x}")) for x in ("Slope", "Intercept"))
    if not dataset.get("ModalityLUTSequence") and (not slope or intercept is None):
        raise ImageError(
            f"The DICOM file's scale of Hounsfield units is damaged. {AGAIN}", code=Code.DAMAGED
        )
    return True


def texts(value: Any) -> list[str]:
    """Return the words of an element as a list, in upper case."""
    values = [value] if isinstance(value, str) else list(value or ())
    return [str(item).strip().upper() for item in values]


def _transfer_syntax(path: Path, limits: Limits) -> UID:
    meta = pydicom.filereader.read_file_meta_info(path)
    syntax = meta.get("TransferSyntaxUID")
    if syntax is None:
        raise ImageError(
            f"The DICOM file does not say how it is encoded. {AGAIN}", code=Code.DAMAGED
        )
    if meta.get("MediaStorageSOPClassUID") == "1.2.840.10008.1.3.10":
        raise ImageError(
            "This is a DICOMDIR, the table of contents of a disc. "
            "Please upload the image files beside it.",
            code=Code.DICOMDIR,
        )
    if syntax not in NATIVE | BY_PYDICOM | BY_SIMPLEITK:
        name = UID(syntax).name
        known = f" ({name})" if name != syntax else ""
        raise ImageError(
            f"The compression of the DICOM file{known} is not supported. "
            "Please export it uncompressed or as JPEG 2000.",
            code=Code.UNSUPPORTED_COMPRESSION,
        )
    if syntax == DEFLATED:
        # Preamble and mark 132, group length element 12, then what the length counts.
        _check_inflated(path, 144 + int(meta.FileMetaInformationGroupLength), limits)
    return UID(syntax)


def _check_inflated(path: Path, offset: int, limits: Limits) -> None:
    """Inflate piece by piece, keeping nothing, so that a bomb is found before it is read."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    total = 0
    with path.open("rb") as file:
        file.seek(offset)
        while piece := file.read(2**16):
            while piece and not inflater.eof:
                total += len(inflater.decompress(piece, 2**20))
                if total > limits.max_inflated_bytes:
                    raise ImageError(
                        "The DICOM file is too large when unpacked. "
                        "Please export the CT slice uncompressed.",
                        code=Code.BOMB,
                    )
                piece = inflater.unconsumed_tail


def _pixel_data(file: Any, syntax: UID) -> tuple[int, int | None]:
    """Read the element at which pydicom stopped: offset and length of its value.

    The length is None for encapsulated pixels, and 0 without pixels.
    """
    head = file.read(12)
    order = ">" if syntax == BIG_ENDIAN else "<"
    if len(head) < 8:
        return 0, 0
    group, element = struct.unpack(f"{order}HH", head[:4])
    if (group << 16) | element != _PIXEL_DATA:
        # Float Pixel Data, which no CT image has, or no pixels at all.
        return 0, 0
    if syntax == IMPLICIT:
        length, at = struct.unpack("<I", head[4:8])[0], file.tell() - len(head) + 8
    else:
        length, at = struct.unpack(f"{order}I", head[8:12])[0], file.tell()
    is_encapsulated = syntax not in NATIVE
    if is_encapsulated != (length == 0xFFFFFFFF):
        raise ImageError(
            f"The pixels of the DICOM file are stored in another way than it says. {AGAIN}",
            code=Code.DAMAGED,
        )
    return at, None if is_encapsulated else int(length)


def _check_kind(dataset: Dataset, *, has_pixels: bool) -> None:
    modality = str(dataset.get("Modality") or "")
    if modality != "CT":
        # The modality comes from the file: it is quoted only if it has the form of a code.
        named = f" (its modality is {modality})" if re.fullmatch(r"[A-Z]{2,16}", modality) else ""
        raise ImageError(
            f"This DICOM file is not a CT image{named}. Please upload CT slices.", code=Code.NOT_CT
        )
    if "LOCALIZER" in texts(dataset.get("ImageType")):
        raise localiser()
    if not has_pixels:
        raise ImageError(
            "The DICOM file holds no image, or was not copied completely. Please upload CT slices.",
            code=Code.NO_IMAGE,
        )
    photometric = str(dataset.get("PhotometricInterpretation") or "")
    if int(dataset.get("SamplesPerPixel") or 1) != 1 or not photometric.startswith("MONOCHROME"):
        raise ImageError(
            "The DICOM file is in colour: a CT slice is grey. Please upload the CT slice itself.",
            code=Code.COLOUR,
        )
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise ImageError(
            f"The DICOM file does not say what its grey values mean. {AGAIN}", code=Code.DAMAGED
        )
    frames = first_number(dataset.get("NumberOfFrames") or 1)
    if frames is None or not math.isfinite(frames) or not 1 <= frames < 100_000:
        raise ImageError(f"The DICOM file is damaged. {AGAIN}", code=Code.DAMAGED)


def localiser() -> ImageError:
    return ImageError(
        "This DICOM file is a localiser (scout view), not a CT slice. Please upload CT slices.",
        code=Code.LOCALISER,
    )
