"""Parts slices that lie at one place into scans and reconstructions.

A part is either in order (no two of its slices lie at one place), a lone slice (all of it lies at
one place that a stack shows as well, as in bolus tracking), or a tangle that nothing in the headers
can part.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from detection.imaging.formats import SliceFacts
from detection.imaging.ingest.ordering import SAME_PLACE_MM, Order, distinct, gaps_of
from detection.imaging.ingest.slices import SliceRef

_PARTS_AT_MOST = 16
# Without places a change of Acquisition Number may be the next turn of the tube, not the next scan.
_UNPLACED_ACQUISITIONS_AT_MOST = 4
# A slab that begins within this many steps of the end of another goes on with it.
_NEXT_STEPS = 1.5
# A slice of another acquisition, so far beyond the end of a stack, is none of its slices.
_FAR_STEPS = 5.0
# Only a stack of so many slices shows what a lone slice at its place shows.
_SCAN_AT_LEAST = 3
_UNTOLD = -1

_Indices = NDArray[np.int_]
_Labels = Sequence[Hashable] | None


@dataclass(frozen=True)
class Part:
    """Slices that belong together, in the order of their places."""

    slices: tuple[SliceRef, ...]
    kind: Literal["ordered", "lone", "tangle"]


def part(
    slices: Sequence[SliceRef], places: NDArray[np.float64], order: Order, *, may_guess: bool = True
) -> list[Part]:
    """Part slices of one series and grid so that no two of a part lie at one place.

    Scans are told apart by Acquisition Number, then Temporal Position, contrast agent, KVP,
    kernel and kind of image, then by gaps in acquisition and content time, and last by runs of
    Instance Number. Scans that lie between each other's slices are parted as well.

    Parameters
    ----------
    places : np.ndarray
        As `ordering.along` gives them for `order`.
    may_guess : bool
        Whether times and runs may part slices too.
    """
    parting = _Parting(slices, places, order, may_guess=may_guess)
    found = parting.parts()
    parts: list[Part] = []
    for indices in found:
        refs = [slices[index] for index in indices[np.argsort(places[indices], kind="stable")]]
        count = distinct(places[indices])
        is_lone = count == 1 and any(parting.covers(one, places[indices[0]]) for one in found)
        kind = "lone" if is_lone else "ordered" if count == len(refs) else "tangle"
        parts.append(Part(tuple(refs), kind))  # type: ignore[arg-type]
    return parts


class _Parting:
    """The facts and places of the slices of one series; parts are arrays of their indices."""

    def __init__(
        self,
        slices: Sequence[SliceRef],
        places: NDArray[np.float64],
        order: Order,
        *,
        may_guess: bool,
    ) -> None:
        self.facts: list[SliceFacts] = [ref.facts for ref in slices]
        self.places, self.order = places, order
        everywhere = np.unique(places)
        gaps = np.diff(everywhere)
        gaps = gaps[gaps >= SAME_PLACE_MM]
        self.step = float(np.median(gaps)) if len(gaps) else 0.0
        # In the order in which they are tried.
        self.told: list[Callable[[_Indices], _Labels]] = [
            self._by_acquisition,
            self._by(lambda facts: facts.temporal),
            self._by(lambda facts: facts.contrast),
            self._by(lambda facts: facts.kvp),
            self._by(lambda facts: facts.kernel),
        ]
        # A time that a whole scan shares tells scans apart that lie between each other's slices.
        self.told_between = [*self.told, self._by(lambda facts: facts.acquired_s)]
        self.told_of_one_place: list[Callable[[_Indices], _Labels]] = [
            self._by(lambda facts: facts.image_type),
            self._by(lambda facts: facts.spacing_mm and facts.spacing_mm[0]),
        ]
        self.guessed: list[Callable[[_Indices], _Labels]] = [
            lambda indices: self._by_gaps(indices, [self.facts[i].acquired_s for i in indices]),
            lambda indices: self._by_gaps(indices, [self.facts[i].content_s for i in indices]),
            self._by_runs,
        ]
        if not may_guess:
            self.guessed = []

    def parts(self) -> list[_Indices]:
        return self._parted(np.arange(len(self.facts)))

    def _parted(self, indices: _Indices) -> list[_Indices]:
        """Part slices again and again, each time by the first thing that tells them apart."""
        is_clean = self._is_clean(indices)
        for key in self.told_between if is_clean else self.told:
            labels = key(indices)
            if is_clean and labels is not None and not {None, _UNTOLD}.isdisjoint(labels):
                # That some slices say nothing is no reason to divide a good stack.
                continue
            classes = self._classes(indices, labels)
            if self._is_useful(indices, classes, is_clean=is_clean):
                return [one for held in classes for one in self._parted(held)]
        for key in () if is_clean else self.told_of_one_place:
            classes = self._classes(indices, key(indices))
            if self._is_useful(indices, classes, is_clean=False):
                return [one for held in classes for one in self._parted(held)]
        if is_clean and (self.order == "number" or self._is_even(indices)):
            return self._without_strays(indices)
        for key in self.guessed:
            classes = self._classes(indices, key(indices))
            if len(classes) > 1:
                return [one for held in classes for one in self._without_strays(held)]
        return self._without_strays(indices)

    def _by(self, key: Callable[[SliceFacts], Any]) -> Callable[[_Indices], _Labels]:
        return lambda indices: [key(self.facts[index]) for index in indices]

    def _by_acquisition(self, indices: _Indices) -> _Labels:
        """Label slices by acquisition; slabs that go on where the one before ends are one scan."""
        numbers = [self.facts[index].acquisition for index in indices]
        if self.order == "number":
            few = len(set(numbers)) <= _UNPLACED_ACQUISITIONS_AT_MOST
            return numbers if few else None
        slabs: dict[int, list[int]] = {}
        for index, number in zip(indices, numbers, strict=True):
            if number is not None:
                slabs.setdefault(number, []).append(int(index))
        labels: dict[int | None, int] = {None: _UNTOLD}
        run, extent, kind = -1, (0.0, 0.0), None
        for number in sorted(slabs):
            found, found_kind = self._extent(np.array(slabs[number])), self._kind(slabs[number])
            if found_kind is not None and found_kind == kind and self._goes_on(extent, found):
                extent = min(extent[0], found[0]), max(extent[1], found[1])
            else:
                run, extent, kind = run + 1, found, found_kind
            labels[number] = run
        return [labels[number] for number in numbers]

    def _goes_on(self, extent: tuple[float, float], found: tuple[float, float]) -> bool:
        gap = max(found[0] - extent[1], extent[0] - found[1])
        return SAME_PLACE_MM <= gap <= _NEXT_STEPS * self.step

    def _kind(self, held: Sequence[int]) -> tuple[Hashable, ...] | None:
        """Return what all of some slices were made with, or None if they differ."""
        kinds = {
            (facts.temporal, facts.contrast, facts.kvp, facts.kernel)
            for facts in (self.facts[index] for index in held)
        }
        return kinds.pop() if len(kinds) == 1 else None

    def _by_gaps(self, indices: _Indices, times: Sequence[float | None]) -> _Labels:
        """Cut at the longest pauses, as few as leave one slice at each place."""
        known = [time is not None for time in times]
        if sum(known) < 2:
            return None
        order = np.argsort([time or 0.0 for time in times], kind="stable")
        order = order[[known[index] for index in order]]
        pauses = np.diff([float(times[index] or 0.0) for index in order])
        for pause in sorted(set(pauses[pauses > 0]), reverse=True)[:_PARTS_AT_MOST]:
            labels = np.full(len(indices), -1)
            labels[order] = np.concatenate([[0], np.cumsum(pauses >= pause)])
            if self._is_resolved(indices, labels):
                return list(labels)
        return None

    def _by_runs(self, indices: _Indices) -> _Labels:
        """Part by Instance Number: a run ends where the slices turn back or begin again."""
        numbers = [self.facts[index].instance_number for index in indices]
        if None in numbers or len(set(numbers)) < len(numbers):
            return None
        order = np.argsort(np.array(numbers, float))
        labels = np.empty(len(indices), int)
        labels[order] = runs_of(self.places[indices][order])
        if not self._is_resolved(indices, labels):
            return None
        return list(labels) if self._are_whole(indices, labels) else None

    def _are_whole(self, indices: _Indices, labels: NDArray[np.int_]) -> bool:
        """Say whether runs are whole scans: numbers that alternate between scans make no such.

        Each shows only places that the longest one shows, and a slice that is left over has a
        number apart from theirs.
        """
        classes = self._classes(indices, list(labels))
        scans = [held for held in classes if distinct(self.places[held]) > 1]
        lone = [int(index) for held in classes if len(held) == 1 for index in held]
        low, high = self._extent(max(scans, key=lambda held: float(np.ptp(self.places[held]))))
        usual = float(np.median([np.median(np.diff(np.sort(self.places[one]))) for one in scans]))
        # Of scans that lie between each other's slices one begins less than a step before.
        reach = SAME_PLACE_MM + (usual / 2 if self._is_clean(indices) else 0.0)
        for held in scans:
            first, last = self._extent(held)
            if first < low - reach or last > high + reach:
                return False
        numbers = {self.facts[index].instance_number for index in indices}
        told = [self.facts[index].instance_number or 0 for index in lone]
        return all({number - 1, number + 1}.isdisjoint(numbers) for number in told)

    def _is_resolved(self, indices: _Indices, labels: NDArray[np.int_]) -> bool:
        """Say whether a guess leaves one slice at a place, with no more scans than are needed.

        Of slices that share no place it must make even scans that lie between each other's slices.
        """
        classes = self._classes(indices, list(labels))
        scans = [held for held in classes if distinct(self.places[held]) > 1]
        if len(classes) < 2 or 2 * sum(len(held) for held in scans) <= len(indices):
            return False
        has_lone = len(scans) < len(classes)
        if has_lone and any(len(held) < _SCAN_AT_LEAST for held in scans):
            # Scans cut to pieces leave single slices as well.
            return False
        if self._is_clean(indices):
            even = all(len(held) > 2 and self._is_even(held) for held in scans)
            return even and self._are_between(scans)
        return all(self._is_clean(held) for held in scans) and len(scans) <= self._most(indices)

    def _is_even(self, indices: _Indices) -> bool:
        return len(indices) < 2 or gaps_of(np.sort(self.places[indices])).is_even

    def _are_between(self, scans: Sequence[_Indices]) -> bool:
        extents = sorted(self._extent(held) for held in scans)
        return any(
            begin < end - SAME_PLACE_MM
            for (_, end), (begin, _) in zip(extents, extents[1:], strict=False)
        )

    def _most(self, indices: _Indices) -> int:
        """Return how many slices lie at the place that has most of them."""
        steps = np.diff(np.sort(self.places[indices])) >= SAME_PLACE_MM
        return max(Counter(np.concatenate([[0], np.cumsum(steps)]).tolist()).values())

    def _classes(self, indices: _Indices, labels: _Labels) -> list[_Indices]:
        held: dict[Hashable, list[int]] = {}
        for index, label in zip(indices, labels or (), strict=bool(labels)):
            held.setdefault(label, []).append(int(index))
        return [np.array(one) for one in held.values()]

    def _is_useful(self, indices: _Indices, classes: Sequence[_Indices], *, is_clean: bool) -> bool:
        """Say whether classes tell scans apart, and do not cut one scan to pieces."""
        if not 1 < len(classes) <= _PARTS_AT_MOST:
            return False
        stacks = [held for held in classes if distinct(self.places[held]) > 1]
        lone = len(indices) - sum(len(held) for held in stacks)
        if not stacks or lone >= len(indices) - lone:
            return False
        if not is_clean:
            return sum(self._collisions(held) for held in classes) < self._collisions(indices)
        if self.order == "number":
            # Without places the numbers of several scans may just follow each other.
            return len(stacks) > 1
        return self._are_between(stacks)

    def _without_strays(self, indices: _Indices) -> list[_Indices]:
        """Take single slices of another scan out of a stack into which they do not fit."""
        if self.order == "number" or not self._is_clean(indices):
            return [indices]
        for key in self.told:
            classes = self._classes(indices, key(indices))
            untold = {
                int(index)
                for index, label in zip(indices, key(indices) or (), strict=False)
                if label in (None, _UNTOLD)
            }
            lone = [int(held[0]) for held in classes if len(held) == 1 and held[0] not in untold]
            rest = np.setdiff1d(indices, lone)
            if not lone or len(classes) > _PARTS_AT_MOST or len(rest) < max(2, len(lone) + 1):
                continue
            # Where each turn of the tube has a number, a slice far off is a part of the scan.
            is_one = len({self.facts[index].acquisition for index in rest}) == 1
            strays = [index for index in lone if self._is_stray(index, rest, may_be_far=is_one)]
            if strays:
                kept = np.setdiff1d(indices, strays)
                return [*self._without_strays(kept), *(np.array([index]) for index in strays)]
        return [indices]

    def _is_stray(self, index: int, rest: _Indices, *, may_be_far: bool) -> bool:
        others = np.sort(self.places[rest])
        place, usual = self.places[index], float(np.median(np.diff(others)))
        beyond = max(others[0] - place, place - others[-1])
        if beyond > 0:
            return may_be_far and bool(beyond > _FAR_STEPS * usual)
        return self.covers(rest, place)

    def covers(self, indices: _Indices, place: float) -> bool:
        """Say whether a stack shows what lies at a place: it neither ends before nor has a hole."""
        others = np.unique(self.places[indices])
        if distinct(others) < _SCAN_AT_LEAST:
            return False
        if np.abs(others - place).min() < SAME_PLACE_MM:
            return True
        gaps = np.diff(others)
        after = int(np.searchsorted(others, place))
        if after in (0, len(others)):
            return False
        usual = float(np.median(gaps[gaps >= SAME_PLACE_MM]))
        return bool(gaps[after - 1] <= _NEXT_STEPS * usual)

    def _is_clean(self, indices: _Indices) -> bool:
        return self._collisions(indices) == 0

    def _collisions(self, indices: _Indices) -> int:
        return len(indices) - distinct(self.places[indices])

    def _extent(self, indices: _Indices) -> tuple[float, float]:
        places = self.places[indices]
        return float(places.min()), float(places.max())


def runs_of(places: NDArray[np.float64]) -> NDArray[np.int_]:
    """Label the slices of a sequence by run; each run goes one way and visits no place twice.

    Where two runs meet in a turning point, the one with the smaller step takes it, then the longer
    one, then the one that goes the way of most.

    Parameters
    ----------
    places : np.ndarray
        `(n,)`, the places of the slices in the order of their numbers.
    """
    steps = np.diff(places)
    ways = np.where(np.abs(steps) < SAME_PLACE_MM, 0, np.sign(steps)).astype(int)
    most = np.sign(ways.sum()) or 1
    # Stretches of steps that go one way: (way, first step, end).
    cuts = [0, *(np.flatnonzero(np.diff(ways)) + 1).tolist(), len(ways)]
    stretches = [(int(ways[a]), a, b) for a, b in zip(cuts, cuts[1:], strict=False) if a < b]
    # Whether each slice begins a run.
    begins = np.zeros(len(places), bool)
    begins[0] = True
    for way, first, end in stretches:
        if way == 0:
            begins[first + 1 : end + 1] = True
    for before, after in zip(stretches, stretches[1:], strict=False):
        if 0 in (before[0], after[0]):
            continue
        turn = after[1]
        come, go = np.abs(steps[turn - 1 : turn + 1])
        if max(come, go) > _NEXT_STEPS * min(come, go):
            is_of_the_later = bool(go < come)
        else:
            lengths = [(end - first, way == most) for way, first, end in (before, after)]
            is_of_the_later = lengths[1] > lengths[0]
        begins[turn if is_of_the_later else turn + 1] = True
    return np.cumsum(begins) - 1
