"""Tells from Hounsfield units which part of the body an axial slice shows.

Each rule is one coarse fact of anatomy with a wide margin, so that no abdomen is taken for another
part. What no rule names counts as abdomen. The numbers in the comments were measured on two
whole-body series of one scanner, a head series, two abdominal series and single slices of others.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import mode

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.imaging.trunk import body_parts, disc, fill
from detection.imaging.volume import Volume
from detection.imaging.window import grey_slice

# Edge of a cell. The walls of a skull and of a windpipe are two or three cells wide.
_CELL_MM = 2.0
# A slice without pixel size is measured as if its field were this wide. On three series of 50 cm
# none of 90 slices of the abdomen, and all but 3 of 128 others, get a name that lets them be read.
_USUAL_FIELD_MM = 400.0
_TISSUE_HU, _BONE_HU = -300, 250
# A space of air is lung if its mean is above this: lungs have -820 to -600 HU, gas in the bowel
# -980 to -930.
_AIR_HU, _GAS_HU = -500, -940
# At the level of the kidneys at most the lowest tips of the lungs are left: 0.04 of the trunk.
_MAX_LUNG_SHARE = 0.08
# The vault of a skull encloses 0.5 to 0.7 of a head. The widest canal of an abdomen: 0.02.
_MIN_ENCLOSED_SHARE = 0.25
# Gaps in a bony wall that is still closed: sutures, and the coarse cells.
_SUTURE_MM = 7.0
# The same in a grey picture of 200 cells: of 3,609 training slices none encloses more than 0.1. In
# none is the largest black space of both halves above 0.03 of the body; a chest has 0.05 to 0.12.
_GREY_CELLS, _GREY_TISSUE, _GREY_BONE, _GREY_AIR, _GREY_GAP = 200, 30, 220, 20, 7
_MIN_GREY_RING_SHARE, _MIN_GREY_LUNG_SHARE, _MIN_AXIAL_ASPECT = 0.25, 0.06, 1.15
# Face and base of a skull: deeper than wide, small and bony. Heads: 75 to 250 cm2, bone 0.08 to
# 0.55. An abdomen is wider than deep, and less than 0.05 of it is bone.
_MAX_HEAD_CM2, _MIN_HEAD_BONE_SHARE = 350.0, 0.06
# A head that lies on its side is as wide as an abdomen; nothing but a skull is so bony.
_SKULL_BONE_SHARE = 0.12
# A small section of a face shows air in sinuses, nose or throat; a knee shows none.
_MIN_AIR_CM2 = 0.3
# A thigh or a shin alone: its bone is in the middle of its depth, where a supine or prone trunk of
# that size, a child's, has none of its spine.
_LIMB_BONE_DEPTH = (0.38, 0.62)
# No trunk of a child of more than a year is smaller than this; a neck is 90 to 130 cm2.
_MIN_TRUNK_CM2 = 150.0
_MAX_NECK_CM2, _MIN_NECK_BONE_SHARE = 250.0, 0.04
# The second of two legs is nearly as large as the first; an arm beside a trunk is under a fifth.
_PAIR_SHARE = 0.35
# Two thighs that touch: bone in each half, none between, and a cleft in the middle.
_MIN_FEMUR_CM2, _MAX_MIDDLE_BONE_CM2, _MAX_MIDDLE_DEPTH = 4.0, 0.5, 0.75
# Shoulders with the arms down are 2.2 to 2.6 times as wide as deep, an abdomen 1.2 to 1.8 times.
_MIN_SHOULDER_ASPECT = 2.2
# With the arms up or cut off they are known by a humerus or shoulder blade at each side (the outer
# fifths) and the windpipe. Hips have at most 4.2 cm2 of bone there on the poorer side.
_MIN_SIDE_BONE_CM2, _MIN_GIRDLE_ASPECT = 5.0, 1.6
# From the second sacral vertebra down the hip bones outweigh what bone is between them: each side
# has 2.3 times as much or more. At the level of the kidneys ribs have 0.8 times the spine at most.
_MIN_HIP_CM2, _MIN_HIP_RATIO = 6.0, 2.0
# The windpipe: in the middle, in front of the spine, 13 to 27 mm wide in men, 10 to 23 in women
# (Breatnach et al. 1984, doi:10.2214/ajr.142.5.903); a slit while breathing out.
_AIRWAY_CM2, _AIRWAY_MM, _AIRWAY_DEPTH, _AIRWAY_HU = (0.3, 6.0), 25.0, (0.1, 0.65), -700
# Both kidneys of an adult need a field of 25 cm or more. In a narrower one the body must end
# within the picture, as that of a child does.
_MIN_FIELD_MM, _MAX_CUT_SHARE = 250.0, 0.2
# A kidney is 9 to 13 cm long: a shorter stretch of "abdomen" between other parts shows none.
_MIN_STRETCH_MM = 30.0
# The upper poles of the kidneys lie 5 cm or more below the last slice with much lung.
_MIN_BELOW_CHEST_MM = 60.0
# A run of chest or pelvis as long as this is no odd slice; nothing beyond it is an abdomen.
_MIN_ANCHOR_MM = 15.0


class BodyPart(StrEnum):
    """A part of the body as a slice shows it, in our own words."""

    ABDOMEN = "abdomen"
    HEAD = "head"
    NECK = "neck"
    SHOULDER = "shoulder"
    CHEST = "chest"
    PELVIS = "pelvis"
    LIMB = "limb"
    # A field of view around the spine or another detail, without the kidneys.
    DETAIL = "detail"


_ABOVE = frozenset({BodyPart.HEAD, BodyPart.NECK, BodyPart.SHOULDER, BodyPart.CHEST})


def slice_part(pixels_hu: NDArray[np.int16], *, spacing_mm: tuple[float, float] | None) -> BodyPart:
    """Name the part of the body that an axial slice shows.

    Parameters
    ----------
    pixels_hu : np.ndarray
        int16 `(rows, columns)`, in Hounsfield units.
    spacing_mm : tuple of float, optional
        Distance between rows and between columns. Without it the field counts as 40 cm wide, and
        no field is too narrow.
    """
    row_mm, column_mm = spacing_mm or (_USUAL_FIELD_MM / pixels_hu.shape[1],) * 2
    step = max(1, round(_CELL_MM / min(row_mm, column_mm)))
    cells_hu, cell_mm = pixels_hu[::step, ::step], step * (row_mm + column_mm) / 2
    if spacing_mm and _is_detail(cells_hu, cell_mm):
        return BodyPart.DETAIL
    parts = body_parts(cells_hu, cell_mm)
    if not parts:
        return BodyPart.ABDOMEN
    if _lung_share(cells_hu, parts[0]) > _MAX_LUNG_SHARE:
        return BodyPart.CHEST
    seen = _Section.of(cells_hu, parts, cell_mm)
    if seen.enclosed_share > _MIN_ENCLOSED_SHARE:
        return BodyPart.HEAD
    return _part_by_size(seen)


def volume_parts(volume: Volume) -> tuple[BodyPart, ...]:
    """Name the part of the body that each slice of an axial volume in Hounsfield units shows.

    Where the order of the slices is known, none above the lowest chest and none below the highest
    pelvis is an abdomen, and a stretch of abdomen beside other parts counts only if it is long
    enough to hold a kidney. What does not count is named as the part beside it. Slices that do
    not say how they lie count as axial unless the body is cut off above or below, and where most of
    them show another part all do. In another volume every slice counts as abdomen.
    """
    count = volume.pixels.shape[0]
    if volume.is_hu and volume.plane == "unknown":
        parts = [_unplaced_part(volume, index) for index in range(count)]
        others = [part for part in parts if part is not BodyPart.ABDOMEN]
        if 2 * len(others) <= count:
            return tuple(parts)
        return tuple(mode(others) if part is BodyPart.ABDOMEN else part for part in parts)
    if not volume.is_hu or volume.plane != "axial":
        return (BodyPart.ABDOMEN,) * count
    spacing = volume.spacing_mm
    parts = [
        slice_part(pixels_hu, spacing_mm=spacing[1:] if spacing else None)
        for pixels_hu in volume.pixels
    ]
    if spacing is None or volume.affine_lps is None or not spacing[0]:
        return tuple(parts)
    return tuple(_in_order(parts, slice_mm=spacing[0]))


def _unplaced_part(volume: Volume, index: int) -> BodyPart:
    if _whole_body(grey_slice(volume, index)) is None:
        return BodyPart.ABDOMEN
    spacing = volume.spacing_mm
    return slice_part(volume.pixels[index], spacing_mm=spacing[1:] if spacing else None)


def picture_part(grey: NDArray[np.uint8]) -> BodyPart:
    """Name the part of the body that a grey picture in a soft-tissue window shows.

    Only two parts are sure enough without Hounsfield units: a closed ring of bone is a skull, and
    an axial body with a large black space in each half is a chest. All else counts as abdomen.

    Parameters
    ----------
    grey : np.ndarray
        uint8 `(rows, columns)`; bone is white, air black.
    """
    whole = _whole_body(grey)
    if whole is None:
        return BodyPart.ABDOMEN
    cells, body = whole
    area, columns = int(body.sum()), np.flatnonzero(body.any(axis=0))
    white = (body & (cells >= _GREY_BONE)).astype(np.uint8)
    if _enclosed(white, disc(_GREY_GAP, 1)) > _MIN_GREY_RING_SHARE * area:
        return BodyPart.HEAD
    black = (body & (cells < _GREY_AIR)).astype(np.uint8)
    square = np.ones((3, 3), np.uint8)
    black = np.asarray(cv2.morphologyEx(black, cv2.MORPH_OPEN, square), np.uint8)
    width = int(np.ptp(columns)) + 1
    middle = int(columns[0]) + width // 2
    lungs = min(_largest(black[:, :middle]), _largest(black[:, middle:]))
    aspect = width / (int(np.ptp(np.flatnonzero(body.any(axis=1)))) + 1)
    if lungs > _MIN_GREY_LUNG_SHARE * area and aspect > _MIN_AXIAL_ASPECT:
        return BodyPart.CHEST
    return BodyPart.ABDOMEN


def _whole_body(grey: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]] | None:
    """Return a picture in coarse cells and its largest body; None if that is cut off.

    A coronal body is cut off above and below, and may hold lungs and kidneys.
    """
    step = max(1, round(max(grey.shape) / _GREY_CELLS))
    cells = grey[::step, ::step]
    square = np.ones((3, 3), np.uint8)
    tissue = cv2.morphologyEx((cells > _GREY_TISSUE).astype(np.uint8), cv2.MORPH_OPEN, square)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(fill(np.asarray(tissue, np.uint8)))
    if count < 2:
        return None
    body = labels == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    return None if body[0].any() or body[-1].any() else (cells, body)


@dataclass(frozen=True)
class _Section:
    """What is measured of the largest part of a slice; lengths in cm."""

    area_cm2: float
    aspect: float
    bone_share: float
    enclosed_share: float
    second_share: float
    sides_bone_cm2: tuple[float, float]
    halves_bone_cm2: tuple[float, float]
    middle_bone_cm2: float
    middle_depth: float
    bone_depth: float
    air_cm2: float
    has_airway: bool

    @classmethod
    def of(
        cls, cells_hu: NDArray[np.int16], parts: Sequence[NDArray[np.bool_]], cell_mm: float
    ) -> "_Section":
        body = parts[0]
        cell_cm2 = cell_mm * cell_mm / 100
        rows, columns = np.flatnonzero(body.any(axis=1)), np.flatnonzero(body.any(axis=0))
        width, depth = int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1
        bone = body & (cells_hu > _BONE_HU)
        across = (np.arange(body.shape[1]) - columns[0] + 0.5) / width

        def bone_cm2(first: float, end: float) -> float:
            return float(bone[:, (across >= first) & (across < end)].sum() * cell_cm2)

        depths = body.sum(axis=0)
        middle = depths[columns[0] + width // 2]
        quarters = min(depths[columns[0] + width // 4], depths[columns[0] + width * 3 // 4])
        return cls(
            area_cm2=float(body.sum() * cell_cm2),
            aspect=width / depth,
            bone_share=float(bone.sum() / body.sum()),
            enclosed_share=_enclosed(bone.astype(np.uint8), disc(_SUTURE_MM, cell_mm))
            / int(body.sum()),
            second_share=float(parts[1].sum() / body.sum()) if len(parts) > 1 else 0.0,
            sides_bone_cm2=(bone_cm2(0, 0.2), bone_cm2(0.8, 1)),
            halves_bone_cm2=(bone_cm2(0, 0.4), bone_cm2(0.6, 1)),
            middle_bone_cm2=bone_cm2(0.4, 0.6),
            middle_depth=float(middle / max(1, quarters)),
            bone_depth=float((np.nonzero(bone)[0].mean() - rows[0]) / depth) if bone.any() else 0.0,
            air_cm2=float((body & (cells_hu < _AIR_HU)).sum() * cell_cm2),
            has_airway=_has_airway(cells_hu, body, cell_mm),
        )


def _part_by_size(seen: _Section) -> BodyPart:
    is_of_head_size, has_air = seen.area_cm2 < _MAX_HEAD_CM2, seen.air_cm2 > _MIN_AIR_CM2
    is_deep = seen.aspect < 1 and (has_air or seen.area_cm2 > _MIN_TRUNK_CM2)
    least_bone = _MIN_HEAD_BONE_SHARE if is_deep else _SKULL_BONE_SHARE
    if is_of_head_size and (is_deep or has_air) and seen.bone_share > least_bone:
        return BodyPart.HEAD
    is_small = seen.area_cm2 < _MAX_NECK_CM2 and seen.bone_share > _MIN_NECK_BONE_SHARE
    if is_small and seen.has_airway:
        return BodyPart.NECK
    if (
        seen.area_cm2 < _MIN_TRUNK_CM2
        or seen.second_share > _PAIR_SHARE
        or (is_of_head_size and not has_air and _is_within(seen.bone_depth, _LIMB_BONE_DEPTH))
        or (
            min(seen.halves_bone_cm2) > _MIN_FEMUR_CM2
            and seen.middle_bone_cm2 < _MAX_MIDDLE_BONE_CM2
            and seen.middle_depth < _MAX_MIDDLE_DEPTH
        )
    ):
        return BodyPart.LIMB
    if seen.aspect > _MIN_SHOULDER_ASPECT or (
        seen.aspect > _MIN_GIRDLE_ASPECT
        and min(seen.sides_bone_cm2) > _MIN_SIDE_BONE_CM2
        and seen.has_airway
    ):
        return BodyPart.SHOULDER
    hip_cm2 = min(seen.halves_bone_cm2)
    if hip_cm2 > max(_MIN_HIP_CM2, _MIN_HIP_RATIO * seen.middle_bone_cm2):
        return BodyPart.PELVIS
    return BodyPart.ABDOMEN


def _is_within(value: float, bounds: tuple[float, float]) -> bool:
    return bounds[0] < value < bounds[1]


def _is_detail(cells_hu: NDArray[np.int16], cell_mm: float) -> bool:
    """Say whether a narrow field cuts the body off at both sides."""
    if cells_hu.shape[1] * cell_mm >= _MIN_FIELD_MM:
        return False
    tissue = cells_hu > _TISSUE_HU
    return bool(min(tissue[:, 0].mean(), tissue[:, -1].mean()) > _MAX_CUT_SHARE)


def _lung_share(cells_hu: NDArray[np.int16], body: NDArray[np.bool_]) -> float:
    """Measure how much of a part is lung; gas and the rims of its bubbles are none."""
    air = (body & (cells_hu < _AIR_HU)).astype(np.uint8)
    cross = np.asarray(cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)), np.uint8)
    air = np.asarray(cv2.morphologyEx(air, cv2.MORPH_OPEN, cross), np.uint8)
    count, labels = cv2.connectedComponents(air, connectivity=4)
    inner = np.where(cv2.erode(air, np.ones((3, 3), np.uint8)) > 0, labels, 0).ravel()
    cells = np.bincount(inner, minlength=count)
    mean_hu = np.bincount(inner, cells_hu.ravel(), minlength=count) / np.maximum(cells, 1)
    is_lung = (cells > 0) & (mean_hu > _GAS_HU)
    is_lung[0] = False
    return float(is_lung[labels].sum() / body.sum())


def _enclosed(bone: NDArray[np.uint8], gap: NDArray[np.uint8]) -> int:
    """Count the cells that bone encloses, after closing its gaps."""
    closed = np.asarray(cv2.morphologyEx(bone, cv2.MORPH_CLOSE, gap))
    return int(fill(closed).sum()) - int(closed.sum())


def _largest(mask: NDArray[np.uint8]) -> int:
    """Count the cells of the largest connected space of a mask."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(np.ascontiguousarray(mask))
    return int(stats[1:, cv2.CC_STAT_AREA].max(initial=0))


