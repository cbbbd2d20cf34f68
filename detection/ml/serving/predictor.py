"""The served model, which assesses an image or a whole volume with a bundle."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.imaging.errors import Notice
from detection.imaging.volume import Volume
from detection.ml.bundle import Bundle
from detection.ml.calibration import apply_platt, sigmoid
from detection.ml.errors import ReadingCode
from detection.ml.serving.agreement import SeenBy, agreement, seen_by
from detection.ml.serving.answer import (
    CANNOT_ASSESS,
    NO_STONE,
    NOT_ASSESSED,
    STONE,
    extent_of,
    incomplete,
    may_exclude,
    unread_words,
)
from detection.ml.serving.assessment import Assessment
from detection.ml.serving.body_parts import body_part_reason, part_names, parts_reason
from detection.ml.serving.ensemble import open_served
from detection.ml.serving.findings import Finding, locate
from detection.ml.serving.gate import Gate, load_gate
from detection.ml.serving.marks import Mark, merge_marks
from detection.ml.serving.network import ServedNetwork
from detection.ml.serving.picture_checks import (
    MIN_KNOWN_CT_SIDE_PX,
    MIN_SIDE_PX,
    Refusal,
    refused,
    slice_refusal,
)
from detection.ml.serving.pictures import Picture, image_picture, volume_pictures
from detection.ml.serving.pooling import pool
from detection.ml.serving.reads import Marked, Read, SliceReading
from detection.ml.serving.series_rule import (
    SeriesRule,
    checked_rule_of,
    key_slices,
    rule_of,
    rule_of_single_slices,
    series_logit,
)
from detection.ml.serving.standing import Ground, quieted
from detection.ml.serving.stone_map import image_map, peak_of
from detection.ml.serving.stones import find_stones
from detection.ml.serving.turned import confirmed

_COARSE_MM = 1.5
_COARSE = Notice(
    ReadingCode.COARSE_PIXELS, "The pixels are larger than 1.5 mm: small stones cannot be seen."
)
# Slices farther apart than this do not cover the height between them.
_FAR_APART_MM = 10.0
# At 3 mm a pixel, vessels and bowel full of contrast medium look like the stones of the training.
_TOO_COARSE_MM = 2.0
_TOO_COARSE = (
    "The pixels are {mm:.1f} mm wide: too coarse to show a stone. Please send the original slices, "
    "not a reduced copy (at most 2 mm a pixel)."
)
# The logits of members come calibrated.
_CALIBRATED = {"slope": 1.0, "intercept": 0.0}
_UNFOUNDED = Notice(
    ReadingCode.MARKS_WITHOUT_OBJECT,
    "The map also marks places without a compact dense object, such as ribs or noise. They do not "
    "count.",
)


class Predictor:
    """A loaded model. Loading takes about a second; keep one for each process.

    Parameters
    ----------
    threads : int, optional
        Threads of ONNX Runtime; by default as many as processors, at most four.
    is_gated : bool
        Whether the bundle's own gate judges pictures; the cheap checks always do.
    network : ServedNetwork, optional
        The network of the bundle, if it is open already.

    Raises
    ------
    BundleError
        If the bundle's model or its gate cannot be loaded.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        threads: int | None = None,
        is_gated: bool = True,
        network: ServedNetwork | None = None,
    ) -> None:
        self.network = network or open_served(bundle, threads=threads)
        self.gate: Gate | None = load_gate(bundle) if is_gated else None
        self.bundle = bundle
        self.preprocessing = bundle.preprocessing
        self.threshold = float(bundle.operating_point["threshold"])
        self.rule = rule_of(bundle)
        self.checked_rule = checked_rule_of(bundle)

    def assess(
        self, volume: Volume, *, progress: Callable[[int, int], None] | None = None
    ) -> Assessment:
        """Assess an image, or a volume by the pictures that `volume_pictures` makes of it.

        "No stone" is said only of what was read as a whole: see `answer.may_exclude`.

        Parameters
        ----------
        progress : callable, optional
            Called with (pictures read, pictures in all) after each picture of a volume.

        Raises
        ------
        MLError
            If the network gives numbers that are not finite.
        """
        if reason := _unreadable(volume):
            assessment = _refused(reason)
        elif volume.pixels.shape[0] == 1:
            picture = image_picture(volume, preprocessing=self.preprocessing)
            assessment = self._assess_image(volume, next(self.read([picture])))
        else:
            assessment = self._assess_volume(volume, progress or (lambda done, total: None))
        return _within_extent(assessment, volume)

    def assess_read(self, volume: Volume, read: Read) -> Assessment:
        """Assess a single image whose picture has been read already."""
        reason = _unreadable(volume)
        return _refused(reason) if reason else self._assess_image(volume, read)

    def _assess_image(self, volume: Volume, read: Read) -> Assessment:
        """Assess a single image that is not refused before it is read."""
        if read.reason:
            return _refused(read.reason)
        marked = self._marked(read, Ground(volume) if volume.is_hu else None)
        probability = float(apply_platt(np.array(pool(marked.cells)), self.bundle.calibration))
        return Assessment(
            verdict=STONE if probability >= self.threshold else NO_STONE,
            probability=probability,
            findings=marked.findings,
            stone_map=marked.stone_map[None],
            notices=(_UNFOUNDED,) if marked.unfounded >= self.threshold else (),
            slice_probabilities=(probability,),
            operating_point=self.bundle.operating_point,
        )

    def read(self, pictures: Iterable[Picture]) -> Iterator[Read]:
        """Run pictures through the network and the gate, holding one batch at a time."""
        for batch in self.network.read(pictures):
            judged: list[Refusal | None] = [None] * len(batch.pictures)
            if self.gate:
                # Coronal slices have no anatomy check before them: the gate is as strict with them
                # as with pictures.
                known = [one.is_known_ct and one.plane == "axial" for one in batch.pictures]
                judged = confirmed(
                    self.gate.refusals(batch.features, is_known_ct=known),
                    batch,
                    network=self.network,
                    gate=self.gate,
                )
            members = batch.member_cells
            for index, (picture, box, cells, seen) in enumerate(
                zip(batch.pictures, batch.boxes, batch.cells, judged, strict=True)
            ):
                refusal = slice_refusal(
                    picture.grey,
                    colour_spread=picture.colour_spread,
                    seen=seen,
                    min_side_px=MIN_KNOWN_CT_SIDE_PX if picture.is_known_ct else MIN_SIDE_PX,
                )
                yield Read(
                    picture=picture,
                    box=box,
                    cells=cells,
                    refusal=refusal,
                    member_cells=None if members is None else members[:, index],
                )

    def _assess_volume(self, volume: Volume, progress: Callable[[int, int], None]) -> Assessment:
        pictures = volume_pictures(volume, preprocessing=self.preprocessing)
        total = pictures.count
        counted = iter(range(1, total + 1))

        def tick() -> None:
            progress(next(counted), total)

        reading = self._read_slices(volume, pictures.slices(), tick)
        rule, operating_point = self._decides(volume)
        logit = series_logit(reading.logits, rule)
        # A few slices that pass among many that do not are no abdomen.
        if logit is None or 2 * len(reading.refused) > total:
            return _refused(reading.reason or parts_reason(pictures.parts, volume))
        probability = float(sigmoid(np.array(logit)))
        notices = [Notice(ReadingCode.SERIES_RULE, rule.scope)]
        if volume.spacing_mm and max(volume.spacing_mm[1:]) > _COARSE_MM:
            notices.append(_COARSE)
        if reading.unfounded >= rule.threshold:
            notices.append(_UNFOUNDED)
        findings = find_stones(
            volume,
            merge_marks(reading.marks),
            midline=pictures.midline,
            threshold=rule.threshold,
            min_run=rule.run,
        )
        return Assessment(
            verdict=STONE if probability >= rule.threshold else NO_STONE,
            probability=probability,
            findings=findings,
            stone_map=reading.stone_map,
            notices=tuple(notices),
            slice_probabilities=reading.probabilities,
            unread_because=reading.unread_because(part_names(pictures.parts)),
            key_slices=key_slices(reading.logits, rule),
            operating_point=operating_point,
        )

    def _decides(self, volume: Volume) -> tuple[SeriesRule, Mapping[str, Any]]:
        """Return the rule that decides about a volume, and its operating point."""
        if volume.is_hu:
            return self.checked_rule, self.bundle.checked_point
        if volume.is_ordered:
            return self.rule, self.bundle.series_point
        return rule_of_single_slices(self.threshold), self.bundle.operating_point

    def _read_slices(
        self, volume: Volume, pictures: Iterable[Picture], tick: Callable[[], None]
    ) -> SliceReading:
        slices = volume.pixels.shape[0]
        reading = SliceReading(logits=[None] * slices)
        ground = Ground(volume) if volume.is_hu else None
        for read in self.read(pictures):
            tick()
            picture, index = read.picture, read.picture.slice_index
            if read.reason:
                reading.reason = reading.reason or read.reason
                reading.refused.add(index)
                continue
            marked = self._marked(read, ground)
            if reading.stone_map is None:
                reading.stone_map = np.zeros((slices, *marked.stone_map.shape), np.float16)
            reading.stone_map[index] = marked.stone_map
            reading.logits[index] = self._calibrated(pool(marked.cells))
            reading.unfounded = max(reading.unfounded, marked.unfounded)
            reading.marks += [
                Mark(
                    edges=picture.to_volume(found.box),
                    probability=found.probability,
                    step=index,
                    stone=stone,
                    seen_by=seen,
                )
                for found, stone, seen in zip(
                    marked.findings, marked.stones, marked.seen_by, strict=True
                )
            ]
        return reading

    def _marked(self, read: Read, ground: Ground | None) -> Marked:
        """Find the marks of a picture; in Hounsfield units, those that stand on a dense object."""
        picture = read.picture
        stone_map = self._image_map(read, read.cells, self.bundle.calibration)
        found = _located(stone_map, picture)
        seen = self._seen_by(read, found)
        found = [replace(one, **agreement(who)) for one, who in zip(found, seen, strict=True)]
        if ground is None:
            return Marked(stone_map, read.cells, tuple(found), (None,) * len(found), seen)
        stones = [
            ground.under(
                picture.to_volume(one.box), peak=peak_of(stone_map, one.box, size=picture.size)
            )
            for one in found
        ]
        stands = [stone is not None for stone in stones]
        cells = quieted(
            read.cells,
            box=read.box,
            origin=picture.origin,
            marks=[one.box for one in found],
            stands=stands,
            calibration=self.bundle.calibration,
        )
        return Marked(
            stone_map=stone_map,
            cells=cells,
            findings=tuple(one for one, is_one in zip(found, stands, strict=True) if is_one),
            stones=tuple(stone for stone in stones if stone),
            seen_by=tuple(who for who, is_one in zip(seen, stands, strict=True) if is_one),
            unfounded=max(
                (one.probability for one, is_one in zip(found, stands, strict=True) if not is_one),
                default=0.0,
            ),
        )

    def _calibrated(self, logit: float) -> float:
        calibration = self.bundle.calibration
        return calibration["slope"] * logit + calibration["intercept"]

    def _seen_by(self, read: Read, found: Sequence[Finding]) -> tuple[SeenBy, ...]:
        """Say of each mark which members of an ensemble see it."""
        if read.member_cells is None or not found:
            return ((),) * len(found)
        maps = [self._image_map(read, cells, _CALIBRATED) for cells in read.member_cells]
        thresholds, size = self.network.member_thresholds, read.picture.size
        return tuple(seen_by(one.box, maps=maps, thresholds=thresholds, size=size) for one in found)

    def _image_map(
        self, read: Read, cells: NDArray[np.float32], calibration: dict[str, float]
    ) -> NDArray[np.float32]:
        rows, columns = read.picture.grey.shape
        return image_map(
            cells,
            read.box,
            preprocessing=self.preprocessing,
            calibration=calibration,
            picture=(rows, columns),
            image=read.picture.size,
            origin=read.picture.origin,
        )


