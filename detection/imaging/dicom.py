"""Single-slice DICOM CT images: from the file to Hounsfield units, by pydicom and SimpleITK."""

import math
import re
import tempfile
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels import apply_modality_lut
from pydicom.uid import UID

from detection.imaging.codestream import Codestream, read_codestream
from detection.imaging.errors import ImageError
from detection.imaging.geometry import (
    first_number,
    plane_of,
    slice_arrangement,
    spacing_mm_of,
)
from detection.imaging.limits import LIMITS, Limits
from detection.imaging.picture import EIGHT_BIT_CAVEAT
from detection.imaging.volume import Volume
from detection.imaging.window import Window, apply_window

# The only elements that are parsed: nothing that names a person is ever looked at.
_ELEMENTS = [
    "BitsAllocated",
    "BitsStored",
    "Columns",
    "HighBit",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "ImageType",
    "LossyImageCompression",
    "Modality",
    "ModalityLUTSequence",
    "NumberOfFrames",
    "PhotometricInterpretation",
    "PixelData",
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
    "SliceThickness",
    "SpacingBetweenSlices",
    "WindowCenter",
    "WindowWidth",
]
_DEFLATED = UID("1.2.840.10008.1.2.1.99")
_NATIVE = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", _DEFLATED})
_JPEG = "1.2.840.10008.1.2.4."
_RLE = "1.2.840.10008.1.2.5"
_BY_PYDICOM = frozenset(
    {_RLE, *(_JPEG + end for end in ("50", "80", "81", "90", "91", "201", "202", "203"))}
)
# 12-bit and lossless JPEG: of the permissively licensed libraries only SimpleITK (GDCM) reads it.
_BY_SIMPLEITK = frozenset(_JPEG + end for end in ("51", "53", "55", "57", "70"))
_LOSSY = frozenset(_JPEG + end for end in ("50", "51", "53", "55", "81"))
# Rescale Type (0028,1054), terms of PS3.3, C.11.1.1.2, that are never HU: optical density,
# concentration, effective atomic number, electron density, percent.
_OTHER_UNITS = frozenset({"OD", "MGML", "Z_EFF", "ED", "EDW", "PCT"})
# CT values below this are air or the outside of the field of view.
_AIR_HU = -1024
_VALUES_AT_ONCE = 4_000_000

_AGAIN = "Please export it again or upload it again."
_LOSSY_CAVEAT = "The file was compressed with a lossy method: fine detail may be changed."


def decode_dicom(path: Path, *, limits: Limits = LIMITS) -> Volume:
    """Decode a single-frame CT image.

    Parameters
    ----------
    path : Path
        A DICOM file (PS3.10) with its preamble.

    Returns
    -------
    Volume
        One slice in Hounsfield units: stored value * Rescale Slope (0028,1053) + Rescale
        Intercept (0028,1052), rounded and clipped to int16. This holds for MONOCHROME1 too:
        the Photometric Interpretation (0028,0004) says how stored values are displayed, not what
        they measure, and bone is white in every window made from HU. A file that does not say
        how its values become HU comes as a uint8 picture with a caveat, inverted if MONOCHROME1.

    Raises
    ------
    ImageError
        If it is not a single CT slice, too large, truncated or damaged.
    OSError
        If the file cannot be read.
    """
    try:
        with warnings.catch_warnings():
            # pydicom warns of odd values by quoting them.
            warnings.simplefilter("ignore")
            return _decode(path, limits)
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        # A damaged file makes the parsers raise almost anything.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ImageError(
            f"The DICOM file is damaged or was not copied completely. {_AGAIN}"
        ) from error