def _has_airway(cells_hu: NDArray[np.int16], body: NDArray[np.bool_], cell_mm: float) -> bool:
    """Say whether there is a compact space of air in the middle of the front half of a part."""
    rows, columns = np.flatnonzero(body.any(axis=1)), np.flatnonzero(body.any(axis=0))
    middle = (columns[0] + columns[-1]) / 2
    air = (body & (cells_hu < _AIR_HU)).astype(np.uint8)
    count, labels, stats, centres = cv2.connectedComponentsWithStats(air, connectivity=4)
    low, high = _AIRWAY_CM2
    front, back = _AIRWAY_DEPTH
    for label in range(1, count):
        area_cm2 = stats[label, cv2.CC_STAT_AREA] * cell_mm * cell_mm / 100
        x, y = centres[label]
        depth = (y - rows[0]) / (np.ptp(rows) + 1)
        if (
            low <= area_cm2 <= high
            and abs(x - middle) * cell_mm < _AIRWAY_MM
            and front < depth < back
            and cells_hu[labels == label].min() < _AIRWAY_HU
        ):
            return True
    return False


def _in_order(parts: list[BodyPart], *, slice_mm: float) -> list[BodyPart]:
    """Take the order from the feet to the head into account."""
    named = list(parts)
    chest = next((run[0] for run in _runs(parts, _ABOVE, slice_mm=slice_mm)), len(parts))
    pelvis = _runs(parts[:chest], {BodyPart.PELVIS}, slice_mm=slice_mm)
    hips = pelvis[-1][1] if pelvis else 0
    for index in range(chest, len(named)):
        if named[index] is BodyPart.ABDOMEN:
            named[index] = named[index - 1] if index > chest else BodyPart.CHEST
    for index in reversed(range(hips)):
        if named[index] is BodyPart.ABDOMEN:
            named[index] = named[index + 1]
    if all(part is BodyPart.ABDOMEN for part in named):
        return named
    others = set(BodyPart) - {BodyPart.ABDOMEN}
    long = _runs(named, others, slice_mm=slice_mm)
    is_mostly_other = 2 * sum(part in others for part in named) > len(named)
    for first, end in _runs(named, {BodyPart.ABDOMEN}, slice_mm=slice_mm, least_mm=0):
        # One odd slice does not say that a short series shows something else.
        if not is_mostly_other and not any(run[1] == first or run[0] == end for run in long):
            continue
        least_mm = _MIN_BELOW_CHEST_MM if end == chest < len(named) else _MIN_STRETCH_MM
        if (end - first) * slice_mm < least_mm:
            beside = named[end] if end < len(named) else named[first - 1]
            named[first:end] = [beside] * (end - first)
    return named


def _runs(
    parts: Sequence[BodyPart],
    wanted: Collection[BodyPart],
    *,
    slice_mm: float,
    least_mm: float = _MIN_ANCHOR_MM,
) -> list[tuple[int, int]]:
    """Return first and end of each run of the wanted parts that is long enough."""
    found, first = [], 0
    for index in range(len(parts) + 1):
        if index < len(parts) and parts[index] in wanted:
            continue
        if index > first and (index - first) * slice_mm >= least_mm:
            found.append((first, index))
        first = index + 1
    return found
