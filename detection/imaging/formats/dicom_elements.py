"""Reads values of DICOM elements, whatever value representation (VR) they were written with."""

import math
import re
import struct
from collections.abc import Iterable
from typing import Any

from pydicom.datadict import dictionary_description, dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from detection.imaging.errors import Code, ImageError

AGAIN = "Please export it again or upload it again."
_BINARY = {
    "FD": "d", "FL": "f", "SL": "i", "SS": "h", "SV": "q", "UL": "I", "US": "H", "UV": "Q",
}  # fmt: skip
_BY_SIGN = "US or SS"
_NUMBERS = frozenset({*_BINARY, "DS", "IS", _BY_SIGN})
# An infinity or a "nan" is no number of an image.
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
# No element of numbers that is read is longer.
_MAX_BYTES = 4096


def named(keyword: str) -> str:
    """Return name and tag of an element, as in "Bits Stored (0028,0101)"."""
    tag = Tag(keyword)
    return f"{dictionary_description(tag)} ({tag.group:04X},{tag.element:04X})"


def absent(keyword: str) -> ImageError:
    """Return the error for an element that an image cannot be read without."""
    return ImageError(f"The DICOM file has no {named(keyword)}. {AGAIN}", code=Code.ELEMENT_ABSENT)


def malformed(keyword: str) -> ImageError:
    """Return the error for an element whose value is not what it must be."""
    return ImageError(
        f"The DICOM file has a malformed {named(keyword)}. {AGAIN}", code=Code.ELEMENT_MALFORMED
    )


def cleaned(dataset: Dataset, keywords: Iterable[str], *, is_signed: bool = False) -> Dataset:
    """Copy some elements of a data set in the form that the rest of the code relies on.

    Numbers become whole or floating numbers, one or a list of them, whether the file holds them
    as text (DS, IS, but also UT, LO, SH, UN) or in binary. NaN stands for a malformed number, None
    for an element without a value. Other elements that cannot be read are left out.

    Parameters
    ----------
    is_signed : bool
        How elements of the VR "US or SS" are to be read, by Pixel Representation (0028,0103).
    """
    clean = Dataset()
    for keyword in keywords:
        if tag_for_keyword(keyword) not in dataset:
            continue
        vr = dictionary_VR(keyword)
        if vr not in _NUMBERS:
            _copy_text(dataset, keyword, clean)
            continue
        element = dataset.get_item(keyword)
        if element.value in (None, "", b""):
            clean.add_new(keyword, "FD", None)
            continue
        values = _numbers(element, vr, is_signed=is_signed)
        whole = all(value.is_integer() for value in values)
        told = [int(value) if whole else value for value in values]
        clean.add_new(keyword, "SV" if whole else "FD", told[0] if len(told) == 1 else told)
    return clean


def whole_number(dataset: Dataset, keyword: str, *, default: int | None = None) -> int:
    """Read an element of one whole number that is not negative, from what `cleaned` gives.

    Raises
    ------
    ImageError
        If it is malformed, or without a default absent or empty.
    """
    value = dataset.get(keyword)
    if value is None and default is not None:
        return default
    if keyword not in dataset:
        raise absent(keyword)
    if not isinstance(value, int) or value < 0:
        raise malformed(keyword)
    return value


def finite_number(dataset: Dataset, keyword: str) -> float | None:
    """Read an element of one number, from what `cleaned` gives; None if it is absent.

    Raises
    ------
    ImageError
        If it is malformed.
    """
    if keyword not in dataset:
        return None
    value = dataset.get(keyword)
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise malformed(keyword)
    return float(value)


def _copy_text(dataset: Dataset, keyword: str, into: Dataset) -> None:
    try:
        element = dataset[keyword]
        if isinstance(element.value, bytes):
            text = element.value.decode("latin-1").strip(" \0")
            into.add_new(keyword, "LO", text.split("\\") if "\\" in text else text)
        else:
            into[keyword] = element
    except (ValueError, TypeError, NotImplementedError):
        # pydicom raises these for a value that its VR cannot have.
        return


def _numbers(element: Any, vr: str, *, is_signed: bool) -> list[float]:
    """Return the numbers of an element, or [NaN] if it has none."""
    value = element.value
    if isinstance(value, bytes):
        told = element.VR if element.VR not in (None, "UN") else vr
        if vr == _BY_SIGN and told in ("US", "SS", "OW", "OB", _BY_SIGN):
            # Files that are not sure of the sign here are many; the pixels decide.
            told = "SS" if is_signed else "US"
        order = "<" if getattr(element, "is_little_endian", True) else ">"
        values = _binary(value, order + _BINARY[told]) if told in _BINARY else _decimals(value)
    else:
        # Read already by pydicom, as within a sequence of undefined length.
        many = value if isinstance(value, Iterable) and not isinstance(value, str) else [value]
        values = [number for one in many for number in _decimals(str(one).encode())]
    return values if values and all(map(math.isfinite, values)) else [math.nan]


def _binary(value: bytes, code: str) -> list[float]:
    size = struct.calcsize(code)
    if len(value) % size or len(value) > _MAX_BYTES:
        return []
    return [float(number) for (number,) in struct.iter_unpack(code, value)]


def _decimals(value: bytes) -> list[float]:
    if len(value) > _MAX_BYTES:
        return []
    words = [word.strip(" \0\t\r\n") for word in value.decode("latin-1").split("\\")]
    if not all(_DECIMAL.fullmatch(word) for word in words):
        return []
    return [float(word) for word in words]