def _decode(path: Path, limits: Limits) -> Volume:
    syntax = _transfer_syntax(path, limits)
    dataset = pydicom.dcmread(path, specific_tags=list(_ELEMENTS))
    _check_kind(dataset)
    rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    refusal = limits.pixels_refusal(rows=rows, columns=columns)
    if refusal:
        raise ImageError(refusal)
    codestream = _check_pixel_data(dataset, syntax, rows=rows, columns=columns)

    caveats = []
    if _is_lossy(dataset, syntax, codestream):
        caveats.append(_LOSSY_CAVEAT)
    stored = _read_by_simpleitk(dataset) if syntax in _BY_SIMPLEITK else dataset.pixel_array
    if stored.shape != (rows, columns):
        raise ImageError(f"The image in the DICOM file has another size than it says. {_AGAIN}")
    if _tells_hu(dataset):
        pixels: NDArray[Any] = _to_hu(dataset, stored)
        is_hu = True
        slope = abs(float(dataset.get("RescaleSlope") or 1.0))
        if int(dataset.BitsStored) <= 8:
            caveats.append(
                f"The file holds 8 bits only: one grey step is {slope:.0f} Hounsfield units, "
                "and faint stones may be lost."
            )
    else:
        pixels, is_hu = _to_grey(dataset, stored), False
        caveats.append(
            EIGHT_BIT_CAVEAT
            if int(dataset.BitsStored) <= 8
            else "The file does not say how its values become Hounsfield units: they are lost."
        )
    plane, spacing_mm = plane_of(dataset.get("ImageOrientationPatient")), spacing_mm_of(dataset)
    arrangement = slice_arrangement(dataset, rows=rows, columns=columns)
    if arrangement is not None and spacing_mm is not None:
        pixels = np.ascontiguousarray(arrangement.apply_to_slice(pixels))
        plane = arrangement.plane
        spacing_mm = (spacing_mm[0], *arrangement.spacing_mm[1:])
    return Volume(
        pixels=pixels[np.newaxis],
        is_hu=is_hu,
        spacing_mm=spacing_mm,
        plane=plane,
        caveats=tuple(caveats),
        affine_lps=arrangement.affine_lps if arrangement else None,
    )


def _transfer_syntax(path: Path, limits: Limits) -> UID:
    meta = pydicom.filereader.read_file_meta_info(path)
    syntax = meta.get("TransferSyntaxUID")
    if syntax is None:
        raise ImageError(f"The DICOM file does not say how it is encoded. {_AGAIN}")
    if syntax not in _NATIVE | _BY_PYDICOM | _BY_SIMPLEITK:
        name = UID(syntax).name
        known = f" ({name})" if name != syntax else ""
        raise ImageError(
            f"The compression of the DICOM file{known} is not supported. "
            "Please export it uncompressed or as JPEG 2000."
        )
    if syntax == _DEFLATED:
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
                        "Please export the CT slice uncompressed."
                    )
                piece = inflater.unconsumed_tail


def _check_kind(dataset: Dataset) -> None:
    if dataset.file_meta.get("MediaStorageSOPClassUID") == "1.2.840.10008.1.3.10":
        raise ImageError(
            "This is a DICOMDIR, the table of contents of a disc. "
            "Please upload the image files beside it."
        )
    modality = str(dataset.get("Modality") or "")
    if modality != "CT":
        # What is shown comes from the file: only what can be a code is quoted.
        named = f" (its modality is {modality})" if re.fullmatch(r"[A-Z]{2,16}", modality) else ""
        raise ImageError(f"This DICOM file is not a CT image{named}. Please upload CT slices.")
    if "LOCALIZER" in _texts(dataset.get("ImageType")):
        raise ImageError(
            "This DICOM file is a localiser (scout view), not a CT slice. Please upload CT slices."
        )
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames > 1:
        raise ImageError(
            f"This DICOM file holds {frames} images in one (multi-frame). "
            "Please export the slices as single images."
        )
    if "PixelData" not in dataset or not dataset.PixelData:
        raise ImageError(
            "The DICOM file holds no image, or was not copied completely. Please upload CT slices."
        )
    photometric = str(dataset.get("PhotometricInterpretation") or "")
    if int(dataset.get("SamplesPerPixel") or 1) != 1 or not photometric.startswith("MONOCHROME"):
        raise ImageError(
            "The DICOM file is in colour: a CT slice is grey. Please upload the CT slice itself."
        )
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise ImageError(f"The DICOM file does not say what its grey values mean. {_AGAIN}")


