"""The served model: ONNX Runtime on a verified bundle, one slice or a whole volume at a time."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from detection.imaging.coronal import PIXEL_MM, CoronalPlan, CoronalSlab, plan_coronal
from detection.imaging.trunk import Trunk, find_trunk
from detection.imaging.volume import Volume
from detection.imaging.window import Window, apply_window, grey_slice
from detection.ml.bundle import Bundle
from detection.ml.calibration import apply_platt, sigmoid
from detection.ml.errors import BundleError, MLError
from detection.ml.preprocess import Letterbox, letterbox, network_input
from detection.ml.serving.assessment import CANNOT_ASSESS, NO_STONE, STONE, Assessment
from detection.ml.serving.findings import Candidate, extent_mm, locate
from detection.ml.serving.gate import Features, Gate, load_gate
from detection.ml.serving.marks import Mark, merge_marks
from detection.ml.serving.picture_checks import (
    MIN_KNOWN_CT_SIDE_PX,
    MIN_SIDE_PX,
    Refusal,
    chest_refusal,
    refused,
    slice_refusal,
)
from detection.ml.serving.pooling import pool
from detection.ml.serving.series_rule import (
    SeriesRule,
    key_slices,
    operating_point_of,
    rule_of,
    series_logit,
)
from detection.ml.serving.session import open_session
from detection.ml.serving.stone_map import image_map
from detection.ml.serving.stones import Stone, find_stones

_BATCH = 8
# Slices farther apart than this average a small stone away.
_THICK_MM = 3.0
_THICK = (
    "The slices are more than 3 mm apart: a small stone may lie between them or show on one slice "
    "alone, which the series rule does not count."
)
_COARSE_MM = 1.5
_COARSE = "The pixels are larger than 1.5 mm: small stones cannot be seen."
# At 3 mm a pixel, vessels and bowel full of contrast medium look like the training's stones.
_TOO_COARSE_MM = 2.0
_TOO_COARSE = (
    "The pixels are {mm:.1f} mm wide: too coarse to show a stone. Please send the original slices, "
    "not a reduced copy (at most 2 mm a pixel)."
)
_DISAGREE = (
    "The axial slices and the coronal reformats do not agree: please look at the key slices."
)


class Predictor:
    """A loaded model. Loading takes about a second; keep one for the life of a process.

    Parameters
    ----------
    is_gated : bool
        Whether the bundle's own gate judges what is read; the cheap checks always do.

    Raises
    ------
    BundleError
        If ONNX Runtime cannot load the bundle's model.
    """

    def __init__(
        self, bundle: Bundle, *, threads: int | None = None, is_gated: bool = True
    ) -> None:
        threads = threads or min(4, os.cpu_count() or 1)
        try:
            self._session = open_session(bundle.serving_path, threads=threads)
        except Exception as error:
            raise BundleError(
                f"The model of the bundle {bundle.name} could not be loaded. Restore its folder, "
                "or put another model version into service."
            ) from error
        self._input = self._session.get_inputs()[0].name
        self._outputs = [output.name for output in self._session.get_outputs()]
        self.gate: Gate | None = load_gate(bundle) if is_gated else None
        self.bundle = bundle
        self.preprocessing = bundle.preprocessing
        self.threshold = float(bundle.operating_point["threshold"])
        self.rule = rule_of(bundle)
        self._window = Window(
            center_hu=self.preprocessing.window_center_hu,
            width_hu=self.preprocessing.window_width_hu,
        )

    def assess(
        self, volume: Volume, *, progress: Callable[[int, int], None] | None = None
    ) -> Assessment:
        """Read an image, or every slice of a volume that shows a body.

        A volume is read slice by slice, in batches; an axial one in HU is cut to the trunk first
        and, where its slices allow it, read once more in coronal slabs.

        Parameters
        ----------
        progress : callable, optional
            Called with (pictures read, pictures in all), rising to the end.

        Raises
        ------
        MLError
            If the network gives no usable numbers.
        """
        if volume.plane == "sagittal":
            return _refused(refused("sagittal").sentence)
        # The rows of a coronal stack may be thick axial slices: only axial pixels are judged.
        widest_mm = max(volume.spacing_mm[1:]) if volume.spacing_mm else 0.0
        if volume.plane == "axial" and widest_mm > _TOO_COARSE_MM:
            return _refused(_TOO_COARSE.format(mm=widest_mm))
        if volume.pixels.shape[0] == 1:
            return self._assess_image(volume)
        return self._assess_volume(volume, progress or (lambda done, total: None))

    def _assess_image(self, volume: Volume) -> Assessment:
        _, rows, columns = volume.pixels.shape
        grey = grey_slice(volume, 0, window=self._window)
        read = next(self._read([grey], of=volume))
        reason = read.reason or _chest_reason(volume, 0)
        if reason:
            return _refused(reason)
        stone_map = self._image_map(read)
        probability = float(apply_platt(np.array(read.logit), self.bundle.calibration))
        findings = [
            Candidate(
                plane=volume.plane,
                slice_index=0,
                box=place,
                probability=height,
                extent_mm=extent_mm(place, volume.spacing_mm),
            )
            for place, height in locate(stone_map, width=columns, height=rows)
        ]
        return Assessment(
            verdict=STONE if probability >= self.threshold else NO_STONE,
            probability=probability,
            findings=tuple(findings),
            stone_map=stone_map[None],
            slice_probabilities=(probability,),
            operating_point=self.bundle.operating_point,
        )

    def _assess_volume(self, volume: Volume, progress: Callable[[int, int], None]) -> Assessment:
        trunk = find_trunk(volume)
        plan = plan_coronal(volume, trunk) if trunk else None
        indices = trunk.slices if trunk else list(range(volume.pixels.shape[0]))
        total = len(indices) + (plan.pictures if plan else 0)
        counted = iter(range(1, total + 1))

        def tick() -> None:
            progress(next(counted), total)

        acquired = self._read_acquired(volume, trunk, indices, tick)
        coronal = self._read_coronal(plan, tick) if plan else _PlaneReading()
        logit = acquired.logit(self.rule)
        if logit is None:
            return _refused(acquired.reason)
        logit_coronal = coronal.logit(self.rule)
        # The more suspicious plane decides: some stones show well in one of them only.
        highest = logit if logit_coronal is None else max(logit, logit_coronal)
        probability = float(sigmoid(np.array(highest)))
        caveats = [self.rule.scope]
        if logit_coronal is not None:
            called = [float(sigmoid(np.array(one))) for one in (logit, logit_coronal)]
            if len({one >= self.rule.threshold for one in called}) == 2:
                caveats.append(_DISAGREE)
        if volume.is_hu and volume.spacing_mm and volume.spacing_mm[0] > _THICK_MM:
            caveats.append(_THICK)
        if volume.spacing_mm and max(volume.spacing_mm[1:]) > _COARSE_MM:
            caveats.append(_COARSE)
        stones = find_stones(
            volume,
            merge_marks([*acquired.marks, *coronal.marks]),
            trunk=trunk,
            threshold=self.rule.threshold,
            min_run=self.rule.run,
        )
        return Assessment(
            verdict=STONE if probability >= self.rule.threshold else NO_STONE,
            probability=probability,
            findings=tuple(_candidate(stone, volume) for stone in stones),
            stone_map=acquired.stone_map,
            caveats=tuple(caveats),
            slice_probabilities=acquired.probabilities,
            coronal_probabilities=coronal.probabilities,
            coronal_positions_mm=plan.positions_mm if plan else (),
            stones=stones,
            key_slices=key_slices(acquired.logits, self.rule),
            operating_point=operating_point_of(self.bundle),
        )

    def _read_acquired(
        self, volume: Volume, trunk: Trunk | None, indices: list[int], tick: Callable[[], None]
    ) -> "_PlaneReading":
        slices, rows, columns = volume.pixels.shape
        top, _, left, _ = trunk.box if trunk else (0, rows, 0, columns)

        def greys() -> Iterator[NDArray[np.uint8]]:
            for index in indices:
                if trunk:
                    yield apply_window(trunk.cut(volume.pixels[index], index), self._window)
                else:
                    yield grey_slice(volume, index, window=self._window)

        reading = _PlaneReading(logits=[None] * slices)
        maps: NDArray[np.float16] | None = None
        for index, read in zip(indices, self._read(greys(), of=volume), strict=True):
            tick()
            reason = read.reason or _chest_reason(volume, index)
            if reason:
                reading.reason = reading.reason or reason
                continue
            stone_map = self._image_map(read, image=(rows, columns), origin=(top, left))
            if maps is None:
                maps = np.zeros((slices, *stone_map.shape), np.float16)
            maps[index] = stone_map
            reading.logits[index] = self._calibrated(read.logit)
            for box, probability in locate(stone_map, width=columns, height=rows):
                x0, y0, x1, y1 = box
                edges = (x0, y0, float(index), x1, y1, float(index + 1))
                reading.marks.append(Mark(edges=edges, probability=probability, step=index))
        reading.stone_map = maps
        return reading

    def _read_coronal(self, plan: CoronalPlan, tick: Callable[[], None]) -> "_PlaneReading":
        reading = _PlaneReading(logits=[None] * len(plan.rows))
        held: deque[CoronalSlab] = deque()

        def greys() -> Iterator[NDArray[np.uint8]]:
            for slab in plan.slabs():
                # The pixels are not needed again; the place is.
                held.append(replace(slab, pixels_hu=slab.pixels_hu[:1, :1]))
                yield apply_window(slab.pixels_hu, self._window)

        for read in self._read(greys(), of=None):
            slab = held.popleft()
            tick()
            if read.reason:
                continue
            logit, before = self._calibrated(read.logit), reading.logits[slab.position]
            reading.logits[slab.position] = logit if before is None else max(before, logit)
            stone_map = self._image_map(read)
            for box, probability in locate(stone_map, width=read.columns, height=read.rows):
                reading.marks.append(
                    Mark(
                        edges=slab.to_volume(box),
                        probability=probability,
                        step=slab.position,
                        is_acquired=False,
                    )
                )
        return reading

    def _read(self, greys: Iterable[NDArray[np.uint8]], *, of: Volume | None) -> Iterator["_Read"]:
        """Read pictures in batches; never more than a batch of them is held.

        They are slices of a volume, or parts of them; without one they are coronal slabs.
        """
        spacing_mm: tuple[float, float] | None = (PIXEL_MM, PIXEL_MM)
        colour_spread = 0.0
        if of is not None:
            spacing_mm = of.spacing_mm[1:] if of.spacing_mm else None
            colour_spread = of.colour_spread
        is_known_ct = of is None or (of.is_hu and of.plane in ("axial", "coronal"))
        min_side_px = MIN_KNOWN_CT_SIDE_PX if is_known_ct else MIN_SIDE_PX
        for batch in _batches(greys, _BATCH):
            fitted = [letterbox(g, self.preprocessing, spacing_mm=spacing_mm) for g in batch]
            logits, features = self.run(np.stack([canvas for canvas, _ in fitted]))
            judged: list[Refusal | None] = [None] * len(batch)
            if self.gate:
                judged = self.gate.refusals(features, is_known_ct=is_known_ct)
            for grey, seen, (_, box), cells in zip(batch, judged, fitted, logits, strict=True):
                rows, columns = grey.shape
                refusal = slice_refusal(
                    grey, colour_spread=colour_spread, seen=seen, min_side_px=min_side_px
                )
                reason = refusal.sentence if refusal else ""
                yield _Read(cells=cells, box=box, rows=rows, columns=columns, reason=reason)

    def _calibrated(self, logit: float) -> float:
        calibration = self.bundle.calibration
        return calibration["slope"] * logit + calibration["intercept"]

    def map_logits(self, canvases: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run the network: uint8 `(n, height, width)` -> logits, float32 `(n, h / 8, w / 8)`."""
        return self.run(canvases)[0]

    def run(self, canvases: NDArray[np.uint8]) -> tuple[NDArray[np.float32], Features]:
        """Run the network on canvases, uint8 `(n, height, width)`.

        Returns
        -------
        logits : np.ndarray
            float32 `(n, h / 8, w / 8)`.
        features : mapping
            What else the bundle's network gives, by output name: float32 `(n, d)`. Empty for a
            bundle without features.
        """
        stone_map, *features = self._session.run(None, {self._input: network_input(canvases)})
        logits = stone_map[..., 0]
        if not np.isfinite(logits).all():
            raise MLError("The model gave no usable numbers for this image.")
        return logits, dict(zip(self._outputs[1:], features, strict=True))

    def _image_map(
        self,
        read: "_Read",
        *,
        image: tuple[int, int] | None = None,
        origin: tuple[int, int] = (0, 0),
    ) -> NDArray[np.float32]:
        return image_map(
            read.cells,
            read.box,
            preprocessing=self.preprocessing,
            calibration=self.bundle.calibration,
            picture=(read.rows, read.columns),
            image=image,
            origin=origin,
        )


