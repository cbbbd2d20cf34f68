"""Batches for training: canvases read, augmented and given their cell targets on the fly."""

import keras
import numpy as np

from detection.ml.augment import Augmentation, augment
from detection.ml.dataset import Sample, thin
from detection.ml.losses import cell_targets
from detection.ml.preprocess import Letterbox, Preprocessing, letterbox, network_input


def canvas_boxes(sample: Sample, box: Letterbox) -> np.ndarray:
    """Move a sample's boxes to canvas pixels: float32 `(n, 4)`."""
    if not sample.boxes:
        return np.zeros((0, 4), np.float32)
    boxes = np.array([(b.x0, b.y0, b.x1, b.y1) for b in sample.boxes], np.float32)
    boxes[:, [0, 2]] = boxes[:, [0, 2]] * box.scale_x + box.offset_x
    boxes[:, [1, 3]] = boxes[:, [1, 3]] * box.scale_y + box.offset_y
    return boxes


class TrainingBatches(keras.utils.PyDataset):
    """One epoch after another: each draws anew which slices of a group it shows, and how.

    The draw depends on the seed, the epoch and the place in the epoch alone.
    """

    def __init__(
        self,
        samples: list[Sample],
        *,
        preprocessing: Preprocessing,
        augmentation: Augmentation,
        batch_size: int,
        per_group: int,
        seed: int,
    ) -> None:
        super().__init__(workers=1)
        self._samples = samples
        self._preprocessing = preprocessing
        self._augmentation = augmentation
        self._batch_size = batch_size
        self._per_group = per_group
        self._seed = seed
        self._epoch = 0
        self._draw()

    def __len__(self) -> int:
        return max(1, len(self._drawn) // self._batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        start = index * self._batch_size
        chosen = self._drawn[start : start + self._batch_size]
        generator = np.random.default_rng((self._seed, self._epoch, index))
        spec = self._preprocessing
        canvases, targets = [], []
        for sample in chosen:
            canvas, box = letterbox(sample.read(), spec)
            canvas, boxes = augment(
                canvas, canvas_boxes(sample, box), spec=self._augmentation, generator=generator
            )
            canvases.append(canvas)
            targets.append(
                cell_targets(
                    boxes=boxes,
                    is_stone=sample.is_stone,
                    is_loose=sample.has_loose_boxes,
                    height=spec.height,
                    width=spec.width,
                )
            )
        return network_input(np.stack(canvases)), np.stack(targets)

    def on_epoch_end(self) -> None:
        self._epoch += 1
        self._draw()

    def _draw(self) -> None:
        seed = self._seed * 1000 + self._epoch
        drawn = thin(self._samples, per_group=self._per_group, seed=seed)
        order = np.random.default_rng(seed).permutation(len(drawn))
        self._drawn = [drawn[index] for index in order]
