"""Turns the stored values of a DICOM frame into Hounsfield units, by pydicom and SimpleITK."""

import tempfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import apply_modality_lut
from pydicom.uid import UID

from detection.imaging.errors import Code, ImageError, Notice
from detection.imaging.formats.codestream import (
    Codestream,
    is_complete,
    read_codestream,
    without_padding,
)
from detection.imaging.formats.dicom_elements import AGAIN
from detection.imaging.formats.dicom_header import DicomFile, tells_hu
from detection.imaging.formats.dicom_kind import kind_notices
from detection.imaging.formats.dicom_layout import BY_SIMPLEITK, LOSSY, NATIVE, RLE
from detection.imaging.formats.dicom_place import first_number
from detection.imaging.formats.picture import EIGHT_BIT
from detection.imaging.hounsfield import AIR_HU, HounsfieldJudge, darken_padding, not_hu
from detection.imaging.window import Window, apply_window

_VALUES_AT_ONCE = 4_000_000
# A window for stored values without their intercept has its centre above, where tissue then is.
_TISSUE_AT_MOST = 700
_LOSSY = Notice(
    Code.LOSSY, "The file was compressed with a lossy method: fine detail may be changed."
)
_CONTRAST_MEDIUM = Notice(
    Code.CONTRAST_MEDIUM,
    "Contrast medium was given: it may hide a stone, or look like one where it fills the kidney.",
)
_HU_UNKNOWN = Notice(
    Code.HU_UNKNOWN,
    "The file does not say how its values become Hounsfield units: they are lost.",
)
_LAYOUT = (
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
)


def frames_of(dicom: DicomFile) -> Iterator[bytes]:
    """Yield the stored bytes of each frame in turn, one at a time.

    Raises
    ------
    ImageError
        If the file ends before its last frame.
    """
    length = _frame_bytes(dicom.dataset)
    with BytesIO(dicom.inflated) if dicom.inflated else dicom.path.open("rb") as file:
        file.seek(dicom.pixels_at)
        if dicom.pixels_length is not None:
            yield from _native_frames(file, dicom, length)
            return
        found = 0
        for frame in generate_frames(file, number_of_frames=dicom.frames):
            found += 1
            yield frame
            if found == dicom.frames:
                return
    if found < dicom.frames:
        raise _incomplete()


def _native_frames(file: Any, dicom: DicomFile, length: int) -> Iterator[bytes]:
    if (dicom.pixels_length or 0) < length * dicom.frames:
        raise _incomplete()
    for _ in range(dicom.frames):
        frame = file.read(length)
        if len(frame) < length:
            raise _incomplete()
        yield frame


def _incomplete() -> ImageError:
    return ImageError(
        f"The DICOM file was not copied completely: part of its image is missing. {AGAIN}",
        code=Code.DAMAGED,
    )


def decode_frame(
    dataset: Dataset, frame: bytes, *, syntax: UID
) -> tuple[NDArray[Any], bool, tuple[Notice, ...]]:
    """Decode one frame.

    Parameters
    ----------
    dataset : Dataset
        In the form of a single image, as `frame_datasets` gives it.
    frame : bytes
        As `frames_of` gives it.

    Returns
    -------
    pixels : np.ndarray
        `(rows, columns)`: int16 Hounsfield units, stored value * Rescale Slope (0028,1053) +
        Rescale Intercept (0028,1052), rounded and clipped. A file that does not say how its
        values become HU gives uint8 grey, through its own window.
    is_hu : bool
        Whether `pixels` are Hounsfield units.
    notices : tuple of Notice
        Notices on the pixels: burnt-in text, another body part, lossy compression, contrast
        medium, too few bits, no HU.

    Raises
    ------
    ImageError
        If the frame is damaged, or if it has neither a scale of HU nor a window.
    """
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    frame = frame if syntax in NATIVE or syntax == RLE else without_padding(frame)
    codestream = _check_pixel_data(dataset, frame, syntax=syntax)
    notices = list(kind_notices(dataset))
    if _is_lossy(dataset, syntax, codestream):
        notices.append(_LOSSY)
    if is_enhanced(dataset):
        notices.append(_CONTRAST_MEDIUM)
    stored = _stored_values(dataset, frame, syntax=syntax)
    if stored.shape != (rows, columns):
        raise ImageError(
            f"The image in the DICOM file has another size than it says. {AGAIN}",
            code=Code.DAMAGED,
        )
    if tells_hu(dataset):
        slope = abs(float(dataset.get("RescaleSlope") or 1.0))
        if int(dataset.BitsStored) <= 8:
            notice = Notice(
                Code.EIGHT_BIT_HU,
                f"The file holds 8 bits only: one grey step is {slope:.0f} Hounsfield units, "
                "and faint stones may be lost.",
            )
            notices.append(notice)
        return _to_hu(dataset, stored), True, tuple(notices)
    grey = _to_grey(dataset, stored)
    notices.append(EIGHT_BIT if int(dataset.BitsStored) <= 8 else _HU_UNKNOWN)
    return grey, False, tuple(notices)


