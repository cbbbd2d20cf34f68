"""Joins the candidates of single pictures into places of the volume."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Two marks on neighbouring pictures are one place if they are less than this apart.
_REACH_PX = 2.0


Edges = tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class Mark:
    """One candidate on one picture, with its edges in the volume.

    `edges` are column, row and slice where it begins, then where it ends; pixel i lies between i
    and i + 1. `step` is the number of the picture in its plane. `is_acquired` is False on a
    reformat.
    """

    edges: Edges
    probability: float
    step: int
    is_acquired: bool = True


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
    def edges(self) -> Edges:
        held = np.array([mark.edges for mark in self.marks])
        return tuple(float(v) for v in (*held[:, :3].min(axis=0), *held[:, 3:].max(axis=0)))  # type: ignore[return-value]

    @property
    def run(self) -> int:
        """Number of different pictures of one plane that show the place: the larger of two."""
        return max(
            len({mark.step for mark in self.marks if mark.is_acquired == acquired})
            for acquired in (True, False)
        )


def merge_marks(marks: Sequence[Mark]) -> list[Cluster]:
    """Join marks into places, over neighbouring pictures and across planes.

    Two marks of one plane are joined if they lie on the same or on neighbouring pictures, less than
    2 px apart. Marks of two planes are joined if their boxes overlap, with one slice of tolerance.
    The most probable place comes first.
    """
    parent = list(range(len(marks)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    order = sorted(range(len(marks)), key=lambda index: marks[index].edges[2])
    for place, one in enumerate(order):
        for other in order[place + 1 :]:
            if marks[other].edges[2] > marks[one].edges[5] + 1:
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
    a, b = one.edges, other.edges
    if one.is_acquired == other.is_acquired:
        if abs(one.step - other.step) > 1:
            return False
        reach = (_REACH_PX, _REACH_PX, _REACH_PX)
    else:
        reach = (0.0, 0.0, 1.0)
    return all(
        a[axis] < b[axis + 3] + reach[axis] and b[axis] < a[axis + 3] + reach[axis]
        for axis in range(3)
    )
