"""Finds the slices that may make a series: by study, series, frame of reference and grid."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from detection.imaging.errors import Code, Notice
from detection.imaging.formats import SliceFacts
from detection.imaging.ingest.ordering import along, distinct
from detection.imaging.ingest.slices import SliceRef

# More sizes, scales or orientations than this are a curved or rotating view.
GRIDS_AT_MOST = 8

_NO_SERIES_UID = Notice(
    Code.NO_SERIES_UID,
    "The files do not say to which series they belong: those that share a frame of reference and "
    "the way of reconstruction were put together. "
    "Please check that the slices belong together.",
)
_OWN_SERIES_UIDS = Notice(
    Code.OWN_SERIES_UIDS,
    "Each slice names a series of its own: those that agree in everything else were put together. "
    "Please check that the slices belong together.",
)


@dataclass(frozen=True)
class Group:
    """Slices that belong to one series, by its UID or in spite of it, and the notices of that."""

    slices: tuple[SliceRef, ...]
    notices: tuple[Notice, ...] = ()


def groups_of(refs: Sequence[SliceRef]) -> list[Group]:
    """Group slices by study, series, patient and frame of reference.

    A file that names no series goes by its frame of reference and reconstruction. Single slices
    with a series each, or with none, are put together if they share study, patient, frame of
    reference, grid and reconstruction; a series of several slices is never joined to another.
    """
    groups: list[Group] = []
    lone: list[SliceRef] = []
    for slices in _by(refs, _series):
        if len(slices) == 1 and slices[0].facts.frames == 1 and slices[0].keys.study:
            lone.append(slices[0])
            continue
        frames = _by(slices, lambda ref: ref.keys.frame_of_reference)
        # Some anonymisers give a frame of reference to each slice.
        if all(len(one) == 1 for one in frames):
            frames = [slices]
        for one in frames:
            is_told = one[0].keys.is_series_told
            notices = () if is_told or len(one) == 1 else (_NO_SERIES_UID,)
            groups.append(Group(tuple(one), notices))
    return groups + _joined(lone)


def same_grid(slices: Iterable[SliceRef]) -> list[list[SliceRef]]:
    """Divide slices by size, scale and orientation; stop at more parts than are read.

    A slice that does not tell its scale or orientation goes with the others if there is no choice.
    """
    grids: list[list[SliceRef]] = []
    untold = [ref for ref in slices if not _tells_grid(ref.facts)]
    for ref in (*(ref for ref in slices if _tells_grid(ref.facts)), *untold):
        fitting = [grid for grid in grids if _is_alike(ref.facts, grid[0].facts)]
        if fitting and (len(fitting) == 1 or _tells_grid(ref.facts)):
            fitting[0].append(ref)
            continue
        grids.append([ref])
        if len(grids) > GRIDS_AT_MOST:
            break
    return grids


def _joined(lone: Sequence[SliceRef]) -> list[Group]:
    """Put single slices together that agree in everything but the name of their series."""
    groups: list[Group] = []
    for alike in _by(lone, _made):
        for grid in same_grid(alike):
            if len(grid) > 1 and _may_join(grid):
                is_named = all(ref.keys.is_series_told for ref in grid)
                groups.append(
                    Group(tuple(grid), (_OWN_SERIES_UIDS if is_named else _NO_SERIES_UID,))
                )
            else:
                groups += [Group((ref,)) for ref in grid]
    return groups


def _may_join(grid: Sequence[SliceRef]) -> bool:
    """Say whether slices may be a stack: they are not if all of them lie at one known place."""
    places = [along(grid, order) for order in ("position", "location", "number")]
    return all(one is None for one in places) or any(distinct(one) > 1 for one in places)


def _series(ref: SliceRef) -> Hashable:
    keys, facts = ref.keys, ref.facts
    if not keys.series:
        return (ref.row, facts.frame)
    if keys.is_series_told:
        return keys.series
    return (keys.series, facts.image_type, facts.temporal, facts.kernel)


def _made(ref: SliceRef) -> Hashable:
    keys, facts = ref.keys, ref.facts
    made = (facts.kvp, facts.contrast, facts.kernel, facts.image_type, facts.temporal)
    return (keys.study, keys.frame_of_reference, keys.is_series_told, *made)


def _by(refs: Iterable[SliceRef], key: Callable[[SliceRef], Hashable]) -> list[list[SliceRef]]:
    held: dict[Hashable, list[SliceRef]] = {}
    for ref in refs:
        held.setdefault(key(ref), []).append(ref)
    return list(held.values())


def _tells_grid(facts: SliceFacts) -> bool:
    return facts.spacing_mm is not None and facts.orientation is not None


def _is_alike(one: SliceFacts, other: SliceFacts) -> bool:
    if (one.rows, one.columns, one.is_hu) != (other.rows, other.columns, other.is_hu):
        return False
    scales = [facts.spacing_mm[1:] for facts in (one, other) if facts.spacing_mm]
    if not np.allclose(scales[:1], scales[-1:], rtol=2e-3, atol=0):
        return False
    if one.orientation and other.orientation:
        # About half a degree.
        return bool(np.allclose(one.orientation, other.orientation, rtol=0, atol=0.01))
    return one.orientation is not None or other.orientation is not None or one.plane == other.plane
