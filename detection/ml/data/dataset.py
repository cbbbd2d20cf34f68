"""Training data: the manifest of a folder, its boxes, and splits that keep patients together."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from detection.ml.data.sources import SOURCES_NAME, SourceFacts, facts_of, read_sources
from detection.ml.data.tables import read_table
from detection.ml.errors import DatasetError

STONE = "stone"
NO_STONE = "no_stone"
# Shares of the fixed split. The test part is read once, after everything else is fixed.
PARTS = {"train": 0.7, "validation": 0.15, "test": 0.15}
BOXES_NAME = "boxes.csv"
TIGHT_NAME = "boxes_tight.csv"
_REQUIRED_COLUMNS = frozenset({"image", "source", "label", "group"})


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of the image, x to the right and y down."""

    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True)
class Sample:
    """One image of a training data folder."""

    path: Path
    image: str
    source: str
    is_stone: bool
    finding: str
    group: str
    boxes: tuple[Box, ...] = ()
    # Whether `boxes_tight.csv` names the image: its boxes are tight, whatever holds for its source.
    is_tightly_boxed: bool = False
    # "axial", "coronal", or empty where the source does not say.
    view: str = ""
    # Those of its source.
    facts: SourceFacts = SourceFacts()

    @property
    def has_loose_boxes(self) -> bool:
        return self.facts.has_loose_boxes and not self.is_tightly_boxed

    def read(self) -> np.ndarray:
        """Return the grey pixels, uint8 `(rows, columns)`."""
        pixels = cv2.imread(str(self.path), cv2.IMREAD_GRAYSCALE)
        if pixels is None:
            raise DatasetError(f"The image {self.image} of the data folder cannot be read.")
        return pixels


@dataclass(frozen=True)
class Dataset:
    """All samples of a folder, and the fingerprint that names exactly this data."""

    samples: tuple[Sample, ...]
    fingerprint: str
    groups: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", len({sample.group for sample in self.samples}))

    def snapshot(self) -> dict[str, int | str]:
        return {
            "fingerprint": self.fingerprint,
            "images": len(self.samples),
            "stone_images": sum(sample.is_stone for sample in self.samples),
            "groups": self.groups,
        }


def load_dataset(folder: Path, *, with_tight_boxes: bool = True) -> Dataset:
    """Read `manifest.csv`, `boxes.csv`, `boxes_tight.csv` and `sources.csv` of a data folder.

    The last three may be missing. On the images that `boxes_tight.csv` names, its boxes replace
    those of `boxes.csv`. The fingerprint is a SHA-256 over the manifest rows, the boxes, the bytes
    of every image and what `sources.csv` says.

    Parameters
    ----------
    with_tight_boxes : bool
        Whether `boxes_tight.csv` is read at all; without it, a comparison shows its worth.

    Raises
    ------
    DatasetError
        If a file or column is missing, a label is unknown, a path leaves the folder, an image that
        is labelled stone-free or is unknown has a tight box, or `sources.csv` cannot be used
        (`sources.read_sources`).
    """
    manifest = folder / "manifest.csv"
    if not manifest.is_file():
        raise DatasetError("The data folder holds no manifest.csv.")
    boxes = _read_boxes(folder / BOXES_NAME)
    tight = _read_boxes(folder / TIGHT_NAME) if with_tight_boxes else {}
    table = read_table(manifest, required=_REQUIRED_COLUMNS)
    sources = {row["source"] for _, row in table}
    said: dict[str, SourceFacts] = {}
    if (folder / SOURCES_NAME).is_file():
        said = read_sources(folder / SOURCES_NAME, sources=sources)
    facts = {source: said.get(source, facts_of(source)) for source in sources}
    _check_tight(tight, {row["image"]: row["label"] for _, row in table})
    root = folder.resolve()
    samples: list[Sample] = []
    digest = hashlib.sha256()
    for line, row in table:
        if row["label"] not in (STONE, NO_STONE):
            raise DatasetError(
                f"manifest.csv, line {line}: the label must be {STONE} or {NO_STONE}."
            )
        path = (folder / row["image"]).resolve()
        if not path.is_relative_to(root) or not path.is_file():
            raise DatasetError(f"manifest.csv, line {line}: there is no such image.")
        sample = Sample(
            path=path,
            image=row["image"],
            source=row["source"],
            is_stone=row["label"] == STONE,
            finding=row.get("finding") or row["label"],
            group=row["group"],
            boxes=tuple(tight.get(row["image"], boxes.get(row["image"], ()))),
            is_tightly_boxed=row["image"] in tight,
            view=row.get("view", ""),
            facts=facts[row["source"]],
        )
        samples.append(sample)
        digest.update(repr((sample.image, sample.is_stone, sample.group, sample.boxes)).encode())
        digest.update(path.read_bytes())
        if sample.is_tightly_boxed:
            digest.update(TIGHT_NAME.encode())
    # Without the file the fingerprint is what it was before there could be one.
    for source in sorted(said):
        digest.update(repr((source, said[source])).encode())
    if not any(sample.is_stone for sample in samples) or len(samples) < 8:
        raise DatasetError("The data folder needs at least 8 images, some of them with stones.")
    return Dataset(samples=tuple(samples), fingerprint=digest.hexdigest())


