"""Makes batches for training: reads and augments canvases and sets their cell targets."""

from collections.abc import Callable, Mapping
from typing import Literal

import keras
import numpy as np

from detection.ml.data import Sample, thin
from detection.ml.preprocess import Letterbox, Preprocessing, letterbox, network_input
from detection.ml.training.augmentation import Augmentation, augment, erase_stones
from detection.ml.training.losses import cell_targets
from detection.ml.training.teacher import Teacher

Where = Literal["box", "middle", "anywhere"]
# Share of the crops of tightly boxed images that may miss the stones.
_FREE_SHARE = 0.25


def canvas_boxes(sample: Sample, box: Letterbox) -> np.ndarray:
    """Move a sample's boxes to canvas pixels: float32 `(n, 4)`."""
    if not sample.boxes:
        return np.zeros((0, 4), np.float32)
    boxes = np.array([(b.x0, b.y0, b.x1, b.y1) for b in sample.boxes], np.float32)
    boxes[:, [0, 2]] = boxes[:, [0, 2]] * box.scale_x + box.offset_x
    boxes[:, [1, 3]] = boxes[:, [1, 3]] * box.scale_y + box.offset_y
    return boxes


def crop_canvas(
    canvas: np.ndarray,
    boxes: np.ndarray,
    *,
    size: tuple[int, int],
    where: Where,
    generator: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Cut a part of `size` (height, width) out of a canvas, so that a training step costs less.

    Parameters
    ----------
    where : str
        "box": the part holds one of the boxes whole, if it is large enough. "middle": it lies
        within an eighth of its size of the middle. "anywhere": it lies at random. Boxes that the
        part does not touch are left out.

    Returns
    -------
    canvas, boxes : np.ndarray
        uint8 `size`, and float32 `(m, 4)` in pixels of the part.
    """
    starts = []
    anchor = boxes[int(generator.integers(len(boxes)))] if where == "box" else None
    for axis, (side, whole) in enumerate(zip(size, canvas.shape, strict=True)):
        room = whole - side
        low, high = 0.0, float(room)
        if where == "middle":
            low, high = room / 2 - side / 8, room / 2 + side / 8
        elif anchor is not None:
            near, far = anchor[1 - axis], anchor[3 - axis]
            low, high = far + 8 - side, near - 8
            if low > high:
                low = high = (near + far - side) / 2
        low, high = float(np.clip(low, 0, room)), float(np.clip(high, 0, room))
        starts.append(round(generator.uniform(low, high)))
    top, left = starts
    part = canvas[top : top + size[0], left : left + size[1]]
    moved = boxes - np.array([left, top, left, top], np.float32)
    held = (moved[:, 2] > 0) & (moved[:, 0] < size[1]) & (moved[:, 3] > 0) & (moved[:, 1] < size[0])
    return part, moved[held].astype(np.float32)


class TrainingBatches(keras.utils.PyDataset):
    """Batches of inputs and targets; each epoch draws its slices of a group and their changes anew.

    A teacher adds its map of each canvas to the targets. The draw depends on the seed, the epoch
    and the place in the epoch alone.
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
        per_source: Mapping[str, int] | None = None,
        crop: tuple[int, int] | None = None,
        first_epoch: int = 0,
        teacher: Teacher | None = None,
        canvas_of: Callable[[Sample], tuple[np.ndarray, Letterbox]] | None = None,
    ) -> None:
        super().__init__(workers=1)
        self._samples = samples
        self._preprocessing = preprocessing
        self._augmentation = augmentation
        self._batch_size = batch_size
        self._per_group = per_group
        self._seed = seed
        self._per_source = per_source
        self._crop = crop
        self._epoch = first_epoch
        self._teacher = teacher
        # Whoever trains often on few images keeps their canvases.
        self._canvas_of = canvas_of or self._read
        self._draw()

    def __len__(self) -> int:
        return max(1, len(self._drawn) // self._batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        start = index * self._batch_size
        chosen = self._drawn[start : start + self._batch_size]
        generator = np.random.default_rng((self._seed, self._epoch, index))
        canvases, targets = [], []
        for sample in chosen:
            canvas, target = self._example(sample, generator)
            canvases.append(canvas)
            targets.append(target)
        inputs, target = network_input(np.stack(canvases)), np.stack(targets)
        if self._teacher:
            # The teacher reads what the pupil reads, changes and all.
            target = np.concatenate([target, self._teacher(inputs)[..., None]], axis=-1)
        return inputs, target

    def _example(
        self, sample: Sample, generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        canvas, box = self._canvas_of(sample)
        boxes, is_stone = canvas_boxes(sample, box), sample.is_stone
        is_tight = len(boxes) > 0 and not sample.has_loose_boxes
        if is_tight and generator.random() < self._augmentation.erase:
            canvas = erase_stones(canvas, boxes, generator=generator)
            boxes, is_stone = boxes[:0], False
        canvas, boxes = augment(canvas, boxes, spec=self._augmentation, generator=generator)
        if self._crop:
            # A stone without a box is sought in the middle of the body, where the kidneys lie.
            where: Where = "anywhere"
            if is_stone and not len(boxes):
                where = "middle"
            elif is_stone and not (is_tight and generator.random() < _FREE_SHARE):
                where = "box"
            canvas, boxes = crop_canvas(
                canvas, boxes, size=self._crop, where=where, generator=generator
            )
            if where == "anywhere":
                # A part without a stone, of the same scan, is the most honest negative.
                is_stone = len(boxes) > 0
        height, width = canvas.shape
        target = cell_targets(
            boxes=boxes,
            is_stone=is_stone,
            is_loose=sample.has_loose_boxes,
            height=height,
            width=width,
        )
        return canvas, target

    def _read(self, sample: Sample) -> tuple[np.ndarray, Letterbox]:
        return letterbox(sample.read(), self._preprocessing)

    def on_epoch_end(self) -> None:
        self._epoch += 1
        self._draw()

    def _draw(self) -> None:
        seed = self._seed * 1000 + self._epoch
        drawn = thin(
            self._samples, per_group=self._per_group, per_source=self._per_source, seed=seed
        )
        order = np.random.default_rng(seed).permutation(len(drawn))
        self._drawn = [drawn[index] for index in order]
