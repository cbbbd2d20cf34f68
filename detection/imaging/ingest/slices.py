"""The slices that are sorted into series, and the order in which they are looked at."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from detection.imaging.errors import Code, Notice
from detection.imaging.formats import SeriesKeys, SliceFacts


@dataclass(frozen=True)
class SliceRef:
    """One frame of the file in row `row` of the report."""

    row: int
    facts: SliceFacts
    keys: SeriesKeys


@dataclass(frozen=True)
class LeftOut:
    """A slice that is not read, and why; `is_refused` if it ought to have been."""

    ref: SliceRef
    notice: Notice
    is_refused: bool


TWICE = Notice(Code.DUPLICATE_SLICE, "The same image is there twice.")


def in_order_of_content(refs: Iterable[SliceRef]) -> list[SliceRef]:
    """Sort slices by what their headers say, so that the order of the files decides nothing."""
    return sorted(refs, key=_content)


def without_copies(
    refs: Sequence[SliceRef],
) -> tuple[list[SliceRef], list[tuple[SliceRef, SliceRef]]]:
    """Return the slices, each image once, and each copy with the slice that it is a copy of.

    An image is the same if its header says the same of it and it has the same pixels; or, with
    place and number told, the same SOP Instance UID (0008,0018), as after another compression. A
    UID alone proves nothing: some tools give one to all slices.
    """
    once: list[SliceRef] = []
    copies: list[tuple[SliceRef, SliceRef]] = []
    seen: dict[Any, SliceRef] = {}
    for ref in refs:
        names = _names(ref)
        first = next((seen[name] for name in names if name in seen), None)
        if first is None:
            once.append(ref)
        else:
            copies.append((ref, first))
        for name in names:
            seen.setdefault(name, first or ref)
    return once, copies


def _names(ref: SliceRef) -> list[Any]:
    names: list[Any] = []
    facts = ref.facts
    has_place = facts.position_mm is not None or facts.slice_location_mm is not None
    if ref.keys.instance and has_place and facts.instance_number is not None:
        names.append((ref.keys, replace(facts, pixels="")))
    if facts.pixels:
        names.append((replace(ref.keys, instance=""), facts))
    return names


def _content(ref: SliceRef) -> tuple[Any, ...]:
    facts, keys = ref.facts, ref.keys
    numbers = (facts.series_number, facts.acquired_s, facts.acquisition, facts.instance_number)
    return (
        keys.study,
        *((number is None, number or 0) for number in numbers),
        keys.series,
        facts.position_mm or (),
        repr(facts),
        keys.instance,
    )
