"""Judging a model on labelled samples: scores by image and half image, and where it points."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from detection.ml.calibration import apply_platt, wilson_interval
from detection.ml.data import LEFT, RIGHT, Item, Sample, is_near_box, judged_items
from detection.ml.preprocess import Letterbox, Preprocessing, letterbox
from detection.ml.serving import Located, image_map, in_batches, locate, pool
from detection.ml.training.localisation import match_stones, threshold_at
from detection.ml.training.operating_points import expected_calibration_error

# Far below what `classify` shows: a point of the FROC curve is set by its false findings alone, and
# where the list of findings ends would hang on the calibration.
_LOWEST = 0.001

MapLogits = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class BoxedMap:
    """An image with tight boxes, the logits of its canvas `(h / 8, w / 8)`, and its place there."""

    sample: Sample
    cells: NDArray[np.float32]
    box: Letterbox
    size: tuple[int, int]

    def findings(
        self, calibration: dict[str, float], preprocessing: Preprocessing
    ) -> list[Located]:
        """Return what is found in the image, down to `_LOWEST`."""
        rows, columns = self.size
        stone_map = image_map(
            self.cells,
            self.box,
            preprocessing=preprocessing,
            calibration=calibration,
            picture=self.size,
        )
        found = locate(stone_map, width=columns, height=rows, lowest=_LOWEST)
        return [(one.box, one.probability) for one in found]


@dataclass(frozen=True)
class Scores:
    """One score for each judged item; an item is an image or a half of one.

    `logits` float64 `(n,)`, `labels` bool `(n,)`, `groups` and `sources` str `(n,)`.
    `pointing` holds, for each image with tight boxes, whether the map's peak lies on one; `maps`
    holds the maps of these images.
    """

    logits: NDArray[np.float64]
    labels: NDArray[np.bool_]
    groups: NDArray[np.str_]
    sources: NDArray[np.str_]
    pointing: NDArray[np.bool_]
    maps: tuple[BoxedMap, ...] = ()


def score(
    samples: Sequence[Sample],
    *,
    map_logits: MapLogits,
    preprocessing: Preprocessing,
    halved: frozenset[str],
) -> Scores:
    """Score the items of samples with a network, a function from canvases to map logits.

    Parameters
    ----------
    halved : frozenset of str
        The sources judged by halves, as for `data.judged_items`: those of the whole data set.
    """
    logits: list[float] = []
    labels: list[bool] = []
    groups: list[str] = []
    sources: list[str] = []
    pointing: list[bool] = []
    maps: list[BoxedMap] = []

    def fitted() -> Iterator[tuple[Sample, NDArray[np.uint8], Letterbox, tuple[int, int]]]:
        for sample in samples:
            grey = sample.read()
            yield sample, *letterbox(grey, preprocessing), (grey.shape[0], grey.shape[1])

    # One at a time: the last bits of a logit depend on how many are computed together.
    for (picture,), (cells,) in in_batches(map_logits, fitted(), canvas_of=itemgetter(1), size=1):
        sample, _, box, size = picture
        if sample.boxes and not sample.has_loose_boxes:
            pointing.append(_points_at_box(cells, box, sample))
            maps.append(BoxedMap(sample, cells, box, size))
        for item in judged_items([sample], halved=halved):
            logits.append(pool(_cells_of(item, cells, box)))
            labels.append(item.is_stone)
            groups.append(sample.group)
            sources.append(sample.source)
    return Scores(
        logits=np.array(logits, np.float64),
        labels=np.array(labels, bool),
        groups=np.array(groups, str),
        sources=np.array(sources, str),
        pointing=np.array(pointing, bool),
        maps=tuple(maps),
    )


def stones_found(
    scores: Scores,
    *,
    calibration: dict[str, float],
    preprocessing: Preprocessing,
    false_per_image: float,
) -> dict[str, Any] | None:
    """Measure a point of the FROC curve: the share of boxed stones that are found.

    None without images that have tight boxes.
    """
    if not scores.maps:
        return None
    stones = match_stones(
        [held.sample for held in scores.maps],
        [held.findings(calibration, preprocessing) for held in scores.maps],
    )
    found = stones.found(threshold_at(stones, false_per_image=false_per_image))
    return _proportion(int(found.sum()), len(found))


def measure(scores: Scores, *, calibration: dict[str, float], threshold: float) -> dict[str, Any]:
    """Summarise scores: for all items and for each source, with n and 95 % intervals."""
    result = {"all": _summary(scores, np.ones(len(scores.labels), bool), calibration, threshold)}
    for source in sorted(set(scores.sources.tolist())):
        result[source] = _summary(scores, scores.sources == source, calibration, threshold)
    if len(scores.pointing):
        hits = int(scores.pointing.sum())
        result["pointing"] = _proportion(hits, len(scores.pointing))
    return result


def _summary(
    scores: Scores, chosen: NDArray[np.bool_], calibration: dict[str, float], threshold: float
) -> dict[str, Any]:
    labels = scores.labels[chosen]
    probabilities = apply_platt(scores.logits[chosen], calibration)
    called = probabilities >= threshold
    both = 0 < labels.sum() < len(labels)
    return {
        "n": len(labels),
        "groups": len(set(scores.groups[chosen].tolist())),
        "auc": float(roc_auc_score(labels, probabilities)) if both else None,
        "accuracy": _proportion(int((called == labels).sum()), len(labels)),
        "sensitivity": _proportion(int((called & labels).sum()), int(labels.sum())),
        "specificity": _proportion(int((~called & ~labels).sum()), int((~labels).sum())),
        "ece": expected_calibration_error(probabilities, labels),
    }


def _proportion(hits: int, total: int) -> dict[str, Any]:
    low, high = wilson_interval(hits, total)
    return {
        "value": hits / total if total else None,
        "hits": hits,
        "n": total,
        "interval": [low, high],
    }


def _cells_of(item: Item, cells: NDArray[np.float32], box: Letterbox) -> NDArray[np.float32]:
    if item.half == LEFT:
        return cells[:, : box.middle_column]
    return cells[:, box.middle_column :] if item.half == RIGHT else cells


def _points_at_box(cells: NDArray[np.float32], box: Letterbox, sample: Sample) -> bool:
    row, column = np.unravel_index(int(np.argmax(cells)), cells.shape)
    x = ((column + 0.5) * Preprocessing.stride - box.offset_x) / box.scale_x
    y = ((row + 0.5) * Preprocessing.stride - box.offset_y) / box.scale_y
    return is_near_box(sample, x, y)
