"""Sorts slices into series and names what is odd about each, without reading a file."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.imaging.errors import Code, Notice, notices_json, thick_slices
from detection.imaging.formats import SeriesKeys, SliceFacts, opaque
from detection.imaging.geometry import Arrangement, arrange
from detection.imaging.limits import Limits
from detection.imaging.volume import Plane

# Slices less than this apart lie at one place.
_SAME_PLACE_MM = 0.05
# Positions are often printed with one decimal, so a line through them may miss them by this much.
_ROUNDING_MM = 0.11
_UNEVEN_SHARE = 0.1
_SHIFT_MM = 1.0
_MIN_TILT_DEGREES = 0.5
_MIXED_AT_MOST = 8
_ACQUISITIONS_AT_MOST = 16


@dataclass(frozen=True)
class SliceRef:
    """One frame of the file in row `row` of the report."""

    row: int
    facts: SliceFacts
    keys: SeriesKeys


@dataclass(frozen=True)
class SeriesPlan:
    """A series that is to be read.

    Attributes
    ----------
    slices : tuple of SliceRef
        Sorted along the normal of the slices; `arrangement` then puts them in canonical order.
    spacing_mm : tuple of float, optional
        (slice, row, column) after arrangement; 0 between slices where it is not known.
    """

    slices: tuple[SliceRef, ...]
    arrangement: Arrangement | None
    spacing_mm: tuple[float, float, float] | None
    plane: Plane
    is_evenly_spaced: bool
    notices: tuple[Notice, ...]
    study: str
    group: str

    def files(self) -> list[tuple[int, list[tuple[int, int]]]]:
        """Return [(row of the file, [(frame, slice of the volume), ...]), ...]."""
        files: dict[int, list[tuple[int, int]]] = {}
        is_reversed = self.arrangement is not None and self.arrangement.flips[0]
        for index, ref in enumerate(self.slices):
            place = len(self.slices) - 1 - index if is_reversed else index
            files.setdefault(ref.row, []).append((ref.facts.frame, place))
        return list(files.items())

    def header(self) -> dict[str, Any]:
        """Return the header of the future volume, in the form of `Volume.header`."""
        facts = self.slices[0].facts
        rows, columns = facts.rows, facts.columns
        affine = None
        if self.arrangement is not None:
            if self.arrangement.order[1] == 2:
                rows, columns = columns, rows
            affine = [list(row) for row in self.arrangement.affine_lps]
        return {
            "slices": len(self.slices),
            "rows": rows,
            "columns": columns,
            "is_hu": facts.is_hu,
            "plane": self.plane,
            "spacing_mm": list(self.spacing_mm) if self.spacing_mm else None,
            "notices": notices_json(self.notices),
            "colour_spread": 0.0,
            "affine_lps": affine,
            "is_evenly_spaced": self.is_evenly_spaced,
        }


@dataclass(frozen=True)
class LeftOut:
    """A slice that is not read, and why; `is_refused` if the whole of its series is not."""

    ref: SliceRef
    notice: Notice
    is_refused: bool


def plan_series(
    refs: Sequence[SliceRef], *, limits: Limits
) -> tuple[list[SeriesPlan], list[LeftOut]]:
    """Sort slices into series.

    Slices of one study and series belong together if they share size, scale and orientation; where
    these differ the series is divided. Scans or reconstructions of the same place are parted, and
    other slices at one place are left out. Slices are sorted by their position along the normal,
    never by Instance Number. A slice without a position is a series of its own, as a picture is.
    """
    groups: dict[str, list[SliceRef]] = {}
    for ref in refs:
        alone = f"{ref.row}/{ref.facts.frame}"
        is_placed = ref.facts.position_mm and ref.facts.orientation and ref.facts.spacing_mm
        key = ref.keys.series if ref.keys.series and is_placed else alone
        if not ref.keys.is_series_told:
            key += ref.facts.variant
        groups.setdefault(key, []).append(ref)
    plans: list[SeriesPlan] = []
    left_out: list[LeftOut] = []
    for group in groups.values():
        clusters = _same_geometry(group)
        if len(clusters) > _MIXED_AT_MOST:
            left_out += _refused(group, _MIXED)
            continue
        divided = len(clusters) > 1
        for cluster in clusters:
            notices: tuple[Notice, ...] = (_divided(len(clusters)),) if divided else ()
            if len(cluster) > 1 and not cluster[0].keys.is_series_told:
                notices += (_NO_SERIES_UID,)
            for part, found in _one_per_place(cluster, left_out):
                if _is_too_large(part, limits):
                    left_out += _refused(part, _too_many(part, limits))
                else:
                    try:
                        with np.errstate(over="ignore", invalid="ignore"):
                            plans.append(_plan(part, notices + found))
                    except (ValueError, OverflowError):
                        left_out += _refused(part, _AT_NO_PLACE)
    return plans, left_out


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


_NO_SERIES_UID = Notice(
    Code.NO_SERIES_UID,
    "The files do not say to which series they belong: those that share a frame of reference and "
    "the way of reconstruction were put together. "
    "Please check that the slices belong together.",
)


def _divided(count: int) -> Notice:
    return Notice(
        Code.MIXED_GEOMETRY,
        f"The slices of this series differ in size, scale or orientation: it is read as {count} "
        "series.",
    )


def _too_many(part: list[SliceRef], limits: Limits) -> Notice:
    return Notice(
        Code.TOO_MANY_SLICES,
        f"The series is too large ({len(part)} slices; at most {limits.max_slices} slices and "
        f"{limits.max_voxels // 1_000_000} million voxels are read). "
        "Please upload a series of thicker slices or a part of it.",
    )


def _is_too_large(part: list[SliceRef], limits: Limits) -> bool:
    pixels = part[0].facts.rows * part[0].facts.columns
    return len(part) > limits.max_slices or len(part) * pixels > limits.max_voxels


def _refused(group: Sequence[SliceRef], notice: Notice) -> list[LeftOut]:
    return [LeftOut(ref, notice, is_refused=True) for ref in group]


def _same_geometry(group: list[SliceRef]) -> list[list[SliceRef]]:
    """Divide slices by size, scale and orientation; stop at more parts than are read."""
    clusters: list[list[SliceRef]] = []
    for ref in group:
        for cluster in clusters:
            if _is_alike(ref.facts, cluster[0].facts):
                cluster.append(ref)
                break
        else:
            clusters.append([ref])
            if len(clusters) > _MIXED_AT_MOST:
                break
    return clusters


def _is_alike(one: SliceFacts, other: SliceFacts) -> bool:
    if (one.rows, one.columns, one.is_hu) != (other.rows, other.columns, other.is_hu):
        return False
    if one.spacing_mm is None or other.spacing_mm is None:
        return False
    if not np.allclose(one.spacing_mm[1:], other.spacing_mm[1:], rtol=2e-3, atol=0):
        return False
    if one.orientation is None or other.orientation is None:
        return False
    # About half a degree.
    return bool(np.allclose(one.orientation, other.orientation, rtol=0, atol=0.01))


def _one_per_place(
    cluster: list[SliceRef], left_out: list[LeftOut]
) -> list[tuple[list[SliceRef], tuple[Notice, ...]]]:
    """Sort slices along their normal; part or leave out those that lie at one place."""
    sorted_ = _sorted(cluster)
    if not _at_one_place(sorted_):
        return [(sorted_, ())]
    keys: tuple[Callable[[SliceRef], str], ...] = (
        lambda ref: ref.facts.acquisition,
        lambda ref: ref.facts.variant,
    )
    for key in keys:
        parts: dict[str, list[SliceRef]] = {}
        for ref in sorted_:
            parts.setdefault(key(ref), []).append(ref)
        if 1 < len(parts) <= _ACQUISITIONS_AT_MOST and not any(
            len(part) < 2 or _at_one_place(part) for part in parts.values()
        ):
            notice = Notice(
                Code.SEVERAL_ACQUISITIONS,
                f"This series holds {len(parts)} scans or reconstructions of the same place: each "
                "is read by itself.",
            )
            return [(part, (notice,)) for part in parts.values()]
    repeated = _at_one_place(sorted_)
    for index in sorted(repeated):
        ref, kept = sorted_[index], sorted_[repeated[index]]
        is_same = ref.keys.instance and ref.keys.instance == kept.keys.instance
        sentence = (
            "The same image is there twice."
            if is_same
            else "Another slice of the series lies at the same place."
        )
        left_out.append(LeftOut(ref, Notice(Code.DUPLICATE_SLICE, sentence), is_refused=False))
    several = (
        f"{len(repeated)} slices lie where another slice of the series lies and were left out."
    )
    one = "One slice lies where another slice of the series lies and was left out."
    notice = Notice(
        Code.DUPLICATE_SLICE,
        f"{one if len(repeated) == 1 else several} "
        "Please check that the export holds one series only.",
    )
    part = [ref for index, ref in enumerate(sorted_) if index not in repeated]
    return [(part, (notice,))]


def _normal(facts: SliceFacts) -> NDArray[np.float64]:
    assert facts.orientation is not None
    return np.cross(*np.array(facts.orientation))


def _along(part: Sequence[SliceRef]) -> NDArray[np.float64]:
    return np.array([ref.facts.position_mm for ref in part], np.float64) @ _normal(part[0].facts)


def _sorted(cluster: list[SliceRef]) -> list[SliceRef]:
    if len(cluster) == 1:
        return cluster
    # The sort is stable: at one place the order of the files decides.
    return [cluster[index] for index in np.argsort(_along(cluster), kind="stable")]


def _at_one_place(part: Sequence[SliceRef]) -> dict[int, int]:
    """Return the index of each slice at the place of an earlier one, with the earlier index."""
    repeated: dict[int, int] = {}
    if len(part) > 1:
        along = _along(part)
        kept = 0
        for index in range(1, len(part)):
            if along[index] - along[kept] < _SAME_PLACE_MM:
                repeated[index] = kept
            else:
                kept = index
    return repeated


def _plan(part: list[SliceRef], notices: tuple[Notice, ...]) -> SeriesPlan:
    first = part[0]
    facts = first.facts
    group = first.keys.series or opaque(f"{first.row}/{facts.frame}")
    plan = SeriesPlan(
        slices=tuple(part),
        arrangement=None,
        spacing_mm=facts.spacing_mm,
        plane=facts.plane,
        is_evenly_spaced=True,
        notices=notices,
        study=first.keys.study or group,
        group=group,
    )
    if facts.position_mm is None or facts.orientation is None or facts.spacing_mm is None:
        notice = Notice(
            Code.NO_POSITION,
            "The slice does not say where it lies in the body: it is read by itself, and its side "
            "is not known. "
            "Please export the series from the scanner's archive for a reading in millimetres.",
        )
        return replace(plan, notices=(*notices, notice))
    step, is_even, found = _step(part)
    along_row, along_column = np.array(facts.orientation)
    _, row_mm, column_mm = facts.spacing_mm
    arrangement = arrange(
        origin_mm=np.array(facts.position_mm),
        steps_mm=np.stack([step, along_column * row_mm, along_row * column_mm]),
        shape=(len(part), facts.rows, facts.columns),
    )
    slice_mm, row_mm, column_mm = arrangement.spacing_mm
    if len(part) == 1:
        # `_step` assumes 1 mm if the file tells no distance.
        slice_mm = facts.spacing_mm[0]
    return replace(
        plan,
        arrangement=arrangement,
        spacing_mm=(slice_mm, row_mm, column_mm),
        plane=arrangement.plane,
        is_evenly_spaced=is_even,
        notices=(*notices, *found, *thick_slices(slice_mm, count=len(part))),
    )


def _step(part: list[SliceRef]) -> tuple[NDArray[np.float64], bool, tuple[Notice, ...]]:
    """Return the step from slice to slice in LPS mm, whether it is even, and what is odd."""
    facts = part[0].facts
    normal = _normal(facts)
    if len(part) == 1:
        return normal * ((facts.spacing_mm or (0.0,))[0] or 1.0), True, ()
    positions = np.array([ref.facts.position_mm for ref in part], np.float64)
    along = positions @ normal
    gaps = np.diff(along)
    usual_mm = float(np.median(gaps))
    way = (positions[-1] - positions[0]) / (along[-1] - along[0])
    notices: list[Notice] = []
    missing = int(sum(max(0, round(gap / usual_mm) - 1) for gap in gaps if gap > 1.5 * usual_mm))
    line = along[0] + np.arange(len(part)) * (along[-1] - along[0]) / (len(part) - 1)
    is_uneven = np.abs(along - line).max() > max(_ROUNDING_MM, _UNEVEN_SHARE * usual_mm)
    expected = positions[0] + np.outer(along - along[0], way)
    is_shifted = bool(np.linalg.norm(positions - expected, axis=1).max() > _SHIFT_MM)
    if missing:
        notices.append(
            Notice(
                Code.MISSING_SLICES,
                f"About {missing} slice{'s are' if missing > 1 else ' is'} missing within the "
                "series: each slice is read, but "
                "nothing is measured across slices. "
                "Please check that the export is complete and upload it again.",
            )
        )
    elif is_uneven or is_shifted:
        notices.append(
            Notice(
                Code.UNEVEN_SPACING,
                "The slices do not lie at even distances in a straight line: each slice is read, "
                "but nothing is measured across slices. "
                "Please upload the series as the scanner reconstructed it.",
            )
        )
    tilt_degrees = math.degrees(math.acos(min(1.0, 1.0 / float(np.linalg.norm(way)))))
    if tilt_degrees > _MIN_TILT_DEGREES:
        notices.append(
            Notice(
                Code.GANTRY_TILT,
                f"The slices are tilted by {tilt_degrees:.0f} degrees against the table (gantry "
                "tilt): places are right, but other planes are sheared.",
            )
        )
    is_even = not missing and not is_uneven and not is_shifted
    step_mm = (along[-1] - along[0]) / (len(part) - 1) if is_even else usual_mm
    return way * step_mm, is_even, tuple(notices)
