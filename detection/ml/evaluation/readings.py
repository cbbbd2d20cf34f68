"""Reads labelled images for a report, changed or not, and stores each reading."""

import hashlib
import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.imaging.formats import decode_file
from detection.ml.calibration import apply_platt
from detection.ml.data import LEFT, RIGHT, Item, Sample
from detection.ml.serving import CANNOT_ASSESS, Located, Predictor, image_picture, pool

Grey = NDArray[np.uint8]
# From pixels, their sample, and a generator seeded by image and condition, to changed pixels.
Change = Callable[[Grey, Sample, np.random.Generator], Grey]
Report = Callable[[str], None]
CLEAN = "clean"
_SAVE_EVERY = 50
# Part of the name of every stored file: raise it when a stored reading changes its meaning.
_FORMAT = 1


@dataclass(frozen=True)
class Reading:
    """One image as the served model reads it.

    `probability` and `half_probabilities` (left, right) come from the map, whatever the input gate
    says. `refusal` is the sentence of a refusal, or "". `findings` are those of `classify`: boxes
    x0, y0, x1, y1 in pixels of the image, none for a refused one.
    """

    probability: float
    half_probabilities: tuple[float, float]
    refusal: str
    findings: tuple[Located, ...]
    width: int
    height: int

    def item_probability(self, item: Item) -> float:
        """Return the pooled probability of an image or of its half."""
        if item.half == LEFT:
            return self.half_probabilities[0]
        return self.half_probabilities[1] if item.half == RIGHT else self.probability

    def highest_finding(self, item: Item) -> float:
        """Return the probability of the highest finding whose centre lies in the item, else 0."""
        middle = self.width / 2
        inside = [
            probability
            for (x0, _, x1, _), probability in self.findings
            if not item.half or ((x0 + x1) / 2 < middle) == (item.half == LEFT)
        ]
        return max(inside, default=0.0)


class Reader:
    """Reads images under named conditions and stores each reading, so that none is read twice.

    Parameters
    ----------
    predictor : Predictor
        The model that reads.
    store : Path
        A folder with a file for each condition and digest of a bundle.
    """

    def __init__(self, predictor: Predictor, *, store: Path) -> None:
        self.predictor = predictor
        self._store = store
        self.images_read = 0

    def read(
        self,
        samples: Sequence[Sample],
        *,
        condition: str = CLEAN,
        change: Change | None = None,
        report: Report | None = None,
    ) -> list[Reading]:
        """Read the samples in their order, after `change` if one is given."""
        path = self._store / self._name(condition)
        stored: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
        missing = [sample for sample in samples if sample.image not in stored]
        for index, sample in enumerate(missing):
            stored[sample.image] = asdict(self._read_one(sample, condition, change))
            if (index + 1) % _SAVE_EVERY == 0 or index + 1 == len(missing):
                self._save(path, stored)
                if report:
                    report(f"{condition}: {index + 1}/{len(missing)} images")
        return [_restore(stored[sample.image]) for sample in samples]

    def stone_map(self, sample: Sample) -> NDArray[np.float32]:
        """Return the map of probabilities over one unchanged image; one cell of 0 if refused."""
        assessment = self.predictor.assess(decode_file(sample.path))
        if assessment.stone_map is None:
            return np.zeros((1, 1), np.float32)
        return assessment.stone_map[0]

    def _read_one(self, sample: Sample, condition: str, change: Change | None) -> Reading:
        volume = decode_file(sample.path)
        if change:
            pixels = change(volume.pixels[0], sample, seeded(sample.image, condition))
            volume = replace(volume, pixels=pixels[None])
        picture = image_picture(volume, preprocessing=self.predictor.preprocessing)
        (read,) = self.predictor.read([picture])
        assessment = self.predictor.assess_read(volume, read)
        self.images_read += 1
        cells, column = read.cells, read.box.middle_column
        pooled = np.array([pool(cells), pool(cells[:, :column]), pool(cells[:, column:])])
        whole, left, right = apply_platt(pooled, self.predictor.bundle.calibration).tolist()
        is_refused = assessment.verdict == CANNOT_ASSESS
        return Reading(
            probability=whole,
            half_probabilities=(left, right),
            refusal=(assessment.reason or "refused") if is_refused else "",
            findings=tuple((f.box, float(f.probability)) for f in assessment.findings),
            width=picture.grey.shape[1],
            height=picture.grey.shape[0],
        )

    def _name(self, condition: str) -> str:
        bundle = self.predictor.bundle
        key = hashlib.sha256(f"{_FORMAT}/{bundle.digest}/{condition}".encode()).hexdigest()
        return f"{key[:20]}.json"

    def _save(self, path: Path, stored: dict[str, Any]) -> None:
        self._store.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(stored))
        temporary.replace(path)


def seeded(image: str, condition: str) -> np.random.Generator:
    """Return the generator of an image and a condition, whichever other images are read."""
    return np.random.default_rng(zlib.crc32(f"{condition}/{image}".encode()))


def _restore(stored: dict[str, Any]) -> Reading:
    left, right = stored["half_probabilities"]
    findings = tuple(
        ((float(b[0]), float(b[1]), float(b[2]), float(b[3])), float(p))
        for b, p in stored["findings"]
    )
    return Reading(**{**stored, "half_probabilities": (left, right), "findings": findings})
