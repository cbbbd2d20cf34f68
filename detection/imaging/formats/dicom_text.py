"""Reads texts of DICOM elements in the character set they are written in."""

import re

from pydicom.dataset import Dataset

# Escape sequences of ISO 2022 (ECMA-35, 13.2): pydicom leaves those of some sets in the text.
_ESCAPES = re.compile("\x1b[\x20-\x2f]+[\x30-\x7e]")
# Sets of one byte a letter (PS3.3, table C.12-2). A text that says one of them, or none, and is
# UTF-8 all the same was written by a program that did not say so: Latin letters next to each other
# do not make UTF-8.
_ONE_BYTE = frozenset(
    {"", "ISO_IR 6", "ISO_IR 100", "ISO_IR 101", "ISO_IR 109", "ISO_IR 110", "ISO_IR 148"}
)


def text_of(dataset: Dataset, keyword: str) -> str:
    """Return a text as its author meant it, by Specific Character Set (0008,0005); "" without one.

    Parameters
    ----------
    dataset : Dataset
        With Specific Character Set, as `read_elements` gives it.
    """
    if keyword not in dataset:
        return ""
    raw = dataset.get_item(keyword).value
    if isinstance(raw, bytes) and not raw.isascii() and _is_one_byte(dataset):
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            pass
    return _ESCAPES.sub("", str(dataset.get(keyword) or ""))


def _is_one_byte(dataset: Dataset) -> bool:
    told = dataset.get("SpecificCharacterSet") or ""
    names = [told] if isinstance(told, str) else list(told)
    return all(str(name).strip() in _ONE_BYTE for name in names)
