"""Plans which slices become which volume and names what is odd, without reading a file."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from detection.imaging.errors import Code, Notice, notices_json, thick_slices
from detection.imaging.formats import opaque
from detection.imaging.geometry import Arrangement, arrange
from detection.imaging.ingest.grouping import GRIDS_AT_MOST, groups_of, same_grid
from detection.imaging.ingest.ordering import Order, is_placed
from detection.imaging.ingest.slices import (
    TWICE,
    LeftOut,
    SliceRef,
    header_of,
    in_order_of_content,
    without_copies,
)
from detection.imaging.ingest.stacking import Stack, stacks_of
from detection.imaging.ingest.steps import missing_slices, step_of
from detection.imaging.limits import Limits
from detection.imaging.volume import Affine, Plane


@dataclass(frozen=True)
class SeriesPlan:
    """A series that is to be read.

    Attributes
    ----------
    slices : tuple of SliceRef
        In the order `order`; `arrangement` then puts them in canonical order.
    order : str
        What put the slices in order: "position", "location", "number" or "none".
    arrangement : Arrangement, optional
        How each slice is turned, if the files say so. Its affine holds only if `affine_lps` is it.
    spacing_mm : tuple of float, optional
        (slice, row, column) after arrangement; 0 between slices where it is not known.
    grouping : tuple of Notice
        Those of `notices` that say why these slices make a series.
    slices_missing, slices_unread : int
        Slices that were never there, by the distances, and those that could not be read.
    copies : tuple of (SliceRef, SliceRef)
        The same images once more, each with the slice that it can stand in for.
    """

    slices: tuple[SliceRef, ...]
    order: Order
    arrangement: Arrangement | None
    affine_lps: Affine | None
    spacing_mm: tuple[float, float, float] | None
    plane: Plane
    is_evenly_spaced: bool
    notices: tuple[Notice, ...]
    grouping: tuple[Notice, ...]
    study: str
    group: str
    slices_missing: int = 0
    slices_unread: int = 0
    copies: tuple[tuple[SliceRef, SliceRef], ...] = ()

    @property
    def is_ordered(self) -> bool:
        return self.order != "none" or len(self.slices) == 1

    @property
    def is_contrast_told(self) -> bool:
        return any(ref.facts.contrast for ref in self.slices)

    @property
    def scan(self) -> str:
        """A key that the reconstructions of one scan share; "" where the files do not tell."""
        scans = {
            (ref.facts.acquisition, ref.facts.acquired_s, ref.facts.kvp, ref.facts.contrast)
            for ref in self.slices
        }
        if len(scans) > 1 or None in (told := scans.pop()):
            return ""
        return opaque(repr((self.study, self.slices[0].keys.frame_of_reference, told)))

    def files(self) -> list[tuple[int, list[tuple[int, int]]]]:
        """Return [(row of the file, [(frame, slice of the volume), ...]), ...]."""
        files: dict[int, list[tuple[int, int]]] = {}
        # Only positions tell which end of the stack is which.
        is_reversed = (
            self.order == "position" and self.arrangement is not None and self.arrangement.flips[0]
        )
        for index, ref in enumerate(self.slices):
            place = len(self.slices) - 1 - index if is_reversed else index
            files.setdefault(ref.row, []).append((ref.facts.frame, place))
        return list(files.items())

    def header(self) -> dict[str, Any]:
        """Return the header of the future volume, in the form of `Volume.header`."""
        facts = self.slices[0].facts
        rows, columns = facts.rows, facts.columns
        if self.arrangement is not None and self.arrangement.order[1] == 2:
            rows, columns = columns, rows
        return {
            "slices": len(self.slices),
            "rows": rows,
            "columns": columns,
            "is_hu": facts.is_hu,
            "plane": self.plane,
            "spacing_mm": list(self.spacing_mm) if self.spacing_mm else None,
            "notices": notices_json(self.notices),
            "colour_spread": 0.0,
            "affine_lps": [list(row) for row in self.affine_lps] if self.affine_lps else None,
            "is_evenly_spaced": self.is_evenly_spaced,
            "is_ordered": self.is_ordered,
            "slices_unread": self.slices_unread,
            "slices_missing": self.slices_missing,
        }


def plan_series(
    refs: Sequence[SliceRef], *, limits: Limits
) -> tuple[list[SeriesPlan], list[LeftOut]]:
    """Sort slices into series, whatever their files are called and in whatever order they come.

    `grouping` finds the slices that may make a series, `stacking` and `parting` put them in order
    and part scans of one place. A copy of an image is left out, and so is a single slice beside a
    stack; every other slice is in a plan or refused.
    """
    plans: list[SeriesPlan] = []
    left_out: list[LeftOut] = []
    once, copies = without_copies(in_order_of_content(refs))
    left_out += [LeftOut(copy, TWICE, is_refused=False) for copy, _ in copies]
    with np.errstate(over="ignore", invalid="ignore"):
        for group in groups_of(once):
            grids = same_grid(group.slices)
            if len(grids) > GRIDS_AT_MOST:
                left_out += _refused(group.slices, _MIXED)
                continue
            notices = (*group.notices, *((_divided(len(grids)),) if len(grids) > 1 else ()))
            for grid in grids:
                try:
                    stacks, aside = stacks_of(grid)
                except ValueError:
                    left_out += _refused(grid, _AT_NO_PLACE)
                    continue
                left_out += [LeftOut(ref, _ASIDE, is_refused=False) for ref in aside]
                for stack in stacks:
                    stack = replace(stack, notices=(*notices, *stack.notices))
                    _add(stack, copies, limits, plans=plans, left_out=left_out)
    return plans, left_out


def replan(plan: SeriesPlan, gone: set[int]) -> SeriesPlan | None:
    """Plan a series without the files in the rows `gone`, or return None if no slice is left.

    Where another file holds the same image, it stands in. A damaged copy differs from its image,
    so that both are in the plan, in no order; without it the others may be in order.
    """
    substitutes = {
        original: copy
        for copy, original in plan.copies
        if original.row in gone and copy.row not in gone
    }
    found = [ref if ref.row not in gone else substitutes.get(ref) for ref in plan.slices]
    slices = tuple(ref for ref in found if ref is not None)
    if not slices:
        return None
    # A copy that is used can itself be damaged, and another one may stand in for it.
    copies = tuple((copy, substitutes.get(original, original)) for copy, original in plan.copies)
    stack = Stack(slices, plan.order, plan.grouping)
    headers = {header_of(ref) for ref in slices} - {None}
    damaged = sum(
        header_of(ref) in headers
        for ref, left in zip(plan.slices, found, strict=True)
        if left is None
    )
    in_order = _in_order_again(stack, damaged) if damaged else None
    if in_order is None:
        # Slices still lie at one place: those that are gone may have been of another phase.
        damaged = 0
    unread = plan.slices_unread + len(plan.slices) - len(slices) - damaged
    return _planned(in_order or stack, copies=copies, unread=unread)


def _in_order_again(stack: Stack, damaged: int) -> Stack | None:
    """Put slices in order that lay at one place with damaged copies, or return None."""
    stacks, aside = stacks_of(stack.slices)
    if len(stacks) > 1 or aside or (stacks[0].order == "none" and len(stack.slices) > 1):
        return None
    kept = tuple(one for one in stack.notices if one.code is not Code.NOT_IN_ORDER)
    return replace(stacks[0], notices=(*kept, *stacks[0].notices, _twice(damaged)))


_MIXED = Notice(
    Code.MIXED_ORIENTATIONS,
    "The slices of this series point in many directions, as in a curved or rotating view. "
    "Please upload the series from which it was made.",
)
# Positions or distances may be so large that no step from slice to slice is left.
_AT_NO_PLACE = Notice(
    Code.DAMAGED,
    "The DICOM file is damaged or was not copied completely. "
    "Please export it again or upload it again.",
)
_ASIDE = Notice(
    Code.SET_ASIDE,
    "This single slice lies beside a series, as of bolus tracking: it is not read.",
)
_NO_POSITION = Notice(
    Code.NO_POSITION,
    "The slice does not say where it lies in the body: it is read by itself, and its side is not "
    "known. "
    "Please export the series from the scanner's archive for a reading in millimetres.",
)
_NO_PIXEL_SIZE = Notice(
    Code.NO_PIXEL_SIZE,
    "The files do not tell the size of their pixels: nothing is measured in millimetres. "
    "Please export the series from the scanner's archive.",
)


def _divided(count: int) -> Notice:
    return Notice(
        Code.MIXED_GEOMETRY,
        f"The slices of this series differ in size, scale or orientation: it is read as {count} "
        "series.",
    )


def _too_many(slices: Sequence[SliceRef], limits: Limits) -> Notice:
    return Notice(
        Code.TOO_MANY_SLICES,
        f"The series is too large ({len(slices)} slices; at most {limits.max_slices} slices and "
        f"{limits.max_voxels // 1_000_000} million voxels are read). "
        "Please upload a series of thicker slices or a part of it.",
    )


def _is_too_large(slices: Sequence[SliceRef], limits: Limits) -> bool:
    pixels = slices[0].facts.rows * slices[0].facts.columns
    return len(slices) > limits.max_slices or len(slices) * pixels > limits.max_voxels


def _twice(count: int) -> Notice:
    return Notice(
        Code.DUPLICATE_SLICE,
        f"{count} images of this series are there twice: each was read once."
        if count > 1
        else "One image of this series is there twice: it was read once.",
    )


def _unread(count: int, *, is_even: bool) -> Notice:
    left_out = (
        f"{count} slices of this series could not be read and were left out"
        if count > 1
        else "One slice of this series could not be read and was left out"
    )
    measured = "" if is_even else ": nothing is measured across slices"
    return Notice(
        Code.SLICES_LEFT_OUT,
        f"{left_out}{measured}. Please look at the import report and export these slices again.",
    )


def _refused(group: Sequence[SliceRef], notice: Notice) -> list[LeftOut]:
    return [LeftOut(ref, notice, is_refused=True) for ref in group]


def _add(
    stack: Stack,
    copies: Sequence[tuple[SliceRef, SliceRef]],
    limits: Limits,
    *,
    plans: list[SeriesPlan],
    left_out: list[LeftOut],
) -> None:
    if _is_too_large(stack.slices, limits):
        left_out += _refused(stack.slices, _too_many(stack.slices, limits))
        return
    held = {id(ref) for ref in stack.slices}
    own = tuple((copy, original) for copy, original in copies if id(original) in held)
    if own:
        stack = replace(stack, notices=(*stack.notices, _twice(len(own))))
    try:
        plans.append(_planned(stack, copies=own))
    except (ValueError, OverflowError):
        left_out += _refused(stack.slices, _AT_NO_PLACE)


def _planned(
    stack: Stack, *, copies: tuple[tuple[SliceRef, SliceRef], ...], unread: int = 0
) -> SeriesPlan:
    """Work out how the volume of a stack lies in the body, as far as its files tell.

    Raises
    ------
    ValueError, OverflowError
        If the slices lie at no place.
    """
    slices, first = stack.slices, stack.slices[0]
    group = first.keys.series or opaque(f"{first.keys.instance}/{first.facts!r}")
    pixel_mm = _pixel_size(slices)
    turned = next((ref for ref in slices if ref.facts.orientation is not None), None)
    step = step_of(slices, stack.order)
    is_placed_ = stack.order == "position" and is_placed(first)
    arrangement = None
    if turned is not None:
        along_row, along_column = np.array(turned.facts.orientation)
        row_mm, column_mm = pixel_mm or (1.0, 1.0)
        arrangement = arrange(
            origin_mm=np.array(first.facts.position_mm if is_placed_ else (0.0, 0.0, 0.0)),
            steps_mm=np.stack([step.vector(turned), along_column * row_mm, along_row * column_mm]),
            shape=(len(slices), first.facts.rows, first.facts.columns),
        )
    spacing_mm = None
    if pixel_mm:
        row_mm, column_mm = arrangement.spacing_mm[1:] if arrangement else pixel_mm
        spacing_mm = (step.slice_mm, row_mm, column_mm)
    notices = list(stack.notices)
    if len(slices) == 1 and not is_placed_:
        notices.append(_NO_POSITION)
    elif pixel_mm is None:
        notices.append(_NO_PIXEL_SIZE)
    missing = max(0, step.missing - unread)
    if missing:
        notices.append(missing_slices(missing))
    notices += step.notices
    if unread:
        notices.append(_unread(unread, is_even=step.is_even))
    if spacing_mm:
        notices += thick_slices(spacing_mm[0], count=len(slices))
    return SeriesPlan(
        slices=slices,
        order=stack.order,
        arrangement=arrangement,
        affine_lps=arrangement.affine_lps if arrangement and is_placed_ and pixel_mm else None,
        spacing_mm=spacing_mm,
        plane=arrangement.plane if arrangement else first.facts.plane,
        is_evenly_spaced=step.is_even,
        notices=tuple(notices),
        grouping=stack.notices,
        study=first.keys.study or group,
        group=group,
        slices_missing=missing,
        slices_unread=unread,
        copies=copies,
    )


def _pixel_size(slices: Sequence[SliceRef]) -> tuple[float, float] | None:
    """Return the distance of rows and columns, if more than half of the slices tell it."""
    told = [ref.facts.spacing_mm[1:] for ref in slices if ref.facts.spacing_mm]
    return told[0] if 2 * len(told) > len(slices) else None
