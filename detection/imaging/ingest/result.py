"""The result of an upload: its series, a row for each file, and the choice among the series."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from detection.imaging.errors import Code, Notice
from detection.imaging.formats import PICTURE_KINDS, Identifiers

Status = Literal["accepted", "skipped", "refused"]
# Files with these codes lie beside the series on many discs. They are left out beside a series, and
# refused alone.
OF_NO_CONCERN = frozenset({Code.NOT_AN_IMAGE, Code.PROGRAM})


@dataclass(frozen=True)
class FileReport:
    """The outcome of one file or one member of an archive.

    Attributes
    ----------
    source_index : int
        Index of the given path that it is or lies in.
    name, member : str
        The name of the path, and the place within it if that is a folder or an archive, else "".
        They come from the sender and may name a person.
    code, reason, advice : str
        Why the file was skipped or refused, and what to do; "" if it was accepted.
    """

    source_index: int
    name: str
    member: str
    status: Status
    code: str = ""
    reason: str = ""
    advice: str = ""


@dataclass(frozen=True)
class IngestedSeries:
    """A series that was read into a volume file.

    Attributes
    ----------
    volume_path : Path
        A file for `load_volume` in the target folder, under a name of our own.
    header : dict
        The header of the volume, as `Volume.header` gives it.
    kind : str
        "png", "jpeg", "dicom" or "nifti".
    study, group : str
        Hashes or random names that stand for the study and for the series within it.
    description : str
        Plane, slices and spacing in our own words; nothing of the file's descriptions.
    is_original : bool
        Whether every slice is original and not derived, by Image Type (0008,0008).
    notices : tuple of Notice
        Each fact once, those of the volume first.
    rows, source_indices : tuple of int
        The rows of the report, and the given paths, from which the series was made.
    is_single_image : bool
        Whether the image has a file to itself: a picture, or a DICOM file of one frame.
    identifiers : Identifiers
        The patient's identifiers, to be stored encrypted and apart.
    scan : str
        A key that the reconstructions of one scan share, of Acquisition Number (0020,0012), time,
        KVP and contrast agent; "" where the files do not tell these.
    is_contrast_told : bool
        Whether a slice names a contrast agent. Without one the scan may still have had contrast.
    order : int
        Place among the series of the upload by their headers: Series Number and time first.
    """

    volume_path: Path
    header: dict[str, Any]
    kind: str
    study: str
    group: str
    description: str
    is_original: bool
    notices: tuple[Notice, ...]
    rows: tuple[int, ...]
    source_indices: tuple[int, ...]
    is_single_image: bool = False
    identifiers: Identifiers = Identifiers()
    scan: str = ""
    is_contrast_told: bool = False
    order: int = 0


@dataclass(frozen=True)
class IngestResult:
    """All series of an upload, in the order of their first files, and a row for each file.

    The scans that one series holds follow each other in the order of their headers.
    """

    series: tuple[IngestedSeries, ...]
    report: tuple[FileReport, ...]


def choose_series(series: Sequence[IngestedSeries]) -> int:
    """Return the index of the series that should be read first.

    The first of these that differs decides:

    1. axial before coronal before others;
    2. Hounsfield units before none;
    3. original before derived images;
    4. slices in a known order before others;
    5. covering at least half the distance, across slices, of the widest of those alike so far;
    6. no contrast agent named before one named, since contrast medium hides stones;
    7. thinner slices, in the classes up to 1.5 mm, up to 3 mm, above, and not known;
    8. more slices;
    9. the lower Series Number, the earlier scan; never the names or the order of the files.

    Raises
    ------
    ValueError
        If there is no series.
    """
    planes = {"axial": 2, "coronal": 1}

    def kind(one: IngestedSeries) -> tuple[int, bool, bool, bool]:
        header = one.header
        is_ordered = header.get("is_ordered", True)
        return planes.get(header["plane"], 0), header["is_hu"], one.is_original, is_ordered

    def covered_mm(one: IngestedSeries) -> float:
        spacing = one.header["spacing_mm"]
        return float(one.header["slices"] * spacing[0]) if spacing else 0.0

    best_kind = max(kind(one) for one in series)
    widest_mm = max(covered_mm(one) for one in series if kind(one) == best_kind)

    def merit(index: int) -> tuple[Any, ...]:
        one = series[index]
        slice_mm = one.header["spacing_mm"][0] if one.header["spacing_mm"] else 0.0
        thinness = 0 if not slice_mm else 3 if slice_mm <= 1.5 else 2 if slice_mm <= 3 else 1
        is_wide = covered_mm(one) >= widest_mm / 2
        is_native = not one.is_contrast_told
        slices = one.header["slices"]
        return *kind(one), is_wide, is_native, thinness, slices, -one.order, -index

    return max(range(len(series)), key=merit)


def describe(header: dict[str, Any], *, kind: str, is_contrast_told: bool = False) -> str:
    if kind in PICTURE_KINDS:
        return "picture"
    count = header["slices"]
    words = [header["plane"] if header["plane"] != "unknown" else "plane not known"]
    words.append(f"{count} slices" if count > 1 else "1 slice")
    if header["spacing_mm"] and header["spacing_mm"][0] > 0:
        words.append(f"{header['spacing_mm'][0]:.1f} mm")
    if is_contrast_told:
        words.append("contrast medium")
    if not header["is_ordered"]:
        words.append("in no order")
    if not header["is_hu"]:
        words.append("no Hounsfield units")
    return ", ".join(words)