def is_enhanced(dataset: Dataset) -> bool:
    """Say whether Contrast/Bolus Agent (0018,0010) names one; some scanners write "NONE"."""
    agent = str(dataset.get("ContrastBolusAgent") or "").strip().upper()
    return agent not in ("", "NO", "NONE", "N", "0", "WITHOUT")


def _frame_bytes(dataset: Dataset) -> int:
    return int(dataset.Rows) * int(dataset.Columns) * int(dataset.BitsAllocated) // 8


def _check_pixel_data(dataset: Dataset, frame: bytes, *, syntax: UID) -> Codestream | None:
    """Compare the header with the stored bytes before these are decoded."""
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    length, bits = _frame_bytes(dataset), int(dataset.BitsStored)
    if syntax in NATIVE:
        if int(dataset.get("HighBit", bits - 1)) >= bits:
            raise ImageError(
                f"The DICOM file stores its bits in a retired layout. {AGAIN}", code=Code.DAMAGED
            )
        return None
    # Noise grows a little when compressed; a frame larger than this is not the promised image.
    if len(frame) > 2 * length + 2**16:
        raise ImageError(
            f"The DICOM file holds more data than its image can have. {AGAIN}", code=Code.DAMAGED
        )
    if syntax == RLE:
        return None
    codestream = read_codestream(frame)
    if codestream is None:
        raise ImageError(
            f"The compressed image in the DICOM file is damaged. {AGAIN}", code=Code.DAMAGED
        )
    if (codestream.rows, codestream.columns, codestream.components) != (rows, columns, 1):
        raise ImageError(
            f"The image in the DICOM file has another size than it says. {AGAIN}",
            code=Code.DAMAGED,
        )
    # Some decoders fill up a stream that is cut off with grey.
    if not is_complete(frame):
        raise ImageError(
            f"The compressed image in the DICOM file is not complete. {AGAIN}", code=Code.DAMAGED
        )
    return codestream


def _is_lossy(dataset: Dataset, syntax: UID, codestream: Codestream | None) -> bool:
    # (0028,2110): "01" once the image has ever been compressed lossily, and for good.
    if syntax in LOSSY or str(dataset.get("LossyImageCompression") or "") == "01":
        return True
    return codestream is not None and codestream.is_irreversible is True


def _stored_values(dataset: Dataset, frame: bytes, *, syntax: UID) -> NDArray[Any]:
    # The decoders get the image without its rescale, since `_to_hu` alone makes HU.
    bare = Dataset()
    bare.file_meta = FileMetaDataset()
    bare.file_meta.TransferSyntaxUID = syntax
    bare.SOPClassUID = bare.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.2")
    bare.SOPInstanceUID = bare.file_meta.MediaStorageSOPInstanceUID = UID("2.25.1")
    bare.Modality = "CT"
    for name in _LAYOUT:
        setattr(bare, name, int(dataset[name].value))
    bare.HighBit = bare.BitsStored - 1
    bare.SamplesPerPixel = 1
    bare.PhotometricInterpretation = "MONOCHROME2"
    bare.PixelData = frame if syntax in NATIVE else encapsulate([frame])
    bare["PixelData"].VR = "OW" if syntax in NATIVE else "OB"
    values = _read_by_simpleitk(bare) if syntax in BY_SIMPLEITK else bare.pixel_array
    return _own_bits(values, int(bare.BitsStored), is_signed=bare.PixelRepresentation == 1)


