"""Makes stacks of the slices of one series and grid, each in the best order that is known."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from detection.imaging.errors import Code, Notice
from detection.imaging.ingest.ordering import Order, along, distinct, is_placed
from detection.imaging.ingest.parting import Part, part
from detection.imaging.ingest.slices import SliceRef

_NO_ORDER = Notice(
    Code.NOT_IN_ORDER,
    "Nothing in the files says in which order the slices lie: each is read by itself, and the most "
    "suspicious one speaks for the series. "
    "Please export the series from the scanner's archive.",
)
_TANGLE = Notice(
    Code.NOT_IN_ORDER,
    "Several slices lie at one place and nothing tells their scans apart: each is read by itself, "
    "and the most suspicious one speaks for the series. "
    "Please export one series at a time.",
)
_PARTLY_PLACED = Notice(
    Code.MIXED_GEOMETRY,
    "Some slices of this series say where they lie and others do not: they are read apart.",
)


@dataclass(frozen=True)
class Stack:
    """Slices in their order; with the order "none" they are sorted, but no neighbours."""

    slices: tuple[SliceRef, ...]
    order: Order
    notices: tuple[Notice, ...] = ()


def stacks_of(slices: Sequence[SliceRef]) -> tuple[list[Stack], list[SliceRef]]:
    """Put the slices of one series and grid in order, and part those that lie at one place.

    Positions come first, then Slice Location, then Instance Number; each only if it tells every
    slice, and not one place for all of them.

    Returns
    -------
    list of Stack, list of SliceRef
        The stacks, and single slices beside them that are set aside.

    Raises
    ------
    ValueError
        If the place of a slice is no number.
    """
    if len(slices) == 1:
        return [Stack(tuple(slices), "position" if is_placed(slices[0]) else "none")], []
    placed = [ref for ref in slices if is_placed(ref)]
    orders: tuple[Order, ...] = ("position", "location", "number")
    places = {order: along(slices, order) for order in orders}
    count = {order: distinct(found) for order, found in places.items()}
    if places["location"] is None and 0 < len(placed) < len(slices):
        return _apart(placed, [ref for ref in slices if not is_placed(ref)])
    # More Slice Locations than positions: either these were not all written, or each scan counts
    # its locations anew. In the second case the headers tell the scans apart.
    is_doubtful = count["location"] > count["position"]
    for order in orders:
        found = places[order]
        if found is None or count[order] < 2:
            continue
        is_last = not (order == "position" and is_doubtful)
        parts = part(slices, found, order, may_guess=is_last)
        if is_last or all(one.kind != "tangle" for one in parts):
            return _from_parts(parts, order)
    return [Stack(tuple(slices), "none", (_NO_ORDER,))], []


def _apart(
    placed: Sequence[SliceRef], others: Sequence[SliceRef]
) -> tuple[list[Stack], list[SliceRef]]:
    stacks: list[Stack] = []
    aside: list[SliceRef] = []
    for slices in (placed, others):
        found, left = stacks_of(slices)
        stacks += [replace(one, notices=(_PARTLY_PLACED, *one.notices)) for one in found]
        aside += left
    return stacks, aside


def _from_parts(parts: Sequence[Part], order: Order) -> tuple[list[Stack], list[SliceRef]]:
    # Without places nobody knows that a single slice shows what the others show.
    lone = [one for one in parts if one.kind == "lone" and order != "number"]
    scans = [one for one in parts if one not in lone]
    aside = [ref for one in lone for ref in one.slices]
    told: tuple[Notice, ...] = ()
    if len(scans) > 1:
        told += (_several(len(scans)),)
    if aside:
        told += (_set_aside(len(aside)),)
    stacks = []
    for one in scans:
        if one.kind == "tangle":
            stacks.append(Stack(one.slices, "none", (*told, _TANGLE)))
        else:
            doubt = () if order == "position" else (_doubtful(order),)
            stacks.append(Stack(one.slices, order, (*told, *doubt)))
    return stacks, aside


def _doubtful(order: Order) -> Notice:
    name = "Slice Location" if order == "location" else "Instance Number"
    return Notice(
        Code.ORDER_DOUBTFUL,
        f"The positions of the slices are missing or all the same: {name} puts them in order, and "
        "nothing is measured across slices. "
        "Please export the series from the scanner's archive.",
    )


def _several(count: int) -> Notice:
    return Notice(
        Code.SEVERAL_ACQUISITIONS,
        f"This series holds {count} scans or reconstructions of the same place: each is read by "
        "itself.",
    )


def _set_aside(count: int) -> Notice:
    return Notice(
        Code.SET_ASIDE,
        f"{count} single slices beside the series, as of bolus tracking, were set aside unread."
        if count > 1
        else "A single slice beside the series, as of bolus tracking, was set aside unread.",
    )
