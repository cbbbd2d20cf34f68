"""The slices that are sorted into series, and the order in which they are looked at."""

from collections.abc import Hashable, Iterable, Sequence, Set
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

    An image is the same if its header says the same of it and it has the same pixels. Stored
    pixels that differ are of one image only after another compression: place, number and SOP
    Instance UID (0008,0018) are told and equal, and no transfer syntax has two such images. A UID
    alone proves nothing: some tools give one to all slices, or to the slices of two phases.
    """
    stored: dict[Any, dict[str, set[str]]] = {}
    for ref in refs:
        stored.setdefault(header_of(ref), {}).setdefault(ref.facts.syntax, set()).add(
            ref.facts.pixels
        )
    one_image = {
        header
        for header, found in stored.items()
        if header is not None and all(len(pixels) == 1 for pixels in found.values())
    }
    once: list[SliceRef] = []
    copies: list[tuple[SliceRef, SliceRef]] = []
    seen: dict[Any, SliceRef] = {}
    for ref in refs:
        names = _names(ref, one_image)
        first = next((seen[name] for name in names if name in seen), None)
        if first is None:
            once.append(ref)
        else:
            copies.append((ref, first))
        for name in names:
            seen.setdefault(name, first or ref)
    return once, copies


def header_of(ref: SliceRef) -> Hashable | None:
    """Return what a header says of its image, or None if UID, place or number are not told."""
    facts = ref.facts
    has_place = facts.position_mm is not None or facts.slice_location_mm is not None
    if not (ref.keys.instance and has_place and facts.instance_number is not None):
        return None
    return ref.keys, replace(facts, pixels="", syntax="")


def _names(ref: SliceRef, one_image: Set[Hashable]) -> list[Hashable]:
    names: list[Hashable] = []
    header = header_of(ref)
    if header in one_image:
        names.append(header)
    if ref.facts.pixels:
        names.append((replace(ref.keys, instance=""), replace(ref.facts, syntax="")))
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