@dataclass(frozen=True, eq=False)
class _Read:
    """What the network says of one picture: logits `(h / 8, w / 8)`, or why it is not read."""

    cells: NDArray[np.float32]
    box: Letterbox
    rows: int
    columns: int
    reason: str

    @property
    def logit(self) -> float:
        return pool(self.cells)


@dataclass(eq=False)
class _PlaneReading:
    """What was read in one plane, slice by slice: calibrated logits, None where not read."""

    logits: list[float | None] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    stone_map: NDArray[np.float16] | None = None
    reason: str = ""

    def logit(self, rule: SeriesRule) -> float | None:
        return series_logit(self.logits, rule)

    @property
    def probabilities(self) -> tuple[float | None, ...]:
        return tuple(None if z is None else float(sigmoid(np.array(z))) for z in self.logits)


def _batches(greys: Iterable[NDArray[np.uint8]], size: int) -> Iterator[list[NDArray[np.uint8]]]:
    source = iter(greys)
    while batch := list(islice(source, size)):
        yield batch


def _candidate(stone: Stone, volume: Volume) -> Candidate:
    widest_mm = stone.diameter_mm or extent_mm(stone.box, volume.spacing_mm)
    return Candidate(
        plane=stone.plane,
        slice_index=stone.slice_index,
        box=stone.box,
        probability=stone.probability,
        extent_mm=round(widest_mm, 1) if widest_mm else None,
    )


def _chest_reason(volume: Volume, index: int) -> str:
    if not volume.is_hu or volume.plane != "axial":
        return ""
    refusal = chest_refusal(volume.pixels[index])
    return refusal.sentence if refusal else ""


def _refused(reason: str) -> Assessment:
    return Assessment(verdict=CANNOT_ASSESS, probability=None, reason=reason)