def split_units(samples: Sequence[Sample]) -> dict[str, str]:
    """Map each group to the unit that must stay on one side of a split.

    A group is its own unit, but neighbouring groups of sources where they may be one patient
    (its axial and its coronal series) are joined in runs of four.

    Raises
    ------
    DatasetError
        If two sources share a group and differ in what their neighbours are: then no unit is right
        for both.
    """
    units: dict[str, str] = {}
    for sample in samples:
        number = re.search(r"(\d+)$", sample.group)
        if sample.facts.neighbours_are_one_patient and number:
            prefix = sample.group[: number.start()]
            unit = f"{prefix}{int(number.group()) // 4 * 4:03d}+"
        else:
            unit = sample.group
        if units.setdefault(sample.group, unit) != unit:
            raise DatasetError(
                f"The group {sample.group} stands in two sources, and neighbouring groups are one "
                "patient in one of them only. Please give the groups of each source names of "
                "their own in manifest.csv."
            )
    return units


def split(
    samples: Sequence[Sample], *, parts: dict[str, float], salt: str = "split-1"
) -> dict[str, list[Sample]]:
    """Split by patient unit, stratified by source and finding.

    Parameters
    ----------
    parts : dict
        Name to share, summing to 1. Within each stratum units are ordered by a hash of their
        name and dealt out by their number of images, so that the split never depends on the
        order of the manifest.

    Returns
    -------
    dict
        Name to samples. No unit stands in two parts; `check_split` proves it.
    """
    units = split_units(samples)
    members: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        members[units[sample.group]].append(sample)
    strata: dict[tuple[str, str], list[str]] = defaultdict(list)
    for unit, held in members.items():
        strata[held[0].source, held[0].finding].append(unit)
    result: dict[str, list[Sample]] = {name: [] for name in parts}
    for stratum in sorted(strata):
        ordered = sorted(
            strata[stratum], key=lambda unit: hashlib.sha256(f"{salt}/{unit}".encode()).hexdigest()
        )
        total = sum(len(members[unit]) for unit in ordered)
        counts = dict.fromkeys(parts, 0)
        for unit in ordered:
            # The part that is furthest behind its share takes the next unit.
            name = max(parts, key=lambda part: parts[part] * total - counts[part])
            counts[name] += len(members[unit])
            result[name].extend(members[unit])
    check_split(result)
    return result


def deal(samples: Sequence[Sample], *, folds: int, salt: str) -> list[list[Sample]]:
    """Deal samples out to equal folds by patient unit, as `split` does."""
    parts = {f"fold {number}": 1 / folds for number in range(1, folds + 1)}
    return list(split(samples, parts=parts, salt=salt).values())


def check_split(parts: dict[str, list[Sample]]) -> None:
    """Refuse a split in which a patient unit stands on two sides.

    Raises
    ------
    DatasetError
        Naming the first unit that leaks.
    """
    units = split_units([sample for held in parts.values() for sample in held])
    seen: dict[str, str] = {}
    for name, held in parts.items():
        for sample in held:
            unit = units[sample.group]
            if seen.setdefault(unit, name) != name:
                raise DatasetError(
                    f"The patient unit {unit} stands in both {seen[unit]} and {name}: "
                    "a split must keep patients together."
                )


def thin(
    samples: Sequence[Sample],
    *,
    per_group: int,
    seed: int,
    per_source: Mapping[str, int] | None = None,
) -> list[Sample]:
    """Draw at most `per_group` images of each group: neighbouring slices are near-copies.

    `per_source` says otherwise for the groups of some sources, whose groups are few or many.
    """
    generator = np.random.default_rng(seed)
    groups: dict[tuple[str, bool], list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[sample.group, sample.is_stone].append(sample)
    drawn = []
    for key in sorted(groups):
        held = groups[key]
        at_most = (per_source or {}).get(held[0].source, per_group)
        if len(held) > at_most:
            indices = generator.choice(len(held), at_most, replace=False)
            held = [held[index] for index in sorted(indices)]
        drawn.extend(held)
    return drawn


def _read_boxes(path: Path) -> dict[str, list[Box]]:
    boxes: dict[str, list[Box]] = defaultdict(list)
    if not path.is_file():
        return boxes
    for line, row in read_table(path):
        try:
            box = Box(*(float(row[side]) for side in ("x0", "y0", "x1", "y1")))
            boxes[row["image"]].append(box)
        except (KeyError, ValueError) as error:
            raise DatasetError(f"{path.name}, line {line}: not a box in pixels.") from error
    return boxes


def _check_tight(tight: Mapping[str, list[Box]], labels: Mapping[str, str]) -> None:
    """Refuse tight boxes of images that cannot have them."""
    for image in tight:
        if labels.get(image) != STONE:
            told = f"labelled {NO_STONE}" if image in labels else "not an image of manifest.csv"
            raise DatasetError(f"{TIGHT_NAME}: {image} is {told}, so that it has no stone to box.")