def _own_bits(values: NDArray[Any], bits: int, *, is_signed: bool) -> NDArray[np.int32]:
    """Keep Bits Stored (0028,0101) alone, and extend the sign.

    Overlays and other things may stand in the bits above, which a compressed image holds like
    any other. Decoders give them back, or a sign of the codestream's own.
    """
    own = values.astype(np.int32) & (2**bits - 1)
    if is_signed:
        own -= (own >> (bits - 1)) << bits
    return own


def representable_hu(dataset: Dataset) -> tuple[float, float] | None:
    """Return the lowest and highest HU that a frame can hold; None if its values have no sign."""
    slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    if dataset.PixelRepresentation != 1 or slope is None or intercept is None:
        return None
    half = 2 ** (int(dataset.BitsStored) - 1)
    low, high = sorted((-half * slope + intercept, (half - 1) * slope + intercept))
    return low, high


def _read_by_simpleitk(bare: Dataset) -> NDArray[Any]:
    """Decode a JPEG that pydicom cannot read to its stored values, `(rows, columns)`."""
    # SimpleITK is large, slow to load and seldom needed.
    import SimpleITK as sitk

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.dcm"
        bare.save_as(path, enforce_file_format=True)
        reader = sitk.ImageFileReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileName(str(path))
        image = sitk.GetArrayFromImage(reader.Execute())
    return np.asarray(image[0])


def _to_hu(dataset: Dataset, stored: NDArray[Any]) -> NDArray[np.int16]:
    slope = float(dataset.get("RescaleSlope") or 0.0)
    intercept = float(dataset.get("RescaleIntercept") or 0.0)
    has_lut = bool(dataset.get("ModalityLUTSequence"))
    padding = _padding_range(dataset)
    limits = np.iinfo(np.int16)
    hu = np.empty(stored.shape, np.int16)
    step = max(1, _VALUES_AT_ONCE // stored.shape[1])
    for top in range(0, stored.shape[0], step):
        part = stored[top : top + step]
        if has_lut:
            values = np.asarray(apply_modality_lut(part, dataset), np.float64)
        else:
            values = part.astype(np.float64) * slope + intercept
        if padding is not None:
            # Some scanners pad the corners with a value brighter than any bone.
            is_padding = (part >= padding[0]) & (part <= padding[1]) & (values > AIR_HU)
            values[is_padding] = AIR_HU
        hu[top : top + step] = np.rint(values).clip(limits.min, limits.max).astype(np.int16)
    darken_padding(hu)
    return hu


def _is_offset(stored: NDArray[Any]) -> bool:
    judge = HounsfieldJudge(is_declared=True)
    judge.add(stored.clip(np.iinfo(np.int16).min, np.iinfo(np.int16).max).astype(np.int16))
    return judge.is_offset_lost()


def _padding_range(dataset: Dataset) -> tuple[int, int] | None:
    first = dataset.get("PixelPaddingValue")
    if not isinstance(first, int):
        return None
    last = dataset.get("PixelPaddingRangeLimit")
    last = last if isinstance(last, int) else first
    return min(first, last), max(first, last)


def _to_grey(dataset: Dataset, stored: NDArray[Any]) -> NDArray[np.uint8]:
    if int(dataset.BitsStored) <= 8 and not int(dataset.PixelRepresentation or 0):
        highest = 2 ** int(dataset.BitsStored) - 1
        grey = apply_window(stored, Window(center_hu=highest / 2, width_hu=highest))
    else:
        center, width = (first_number(dataset.get(f"Window{name}")) for name in ("Center", "Width"))
        if center is None or width is None or width <= 0:
            raise ImageError(
                "The DICOM file does not say how its values become Hounsfield units. "
                "Please export the CT slice from the scanner's own series.",
                code=Code.NOT_HU,
            )
        if center < _TISSUE_AT_MOST and _is_offset(stored):
            raise not_hu(
                "the DICOM file has neither Rescale Slope (0028,1053) nor Rescale Intercept "
                "(0028,1052)"
            )
        grey = apply_window(stored, Window(center_hu=center, width_hu=width))
    # These are display values, in which MONOCHROME1 means that the lowest is white.
    return 255 - grey if dataset.PhotometricInterpretation == "MONOCHROME1" else grey
