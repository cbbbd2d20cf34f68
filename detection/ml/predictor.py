"""The served model: ONNX Runtime on a verified bundle, one slice or a whole volume at a time."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from detection.imaging.volume import Volume
from detection.imaging.window import Window, grey_slice
from detection.ml.bundle import Bundle
from detection.ml.calibrate import apply_platt
from detection.ml.errors import BundleError, MLError
from detection.ml.findings import MAX_CANDIDATES, Candidate, Rectangle, locate
from detection.ml.input_gate import Features, Gate, load_gate, picture_refusal, refused
from detection.ml.pooling import pool
from detection.ml.preprocess import Letterbox, letterbox, network_input

STONE = "stone"
NO_STONE = "no_stone"
CANNOT_ASSESS = "cannot_assess"
_BATCH = 8
# The stored map: fine enough to look smooth over the image, small enough to keep.
_MAP_SIDE = 128


@dataclass(frozen=True)
class Assessment:
    """What the model says of a volume.

    `probability` is None exactly when the verdict is cannot_assess, and `reason` then says why.
    `stone_map` is float32 `(slices, rows, columns)`, probabilities, covering exactly the image.
    """

    verdict: str
    probability: float | None
    reason: str = ""
    findings: tuple[Candidate, ...] = ()
    stone_map: NDArray[np.float32] | None = None
    caveats: tuple[str, ...] = ()
    slice_probabilities: tuple[float | None, ...] = ()


class Predictor:
    """A loaded model. Loading takes about a second; keep one for the life of a process.

    Parameters
    ----------
    gate : Gate, optional
        Judges slices in place of the bundle's own gate.

    Raises
    ------
    BundleError
        If ONNX Runtime cannot load the bundle's model.
    """

    def __init__(
        self, bundle: Bundle, *, threads: int | None = None, gate: Gate | None = None
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or min(4, os.cpu_count() or 1)
        try:
            self._session = onnxruntime.InferenceSession(
                str(bundle.serving_path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise BundleError(
                f"The model of the bundle {bundle.name} could not be loaded. Restore its folder, "
                "or put another model version into service."
            ) from error
        self._input = self._session.get_inputs()[0].name
        self._outputs = [output.name for output in self._session.get_outputs()]
        self.gate = gate or load_gate(bundle)
        self.bundle = bundle
        self.preprocessing = bundle.preprocessing
        self.threshold = float(bundle.operating_point["threshold"])
        self._window = Window(
            center_hu=self.preprocessing.window_center_hu,
            width_hu=self.preprocessing.window_width_hu,
        )

    def assess(
        self, volume: Volume, *, progress: Callable[[int, int], None] | None = None
    ) -> Assessment:
        """Read every slice of a volume.

        Parameters
        ----------
        progress : callable, optional
            Called with (slices read, slices in all).

        Raises
        ------
        MLError
            If the network gives no usable numbers.
        """
        if volume.plane == "sagittal":
            return _refused(refused("sagittal").sentence)
        total = volume.pixels.shape[0]
        maps: list[NDArray[np.float32]] = []
        probabilities: list[float | None] = []
        findings: list[Candidate] = []
        reasons: list[str] = []
        for start in range(0, total, _BATCH):
            indices = range(start, min(start + _BATCH, total))
            slices = [grey_slice(volume, index, window=self._window) for index in indices]
            fitted = [letterbox(grey, self.preprocessing) for grey in slices]
            logits, features = self.run(np.stack([canvas for canvas, _ in fitted]))
            judged = self.gate.refusals(features) if self.gate else [None] * len(slices)
            refusals = [
                picture_refusal(grey, colour_spread=volume.colour_spread) or seen
                for grey, seen in zip(slices, judged, strict=True)
            ]
            for index, grey, refusal, (_, box), held in zip(
                indices, slices, refusals, fitted, logits, strict=True
            ):
                rows, columns = grey.shape
                stone_map = self._image_map(held, box)
                maps.append(stone_map)
                if refusal:
                    reasons.append(refusal.sentence)
                    probabilities.append(None)
                    continue
                probabilities.append(
                    float(apply_platt(np.array(pool(held)), self.bundle.calibration))
                )
                for place, probability in locate(stone_map, width=columns, height=rows):
                    findings.append(
                        Candidate(
                            plane=volume.plane,
                            slice_index=index,
                            box=place,
                            probability=probability,
                            extent_mm=_extent_mm(place, volume.spacing_mm),
                        )
                    )
            if progress:
                progress(min(start + _BATCH, total), total)
        assessed = [p for p in probabilities if p is not None]
        if not assessed:
            return _refused(reasons[0])
        probability = max(assessed)
        findings.sort(key=lambda candidate: -candidate.probability)
        return Assessment(
            verdict=STONE if probability >= self.threshold else NO_STONE,
            probability=probability,
            findings=tuple(findings[:MAX_CANDIDATES]),
            stone_map=np.stack(maps),
            slice_probabilities=tuple(probabilities),
        )

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

    def _image_map(self, logits: NDArray[np.float32], box: Letterbox) -> NDArray[np.float32]:
        """Cut the image out of the canvas' map and turn it into calibrated probabilities."""
        stride = self.preprocessing.height / logits.shape[0]
        longer = max(box.width, box.height)
        columns = max(1, round(_MAP_SIDE * box.width / longer))
        rows = max(1, round(_MAP_SIDE * box.height / longer))
        # Sample the logits bilinearly at the centre of each map pixel, in cells of the canvas.
        x = (box.offset_x + (np.arange(columns) + 0.5) * box.width / columns) / stride - 0.5
        y = (box.offset_y + (np.arange(rows) + 0.5) * box.height / rows) / stride - 0.5
        grid_x, grid_y = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
        sampled = cv2.remap(
            logits.astype(np.float32),
            grid_x,
            grid_y,
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return apply_platt(sampled, self.bundle.calibration).astype(np.float32)


def save_stone_map(stone_map: NDArray[np.float32], path: Path) -> None:
    """Write a map as float16 `.npz`: to a temporary name first, then moved into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
        np.savez_compressed(file, stone_map=stone_map.astype(np.float16))
    os.replace(file.name, path)


def load_stone_map(path: Path) -> NDArray[np.float32]:
    """Read what `save_stone_map` wrote: float32 `(slices, rows, columns)`."""
    with np.load(path, allow_pickle=False) as archive:
        return archive["stone_map"].astype(np.float32)


def _refused(reason: str) -> Assessment:
    return Assessment(verdict=CANNOT_ASSESS, probability=None, reason=reason)


def _extent_mm(box: Rectangle, spacing_mm: tuple[float, float, float] | None) -> float | None:
    if spacing_mm is None:
        return None
    _, row_mm, column_mm = spacing_mm
    return round(max((box[2] - box[0]) * column_mm, (box[3] - box[1]) * row_mm), 1)
