"""Reads texts of DICOM elements in the character set they are written in."""

import re

from pydicom.charset import CODES_TO_ENCODINGS, convert_encodings, decode_bytes
from pydicom.dataset import Dataset

# Escape sequences of ISO 2022 (ECMA-35, 13.2): the decoders leave those of some sets in the text.
_ESCAPES = re.compile("\x1b[\x20-\x2f]+[\x30-\x7e]")
# A set of several bytes a letter ends with a part of a name (PS3.5, 6.2.1.2).
_DELIMITERS = {ord(letter) for letter in "\\^="}
# Sets of one byte a letter (PS3.3, table C.12-2). A text that says one of them, or none, and is
# UTF-8 all the same was written by a program that did not say so: Latin letters next to each other
# do not make UTF-8.
_ONE_BYTE = frozenset(
    {"", "ISO_IR 6", "ISO_IR 100", "ISO_IR 101", "ISO_IR 109", "ISO_IR 110", "ISO_IR 148"}
)


def text_of(dataset: Dataset, keyword: str) -> str:
    """Return a text as its author meant it, by Specific Character Set (0008,0005); "" without one.

    Escape sequences are followed even where the file does not announce their sets.

    Parameters
    ----------
    dataset : Dataset
        With Specific Character Set, as `read_elements` gives it.
    """
    if keyword not in dataset:
        return ""
    raw = dataset.get_item(keyword).value
    if not isinstance(raw, bytes) or raw.isascii() and b"\x1b" not in raw:
        return str(dataset.get(keyword) or "")
    told = dataset.get("SpecificCharacterSet") or ""
    names = [told] if isinstance(told, str) else [str(name) for name in told]
    if all(name.strip() in _ONE_BYTE for name in names) and b"\x1b" not in raw:
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            pass
    encodings = list(convert_encodings(names))
    encodings += [name for code, name in CODES_TO_ENCODINGS.items() if code in raw]
    return _ESCAPES.sub("", decode_bytes(raw, encodings, _DELIMITERS))
