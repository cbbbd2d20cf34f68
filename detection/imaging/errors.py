"""The errors and notices of image files, each with a code."""

import errno
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

# Of a path that cannot be opened as it is named.
_OF_A_PATH = frozenset(
    {
        errno.EACCES,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EPERM,
    }
)
# Slices farther apart than this average a small stone away.
_THICK_MM = 3.0


class Code(StrEnum):
    """Why a file or a series is refused, left out, or read with a warning."""

    # A file that cannot be read.
    EMPTY = "empty"
    NOT_AN_IMAGE = "not_an_image"
    PROGRAM = "program"
    POLYGLOT = "polyglot"
    DAMAGED = "damaged"
    TOO_LARGE = "too_large"
    TOO_MANY_PIXELS = "too_many_pixels"
    BOMB = "bomb"
    OUT_OF_MEMORY = "out_of_memory"
    TIMED_OUT = "timed_out"
    DECODER_DIED = "decoder_died"
    UNREADABLE = "unreadable"
    LINK = "link"
    ANIMATION = "animation"
    # DICOM.
    UNSUPPORTED_COMPRESSION = "unsupported_compression"
    ELEMENT_ABSENT = "element_absent"
    ELEMENT_MALFORMED = "element_malformed"
    DICOMDIR = "dicomdir"
    NOT_CT = "not_ct"
    LOCALISER = "localiser"
    NO_IMAGE = "no_image"
    SECONDARY_CAPTURE = "secondary_capture"
    DERIVED_MAP = "derived_map"
    COLOUR = "colour"
    NOT_HU = "not_hu"
    MULTI_FRAME = "multi_frame"
    # Archives and folders.
    IS_ARCHIVE = "is_archive"
    IS_VOLUME = "is_volume"
    IS_FOLDER = "is_folder"
    ENCRYPTED = "encrypted"
    UNSAFE_PATH = "unsafe_path"
    TOO_DEEP = "too_deep"
    TOO_MANY_FILES = "too_many_files"
    SYSTEM_FILE = "system_file"
    # NIfTI.
    SEVERAL_VOLUMES = "several_volumes"
    # Of a series: what is left out or refused of it.
    DUPLICATE_SLICE = "duplicate_slice"
    SET_ASIDE = "set_aside"
    MIXED_ORIENTATIONS = "mixed_orientations"
    TOO_MANY_SLICES = "too_many_slices"
    # Of a series: warnings, it is read all the same.
    SEVERAL_SERIES = "several_series"
    SEVERAL_ACQUISITIONS = "several_acquisitions"
    MIXED_GEOMETRY = "mixed_geometry"
    MISSING_SLICES = "missing_slices"
    UNEVEN_SPACING = "uneven_spacing"
    GANTRY_TILT = "gantry_tilt"
    THICK_SLICES = "thick_slices"
    NO_SERIES_UID = "no_series_uid"
    OWN_SERIES_UIDS = "own_series_uids"
    NO_POSITION = "no_position"
    NO_PIXEL_SIZE = "no_pixel_size"
    ORDER_DOUBTFUL = "order_doubtful"
    NOT_IN_ORDER = "not_in_order"
    NO_ORIENTATION = "no_orientation"
    ORIENTATION_CONFLICT = "orientation_conflict"
    HU_DOUBTFUL = "hu_doubtful"
    SLICES_LEFT_OUT = "slices_left_out"
    # Of the pixels: it is read all the same.
    EIGHT_BIT = "eight_bit"
    SIXTEEN_BIT = "sixteen_bit"
    EIGHT_BIT_HU = "eight_bit_hu"
    HU_UNKNOWN = "hu_unknown"
    LOSSY = "lossy"
    CONTRAST_MEDIUM = "contrast_medium"
    BURNED_IN = "burned_in"
    BODY_PART_FAR = "body_part_far"
    BODY_PART_NEAR = "body_part_near"
    # Of an image that was stored before notices had codes.
    EARLIER = "earlier"


class ImageError(Exception):
    """A file cannot be used as a CT image.

    Attributes
    ----------
    code : Code
        The name of the reason.
    reason, advice : str
        `str(error)` in two parts: what is wrong, and from "Please" on what to do.
    """

    def __init__(self, sentence: str, *, code: Code = Code.DAMAGED) -> None:
        super().__init__(sentence)
        self.code = code
        self.reason, self.advice = split_advice(sentence)


def split_advice(sentence: str) -> tuple[str, str]:
    """Split a message into its reason and its advice, which begins with "Please"."""
    reason, please, advice = sentence.partition(" Please ")
    return reason, f"Please {advice}" if please else ""


def is_of_the_machine(error: Exception) -> bool:
    """Say whether an error comes from the disk or from permissions, not from a file's content."""
    # A damaged file makes its readers seek to impossible places: those errors are the file's.
    return isinstance(error, OSError) and error.errno not in (None, errno.EINVAL, errno.EOVERFLOW)


def is_of_the_installation(error: OSError, *, sources: Collection[str]) -> bool:
    """Say whether an error of reading files is the installation's fault, so that it passes.

    A full or read-only disk and an error of the disk itself are. A result that is larger than a
    process may write is the file's fault, as is a source that cannot be opened.

    Parameters
    ----------
    sources : collection of str
        The paths of the files that were to be read.
    """
    if not is_of_the_machine(error) or error.errno == errno.EFBIG:
        return False
    return not (error.errno in _OF_A_PATH and error.filename in sources)


@dataclass(frozen=True)
class Notice:
    """One fact that must stand beside an answer.

    Attributes
    ----------
    code : str
        The name of the fact: a `Code`, or one of `detection.ml.errors.ReadingCode`.
    text : str
        The fact and, from "Please" on, what to do.
    """

    code: str
    text: str

    @property
    def reason(self) -> str:
        """The fact, without what to do."""
        return split_advice(self.text)[0]


def once(notices: Iterable[Notice]) -> tuple[Notice, ...]:
    """Keep the first notice of each code, so that a fact is told once."""
    first: dict[str, Notice] = {}
    for notice in notices:
        # Sentences of before that have no code of their own are facts of their own.
        first.setdefault(notice.text if notice.code == Code.EARLIER else notice.code, notice)
    return tuple(first.values())


def notices_json(notices: Iterable[Notice]) -> list[dict[str, str]]:
    """Return notices in plain JSON types; `notices_told` reads them back."""
    return [{"code": str(notice.code), "text": notice.text} for notice in notices]


def notices_told(told: Iterable[Mapping[str, str]]) -> tuple[Notice, ...]:
    """Return the notices that `notices_json` wrote."""
    return tuple(Notice(one["code"], one["text"]) for one in told)


def thick_slices(slice_mm: float, *, count: int) -> tuple[Notice, ...]:
    """Return a notice for slices so thick that they may hide a small stone, or nothing.

    Parameters
    ----------
    slice_mm : float
        Distance between slices, or the thickness of a single one, in mm.
    count : int
        Number of slices.
    """
    if slice_mm <= _THICK_MM:
        return ()
    told = (
        f"The slice is {slice_mm:.1f} mm thick: a small stone may be averaged away. "
        "Please upload a thinner slice if there is one."
        if count == 1
        else f"The slices are {slice_mm:.1f} mm apart: a small stone may lie between them, be "
        "averaged away, or show on one slice alone. "
        "Please upload a series of thinner slices if there is one."
    )
    return (Notice(Code.THICK_SLICES, told),)
