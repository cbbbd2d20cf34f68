"""Joins the candidates of single slices into places of the volume."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detection.ml.serving.agreement import SeenBy, seen_anywhere
from detection.ml.serving.findings import Edges
from detection.ml.serving.standing import Stone

# Two marks on neighbouring slices are one place if they are less than this apart.
_REACH_PX = 2.0


@dataclass(frozen=True)
class Mark:
    """One candidate on one slice, with its edges in the volume.

    `edges` are column, row and slice where it begins, then where it ends; pixel i lies between i
    and i + 1. `step` is the number of the slice. `stone` is what the mark stands on; None where
    the volume is not in Hounsfield units. `seen_by` says which members of an ensemble see it.
    """

    edges: Edges
    probability: float
    step: int
    stone: Stone | None = None
    seen_by: SeenBy = ()


@dataclass(frozen=True)
class Cluster:
    """The marks of one place of the volume, the most probable first."""

    marks: tuple[Mark, ...]

    @property
    def best(self) -> Mark:
        return self.marks[0]

    @property
    def probability(self) -> float:
        return self.best.probability

    @property
    def stone(self) -> Stone | None:
        return self.best.stone

    @property
    def seen_by(self) -> SeenBy:
        """Which members see the place on at least one of its slices.

        One member may see the lower end of a stone best and another one the upper end: both see
        the stone.
        """
        return seen_anywhere(mark.seen_by for mark in self.marks)

    @property
    def edges(self) -> Edges:
        held = np.array([mark.edges for mark in self.marks])
        return tuple(float(v) for v in (*held[:, :3].min(axis=0), *held[:, 3:].max(axis=0)))  # type: ignore[return-value]

    @property
    def run(self) -> int:
        """Number of different slices on which the place is marked."""
        return len({mark.step for mark in self.marks})


def merge_marks(marks: Sequence[Mark]) -> list[Cluster]:
    """Join marks into places over neighbouring slices; the most probable place comes first.

    Marks that stand on one stone are one place. Where a stone was not followed across slices, its
    outlines on neighbouring slices are one place if they overlap. Marks of other volumes are joined
    if they lie on the same or on neighbouring slices, less than 2 px apart.
    """
    parent = list(range(len(marks)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    first: dict[int, int] = {}
    for index, mark in enumerate(marks):
        if mark.stone:
            parent[index] = first.setdefault(id(mark.stone), index)
    order = sorted(range(len(marks)), key=lambda index: marks[index].step)
    for place, one in enumerate(order):
        for other in order[place + 1 :]:
            if marks[other].step > marks[one].step + 1:
                break
            if _joined(marks[one], marks[other]):
                parent[root(one)] = root(other)
    held: dict[int, list[Mark]] = {}
    for index, mark in enumerate(marks):
        held.setdefault(root(index), []).append(mark)
    clusters = [
        Cluster(marks=tuple(sorted(group, key=lambda mark: -mark.probability)))
        for group in held.values()
    ]
    return sorted(clusters, key=lambda cluster: -cluster.probability)


def _joined(one: Mark, other: Mark) -> bool:
    if one.stone is None or other.stone is None:
        return _overlap(one.edges, other.edges, reach=_REACH_PX)
    a, b = one.stone.object, other.stone.object
    return not a.is_followed and not b.is_followed and _overlap(a.edges, b.edges, reach=0.0)


def _overlap(a: Edges, b: Edges, *, reach: float) -> bool:
    """Say whether two boxes of the same or of neighbouring slices overlap within the slice."""
    return all(a[axis] < b[axis + 3] + reach and b[axis] < a[axis + 3] + reach for axis in (0, 1))
