"""What an upload has become: its series, a row for each file, and which series to read first."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from detection.imaging.errors import Code, Notice
from detection.imaging.formats import PICTURE_KINDS, Identifiers

Status = Literal["accepted", "skipped", "refused"]
# Codes of what may well lie beside a series on a disc: left out there, refused by itself.
OF_NO_CONCERN = frozenset({Code.NOT_AN_IMAGE, Code.PROGRAM})


@dataclass(frozen=True)
class FileReport:
    """What became of one file or one member of an archive.

    Attributes
    ----------
    source_index : int
        Which of the given paths it is or lies in.
    name, member : str
        The name of the path, and the place within it if that is a folder or an archive, else "".
        They come from the sender and may name a person.
    code, reason, advice : str
        Why it was skipped or refused, and what to do; "" if it was accepted.
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
        A file for `load_volume`, below the target folder, under a name of our own.
    header : dict
        As `Volume.header` gives it.
    kind : str
        "png", "jpeg", "dicom" or "nifti".
    study, group : str
        Opaque names (hashes) of the study and of the series within it.
    description : str
        In our own words; nothing of the file's descriptions.
    notices : tuple of Notice
        Each fact once, those of the volume first.
    rows, source_indices : tuple of int
        The rows of the report, and the given paths, from which it was made.
    is_single_image : bool
        Whether it is an image that has a file to itself: a picture, or a DICOM file of one frame.
    identifiers : Identifiers
        To be stored encrypted and apart.
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


@dataclass(frozen=True)
class IngestResult:
    """All series of an upload, in the order of their first files, and a row for each file."""

    series: tuple[IngestedSeries, ...]
    report: tuple[FileReport, ...]


def choose_series(series: Sequence[IngestedSeries]) -> int:
    """Return the index of the series that should be read first.

    The rule, in this order: axial before coronal before others; Hounsfield units; as the scanner
    made it and not derived; covering at least half of the body that any of these covers; the
    thinner slices, as 1.5 mm or less, 3 mm or less, more; the most slices.

    Raises
    ------
    ValueError
        If there is none.
    """
    planes = {"axial": 2, "coronal": 1}

    def kind(one: IngestedSeries) -> tuple[int, bool, bool]:
        return planes.get(one.header["plane"], 0), one.header["is_hu"], one.is_original

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
        return *kind(one), is_wide, thinness, one.header["slices"], -index

    return max(range(len(series)), key=merit)


def describe(header: dict[str, Any], *, kind: str) -> str:
    if kind in PICTURE_KINDS:
        return "picture"
    count = header["slices"]
    words = [header["plane"] if header["plane"] != "unknown" else "plane not known"]
    words.append(f"{count} slices" if count > 1 else "1 slice")
    if header["spacing_mm"] and header["spacing_mm"][0] > 0:
        words.append(f"{header['spacing_mm'][0]:.1f} mm")
    if not header["is_hu"]:
        words.append("no Hounsfield units")
    return ", ".join(words)