def _located(stone_map: NDArray[np.float32], picture: Picture) -> list[Finding]:
    rows, columns = picture.size
    return locate(
        stone_map,
        width=columns,
        height=rows,
        plane=picture.plane,
        slice_index=picture.slice_index,
        spacing_mm=picture.spacing_mm,
    )


def _unreadable(volume: Volume) -> str:
    """Return the sentence that refuses a whole volume before it is read, or ""."""
    if volume.plane == "sagittal":
        return refused("sagittal").sentence
    # The rows of a coronal stack may be thick axial slices: only axial pixels are judged.
    widest_mm = max(volume.spacing_mm[1:]) if volume.spacing_mm else 0.0
    if volume.plane == "axial" and widest_mm > _TOO_COARSE_MM:
        return _TOO_COARSE.format(mm=widest_mm)
    return body_part_reason(volume)


def _within_extent(assessment: Assessment, volume: Volume) -> Assessment:
    """Add what was read to an answer, and take back "no stone" where that was not enough."""
    slice_mm = volume.spacing_mm[0] if volume.spacing_mm and volume.is_evenly_spaced else 0.0
    extent = extent_of(
        assessment.slice_probabilities,
        slices=volume.pixels.shape[0],
        unread_apart=volume.slices_unread,
        # Between slices that lie far apart nothing was read.
        slice_mm=slice_mm if slice_mm <= _FAR_APART_MM else None,
        is_ordered=volume.is_ordered,
        missing=volume.slices_missing,
    )
    if volume.is_hu and volume.plane == "axial":
        # Anatomy names what lies beyond the abdomen. Another slice at an end may show a kidney.
        unexplained = assessment.unread_because.count(NOT_ASSESSED)
        extent = replace(extent, unread_between=max(extent.unread_between, unexplained))
    notices = assessment.notices
    if unread := unread_words(extent, assessment.unread_because):
        notices = (Notice(ReadingCode.SLICES_UNREAD, unread), *notices)
    bounded = replace(assessment, extent=extent, notices=notices)
    if assessment.verdict != NO_STONE or may_exclude(extent):
        return bounded
    # What was found stays to be looked at: only the answer is taken back.
    return replace(bounded, verdict=CANNOT_ASSESS, probability=None, reason=incomplete(extent))


def _refused(reason: str) -> Assessment:
    return Assessment(verdict=CANNOT_ASSESS, probability=None, reason=reason)