def _check_pixel_data(
    dataset: Dataset, syntax: UID, *, rows: int, columns: int
) -> Codestream | None:
    """Compare what the header promises with the bytes that are there, before decoding them."""
    allocated, bits = int(dataset.BitsAllocated), int(dataset.BitsStored)
    if allocated not in (8, 16) or not 1 <= bits <= allocated:
        raise ImageError(
            f"The DICOM file stores {bits} of {allocated} bits per pixel, which no CT slice does. "
            f"{_AGAIN}"
        )
    length = rows * columns * allocated // 8
    if syntax in _NATIVE:
        if int(dataset.get("HighBit", bits - 1)) >= bits:
            raise ImageError(f"The DICOM file stores its bits in a retired layout. {_AGAIN}")
        if len(dataset.PixelData) < length:
            raise ImageError(
                f"The DICOM file was not copied completely: part of its image is missing. {_AGAIN}"
            )
        return None
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    # Noise grows a little when compressed; more than this is not the image that is promised.
    if len(frame) > 2 * length + 2**16:
        raise ImageError(f"The DICOM file holds more data than its image can have. {_AGAIN}")
    if syntax == _RLE:
        return None
    codestream = read_codestream(frame)
    if codestream is None:
        raise ImageError(f"The compressed image in the DICOM file is damaged. {_AGAIN}")
    if (codestream.rows, codestream.columns, codestream.components) != (rows, columns, 1):
        raise ImageError(f"The image in the DICOM file has another size than it says. {_AGAIN}")
    # A stream that is cut off would be filled up with grey by some decoders.
    if b"\xff\xd9" not in frame[-64:]:
        raise ImageError(f"The compressed image in the DICOM file is not complete. {_AGAIN}")
    return codestream


def _is_lossy(dataset: Dataset, syntax: UID, codestream: Codestream | None) -> bool:
    # (0028,2110): "01" once the image has ever been compressed lossily, and for good.
    if syntax in _LOSSY or str(dataset.get("LossyImageCompression") or "") == "01":
        return True
    return codestream is not None and codestream.is_irreversible is True


def _read_by_simpleitk(dataset: Dataset) -> NDArray[Any]:
    """Decode the pixels of a JPEG that pydicom cannot read; stored values, `(rows, columns)`."""
    # It is slow to load and large, and seldom needed.
    import SimpleITK as sitk

    # Only the image goes to the other parser, without rescale: one place makes HU.
    bare = Dataset()
    bare.file_meta = FileMetaDataset()
    bare.file_meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    bare.SOPClassUID = bare.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.2")
    bare.SOPInstanceUID = bare.file_meta.MediaStorageSOPInstanceUID = UID("2.25.1")
    bare.Modality = "CT"
    for name in ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation"):
        setattr(bare, name, int(dataset[name].value))
    bare.HighBit = bare.BitsStored - 1
    bare.SamplesPerPixel = 1
    bare.PhotometricInterpretation = "MONOCHROME2"
    bare.PixelData = encapsulate([get_frame(dataset.PixelData, 0, number_of_frames=1)])
    bare["PixelData"].VR = "OB"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.dcm"
        bare.save_as(path, enforce_file_format=True)
        reader = sitk.ImageFileReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileName(str(path))
        image = sitk.GetArrayFromImage(reader.Execute())
    return np.asarray(image[0])


def _tells_hu(dataset: Dataset) -> bool:
    unit = ""
    if dataset.get("ModalityLUTSequence"):
        unit = str(dataset.ModalityLUTSequence[0].get("ModalityLUTType") or "")
    elif dataset.get("RescaleSlope") is None or dataset.get("RescaleIntercept") is None:
        return False
    else:
        unit = str(dataset.get("RescaleType") or "")
    # Many a scanner writes "US" or words of its own ("Houndsfield Unit") where HU are meant.
    if unit.strip().upper() in _OTHER_UNITS:
        raise ImageError(
            "The values of this DICOM file are not Hounsfield units but another measure. "
            "Please upload the CT slices themselves."
        )
    return True


def _to_hu(dataset: Dataset, stored: NDArray[Any]) -> NDArray[np.int16]:
    slope = float(dataset.get("RescaleSlope") or 0.0)
    intercept = float(dataset.get("RescaleIntercept") or 0.0)
    has_lut = bool(dataset.get("ModalityLUTSequence"))
    if not has_lut and (not slope or not math.isfinite(slope) or not math.isfinite(intercept)):
        raise ImageError(f"The DICOM file's scale of Hounsfield units is damaged. {_AGAIN}")
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
            # Some scanners pad the corners with a value that would be brighter than any bone.
            is_padding = (part >= padding[0]) & (part <= padding[1]) & (values > _AIR_HU)
            values[is_padding] = _AIR_HU
        hu[top : top + step] = np.rint(values).clip(limits.min, limits.max).astype(np.int16)
    return hu


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
                "Please export the CT slice from the scanner's own series."
            )
        grey = apply_window(stored, Window(center_hu=center, width_hu=width))
    # Here the values are shown as they are, and MONOCHROME1 means that the lowest is white.
    return 255 - grey if dataset.PhotometricInterpretation == "MONOCHROME1" else grey


def _texts(value: Any) -> list[str]:
    values = [value] if isinstance(value, str) else list(value or ())
    return [str(item).strip().upper() for item in values]
