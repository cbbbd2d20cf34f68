"""Checks the answers of the decoding process, which a file may have taken over."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from detection.imaging.errors import Code, ImageError, Notice, notices_json, once
from detection.imaging.formats import Identifiers, Member, SeriesKeys, SliceFacts
from detection.imaging.ingest.slices import SliceRef
from detection.imaging.volume import Plane, load_volume

_HEADER_KEYS = frozenset(
    {"slices", "rows", "columns", "is_hu", "plane", "spacing_mm", "notices", "colour_spread"}
)
_MAX_TEXT = 255
# Facts of a slice that only help to sort.
_NUMBERS = ("slice_location_mm", "acquired_s", "content_s", "kvp")
_WHOLE_NUMBERS = ("instance_number", "series_number", "acquisition")
_HASHES = ("contrast", "temporal", "kernel", "image_type", "pixels", "syntax")


@dataclass(frozen=True)
class Unreadable:
    """A file of a series, by its number in the job, and why it could not be read."""

    file: int
    code: str
    sentence: str


def checked(target: Path, header: Any) -> dict[str, Any]:
    """Return the header of a volume file, if `header` describes what the file holds.

    Raises
    ------
    ImageError
        If the file is not a volume, or another one than `header` says.
    """
    if isinstance(header, dict) and header.keys() >= _HEADER_KEYS:
        try:
            stored = load_volume(target, is_new=True).header()
        except ImageError as error:
            raise _not_believed() from error
        if {key: header.get(key) for key in stored} == stored:
            return {**stored, "notices": notices_json(notices_believed(stored["notices"]))}
    raise _not_believed()


def notices_believed(told: Any) -> tuple[Notice, ...]:
    """Return the notices of an answer that have a known code, each cut to 255 letters."""
    if not isinstance(told, list):
        return ()
    known = [code.value for code in Code]
    texts = [one for one in told if isinstance(one, dict) and one.get("code") in known]
    return once(Notice(Code(one["code"]), str(one.get("text"))[:_MAX_TEXT]) for one in texts)


def members_believed(told: Any) -> list[Member]:
    """Return the members of an answer to the job "unpack".

    Raises
    ------
    ImageError
        If the answer has not the form it must have.
    """
    try:
        return [
            Member(
                name=str(one["name"]),
                path=str(one["path"]),
                code=str(one["code"]),
                sentence=str(one["sentence"]),
                is_skipped=bool(one["is_skipped"]),
            )
            for one in told
        ]
    except (KeyError, TypeError) as error:
        raise _not_believed() from error


def unreadable_believed(told: Any, *, files: int) -> list[Unreadable]:
    """Return the files that an answer to the job "stack" calls unreadable.

    Parameters
    ----------
    files : int
        How many files the job had.

    Raises
    ------
    ImageError
        If the answer has not the form it must have.
    """
    try:
        found = [Unreadable(int(one["file"]), str(one["code"]), str(one["error"])) for one in told]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise _not_believed() from error
    if not all(0 <= one.file < files for one in found):
        raise _not_believed()
    return found


def believed(answer: dict[str, Any], *, row: int) -> tuple[Identifiers, list[SliceRef]]:
    """Return the identifiers and the slices of an answer to the job "scan".

    Parameters
    ----------
    row : int
        The row of the report for the file.

    Raises
    ------
    ImageError
        If the answer has not the form it must have.
    """
    try:
        names = ("study", "series", "instance", "frame_of_reference")
        said = {name: str(answer["keys"][name])[:64] for name in names}
        keys = SeriesKeys(**said, is_series_told=bool(answer["keys"]["is_series_told"]))
        told = {k: str(v)[:_MAX_TEXT] for k, v in answer["identifiers"].items()}
        refs = [SliceRef(row, _facts(one), keys) for one in answer["slices"]]
        return Identifiers(**told), refs
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise _not_believed() from error


def _not_believed() -> ImageError:
    return ImageError(
        "The file could not be read: decoding it failed. Please export it again.",
        code=Code.DECODER_DIED,
    )


def _facts(told: dict[str, Any]) -> SliceFacts:
    def three(values: Any) -> tuple[float, float, float]:
        x, y, z = (float(value) for value in values)
        return x, y, z

    orientation, plane = told["orientation"], told["plane"]
    if plane not in get_args(Plane):
        raise ValueError("There is no such plane.")
    sorting: dict[str, Any] = {name: _finite(told[name]) for name in _NUMBERS}
    for name in _WHOLE_NUMBERS:
        sorting[name] = None if told[name] is None else int(told[name])
    sorting |= {name: str(told[name])[:64] for name in _HASHES}
    return SliceFacts(
        frame=int(told["frame"]),
        rows=int(told["rows"]),
        columns=int(told["columns"]),
        is_hu=bool(told["is_hu"]),
        is_original=bool(told["is_original"]),
        position_mm=three(told["position_mm"]) if told["position_mm"] else None,
        orientation=(three(orientation[0]), three(orientation[1])) if orientation else None,
        spacing_mm=three(told["spacing_mm"]) if told["spacing_mm"] else None,
        plane=plane,
        frames=int(told["frames"]),
        **sorting,
    )


def _finite(told: Any) -> float | None:
    value = None if told is None else float(told)
    if value is not None and not math.isfinite(value):
        raise ValueError("The number is not finite.")
    return value
