"""The words of an answer and the rules behind them: what was read, and what may be said of it.

Pages, lists, the administration and `classify` take their sentences from here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

STONE = "stone"
NO_STONE = "no_stone"
CANNOT_ASSESS = "cannot_assess"

# Why a slice was not read that shows no other part of the body.
NOT_ASSESSED, NO_BODY = "could not be assessed", "no body"
_STRETCHES_AT_MOST = 8
# It stands with every answer, whatever the answer is.
KIDNEYS_ONLY = "Kidneys only: ureter and bladder are not judged."
_NUMBERS = (
    "none", "one", "two", "three", "four", "five", "six",
    "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip
_WORDS = {
    STONE: "Stone suspected",
    NO_STONE: "No stone suspected",
    CANNOT_ASSESS: "Cannot assess",
}


@dataclass(frozen=True)
class Extent:
    """How much of what was sent has been read.

    Attributes
    ----------
    slices_read : int
        Slices that were read and judged.
    slices : int
        All accepted slices, read or not.
    height_mm : float or None
        Slices read times their distance, across the slices; None where the distance is not known.
    unread_between : int
        Slices that lie between slices that were read, or may lie there.
    unread_apart : int
        Slices that belong to the series and are not in the volume: nothing puts them in order, or
        they are damaged.
    series : int
        How many series were read.
    missing : int
        Slices for which there is room between those that were sent, and which were not sent.
    """

    slices_read: int
    slices: int
    height_mm: float | None = None
    unread_between: int = 0
    unread_apart: int = 0
    series: int = 1
    missing: int = 0

    @property
    def unread_outside(self) -> int:
        """Slices before the first and after the last one that was read."""
        return self.slices - self.slices_read - self.unread_between - self.unread_apart

    @property
    def slices_unread(self) -> int:
        return self.slices - self.slices_read


def extent_of(
    probabilities: Sequence[float | None],
    *,
    slices: int,
    unread_apart: int = 0,
    slice_mm: float | None = None,
    is_ordered: bool = True,
    missing: int = 0,
) -> Extent:
    """Return how much of a series was read.

    Parameters
    ----------
    probabilities : sequence of float or None
        One for each slice of the volume, None for a slice that was not read; empty if none was.
    slices : int
        Slices of the volume.
    unread_apart : int
        Slices that belong to the series and are not in the volume.
    slice_mm : float, optional
        Distance between neighbouring slices, if it is known and even.
    is_ordered : bool
        Whether the slices lie as they follow each other. Else any of them may lie between others.
    missing : int
        Slices for which there is room between those of the volume.
    """
    read = [index for index, value in enumerate(probabilities) if value is not None]
    reach = (read[-1] - read[0] + 1 if is_ordered else slices) if read else 0
    return Extent(
        slices_read=len(read),
        slices=slices + unread_apart,
        height_mm=len(read) * slice_mm if slice_mm and read and is_ordered else None,
        unread_between=reach - len(read),
        unread_apart=unread_apart,
        missing=missing,
    )


def may_exclude(extent: Extent) -> bool:
    """Say whether "no stone suspected" may be said of a series of which so much was read.

    Slices at its ends may be unread: they show other parts of the body, and are named. One that is
    missing among the slices that were read may be the one that shows the stone.
    """
    lacking = extent.unread_between or extent.unread_apart or extent.missing
    return bool(extent.slices_read) and not lacking


def incomplete(extent: Extent) -> str:
    """Return the reason why a series cannot be assessed that was read in part, with no stone."""
    if extent.missing and not extent.unread_between and not extent.unread_apart:
        return (
            f"About {_count(extent.missing, 'slice')} {_were(extent.missing)} not sent, between "
            f"the {extent.slices_read} that were read, and may show a stone. "
            "Please send the whole series."
        )
    done = "put in order and read" if extent.unread_apart else "read"
    return (
        f"{extent.slices_read} of {_count(extent.slices, 'slice')} could be {done}. "
        "The others may show a stone."
    )


def unread_words(extent: Extent, names: Sequence[str] = ()) -> str:
    """Return the sentences that name the slices of a series that were not read, or "".

    Parameters
    ----------
    names : sequence of str
        For each slice of the volume what it shows, such as "the pelvis", if that is why it was not
        read; "" if it was read; `NOT_ASSESSED` otherwise. Without it slices are counted alone.
    """
    total = _count(extent.slices, "slice")
    sentences = []
    if extent.unread_apart:
        sentences.append(
            f"{extent.unread_apart} of {total} could not be put in order with the others, or "
            f"{_were(extent.unread_apart)} damaged, and {_were(extent.unread_apart)} not read."
        )
    if any(names) and extent.slices_read:
        unread = extent.unread_between + extent.unread_outside
        sentences.append(f"{unread} of {total} {_were(unread)} not read: {_stretches(names)}.")
        return " ".join(sentences)
    if extent.unread_between:
        sentences.append(
            f"{extent.unread_between} of {total}, among those that were read, could not be "
            f"assessed and {_were(extent.unread_between)} not read."
        )
    if extent.unread_outside and extent.slices_read:
        show = "shows" if extent.unread_outside == 1 else "show"
        sentences.append(
            f"{extent.unread_outside} of {total} {show} other parts of the body or could not be "
            f"assessed, and {_were(extent.unread_outside)} not read."
        )
    return " ".join(sentences)


def extent_words(extent: Extent) -> str:
    """Return what was read, such as "the 20 slices read (4 cm)" or "the one slice read"."""
    if extent.slices == 1:
        return "the one slice read"
    some = f"{extent.slices_read}"
    if extent.slices_read < extent.slices:
        some += f" of {extent.slices}"
    if extent.series > 1:
        return f"the {some} slices of {extent.series} series read"
    height = f" ({_height(extent.height_mm)})" if extent.height_mm else ""
    return f"the {some} slices read{height}"


def verdict_sentence(
    verdict: str,
    extent: Extent,
    *,
    reason: str = "",
    unread_series: int = 0,
    pending_series: int = 0,
) -> str:
    """Return the sentence of an answer, which never says more than was read.

    Parameters
    ----------
    verdict : str
        `STONE`, `NO_STONE` or `CANNOT_ASSESS`.
    extent : Extent
        What the verdict speaks for; it is not told where nothing can be assessed.
    reason : str
        Why it cannot be assessed.
    unread_series : int
        Further series of the study that no verdict speaks for.
    pending_series : int
        Further series that are still being read; they are none of the unread ones.
    """
    if verdict == CANNOT_ASSESS:
        return f"{_WORDS[verdict]}: {reason}" if reason else _WORDS[verdict]
    sentence = f"{_WORDS[verdict]} in {extent_words(extent)}"
    if pending_series == 1:
        sentence += "; another series is still being read"
    elif pending_series:
        sentence += f"; {pending_series} more series are still being read"
    if unread_series:
        sentence += f"; {unread_series} more series not read"
    return sentence


def agreement_words(seeing: int, members: int) -> str:
    """Return how many members of an ensemble see a stone: "three of four members see this stone".

    A minority is told as one, "only one of four members sees this stone".
    """
    if seeing == members:
        return f"{'both' if members == 2 else f'all {_number(members)}'} members see this stone"
    see = "see" if seeing > 1 else "sees"
    words = f"{_number(seeing)} of {_number(members)} members {see} this stone"
    if not seeing:
        return f"{words} by itself"
    return f"only {words}" if is_minority(seeing, members) else words


def is_minority(seeing: int, members: int) -> bool:
    """Say whether less than half of the members of an ensemble see a stone."""
    return 2 * seeing < members


def _number(number: int) -> str:
    return _NUMBERS[number] if number < len(_NUMBERS) else str(number)


def _stretches(names: Sequence[str]) -> str:
    """Name stretches of slices, counted from 1: "1 to 24 (the pelvis), 95 (the chest)"."""
    found: list[str] = []
    for name, group in groupby(enumerate(names, start=1), key=lambda pair: pair[1]):
        numbers = [number for number, _ in group]
        if name:
            last = f" to {numbers[-1]}" if len(numbers) > 1 else ""
            found.append(f"{numbers[0]}{last} ({name})")
    more = len(found) - _STRETCHES_AT_MOST
    return ", ".join(found[:_STRETCHES_AT_MOST]) + (
        f" and {more} more stretches" if more > 0 else ""
    )


def _height(height_mm: float) -> str:
    if height_mm < 10:
        return f"{height_mm:.0f} mm"
    return f"{round(height_mm / 10, 1 if height_mm < 100 else 0):g} cm"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _were(number: int) -> str:
    return "was" if number == 1 else "were"
