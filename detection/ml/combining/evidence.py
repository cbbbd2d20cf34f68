"""The judged items on which weights are fitted, and how good a method is on new patients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.ml.combining.fitting import Problem, losses
from detection.ml.combining.paired import Patients
from detection.ml.combining.predictions import Predictions, joined
from detection.ml.data import (
    LEFT,
    RIGHT,
    UNIT,
    Dataset,
    Item,
    Sample,
    deal,
    halved_sources,
    judged_items,
    split_units,
)
from detection.ml.errors import MLError
from detection.ml.preprocess import Preprocessing, letterbox

_FOLDS_SALT = "combine-1"


@dataclass(frozen=True, eq=False)
class Evidence:
    """The items with their maps and their patients.

    Attributes
    ----------
    problem : Problem
        What the weights are fitted on.
    items : tuple of Item
        The same items, by the names of their images.
    patients : Patients
        Draws patient units for intervals.
    units, groups : np.ndarray
        str `(n,)`: patient unit and patient group of each item.
    """

    problem: Problem
    items: tuple[Item, ...]
    patients: Patients
    units: NDArray[np.str_]
    groups: NDArray[np.str_]

    def among(self, samples: Sequence[Sample]) -> tuple[NDArray[np.bool_], list[Sample]]:
        """Mark the items of some samples, and return those samples in the order of the items."""
        names = {sample.image for sample in samples}
        chosen = np.array([item.sample.image in names for item in self.items], bool)
        return chosen, [one for one in self._samples() if one.image in names]

    def folds(self, count: int) -> NDArray[np.int64]:
        """Return the fold of each item, int `(n,)`; no patient unit lies in two."""
        dealt = deal(self._samples(), folds=count, salt=_FOLDS_SALT)
        place = {one.image: number for number, held in enumerate(dealt) for one in held}
        return np.array([place[item.sample.image] for item in self.items], np.int64)

    def figures(self, logits: NDArray[np.float64]) -> dict[str, Any]:
        """Measure calibrated logits of the items: log-loss and area under the ROC curve."""
        labels, patients = self.problem.labels, self.patients
        return {
            "log_loss": patients.mean(
                losses(logits, labels), self.units, unit=UNIT
            ).figure.to_dict(),
            "auc": patients.auc(logits, labels, self.units, unit=UNIT).figure.to_dict(),
        }

    def counts(self) -> dict[str, int]:
        """Count images, items and patient units."""
        return {
            "images": len(self._samples()),
            "items": len(self.items),
            "units": len(set(self.units.tolist())),
        }

    def _samples(self) -> list[Sample]:
        return list({item.sample.image: item.sample for item in self.items}.values())


def evidence_of(
    seen: Sequence[Sequence[Predictions]],
    *,
    dataset: Dataset,
    parts: Mapping[str, Sequence[Sample]],
    preprocessing: Preprocessing,
) -> Evidence:
    """Gather the items of the images of which every member has a map.

    Parameters
    ----------
    seen : sequence
        The predictions of each member, on images that its network was not trained on.

    Raises
    ------
    MLError
        If an image of the test part is among them.
    """
    images, cells = joined(seen)
    place = {image: index for index, image in enumerate(images)}
    if tested := place.keys() & {sample.image for sample in parts["test"]}:
        raise MLError(f"{min(tested)} is an image of the test part: no weights are fitted on it.")
    by_name = {sample.image: sample for sample in dataset.samples}
    samples = [by_name[image] for image in images]
    items = judged_items(samples, halved=halved_sources(dataset.samples))
    units = split_units(dataset.samples)
    patients = Patients({sample.group: units[sample.group] for sample in samples})
    middles = {one.image: letterbox(one.read(), preprocessing)[1].middle_column for one in samples}
    groups = [item.sample.group for item in items]
    return Evidence(
        problem=Problem(
            cells=cells,
            images=np.array([place[item.sample.image] for item in items], np.int64),
            columns=np.array([_columns(item, middles, cells.shape[-1]) for item in items]),
            labels=np.array([item.is_stone for item in items], bool),
        ),
        items=tuple(items),
        patients=patients,
        units=patients.of(groups),
        groups=np.array(groups, str),
    )


def _columns(item: Item, middles: Mapping[str, int], width: int) -> tuple[int, int]:
    middle = middles[item.sample.image]
    if item.half == LEFT:
        return 0, middle
    return (middle, width) if item.half == RIGHT else (0, width)
