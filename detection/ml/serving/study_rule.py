"""From the answers about its series to the answer about a study."""

from collections.abc import Sequence
from dataclasses import dataclass

from detection.ml.serving.answer import (
    CANNOT_ASSESS,
    NO_STONE,
    STONE,
    Extent,
    incomplete,
)

_ANSWERED = (STONE, NO_STONE)
_NOTHING = Extent(slices_read=0, slices=0)


@dataclass(frozen=True)
class SeriesAnswer:
    """The answer about a series that was to be read.

    `verdict` is "" where the reading failed or has not ended. `plane` is that of its slices. Series
    of one study with the same `scan`, if it is not "", are reconstructions of one scan.
    `is_pending`: a reading of it has not ended.
    """

    verdict: str
    probability: float | None = None
    extent: Extent = _NOTHING
    plane: str = "unknown"
    scan: str = ""
    is_pending: bool = False


@dataclass(frozen=True)
class StudyAnswer:
    """The answer about a study.

    Attributes
    ----------
    verdict : str
        As in `answer`; "" if there is none yet, or a reading failed that might change it.
    speaker : int or None
        Index of the series that decided, if one did.
    extent : Extent
        What was read of the series that have a verdict of stone or no stone.
    unread_series : int
        Series that no verdict speaks for. A further reconstruction of a scan that was read is
        none of them, nor is one that is still being read.
    pending_series : int
        Series that no verdict of stone or no stone speaks for yet and that are still being read.
    reason : str
        Why the study cannot be assessed, if that is no reason of its series alone.
    """

    verdict: str
    speaker: int | None = None
    extent: Extent = _NOTHING
    unread_series: int = 0
    pending_series: int = 0
    reason: str = ""


def study_answer(series: Sequence[SeriesAnswer]) -> StudyAnswer:
    """Return the most suspicious of the answers about the series of a study.

    A stone anywhere is the answer, by the highest score. Else no reading may be missing. "No stone"
    speaks for the series of which it is said; what cannot be assessed beside them is counted.
    Slices of one plane that are each a series of their own are judged like one series: nobody
    knows which of them lie between others.

    Parameters
    ----------
    series : sequence of SeriesAnswer
        Those that were to be read; the one to show first comes first.
    """
    if not series:
        return StudyAnswer("")
    stones, clear = _with(series, STONE), _with(series, NO_STONE)
    extent = _together([one.extent for one in series if one.verdict in _ANSWERED])
    unread = _unread(series)
    if stones:
        pending = sum(one.is_pending and one.verdict not in _ANSWERED for one in series)
        return StudyAnswer(STONE, _highest(series, stones), extent, unread, pending)
    if _with(series, ""):
        return StudyAnswer("")
    if not clear:
        return StudyAnswer(CANNOT_ASSESS, 0, series[0].extent, len(series) - 1)
    planes = {series[index].plane for index in clear}
    loose = [i for i, one in enumerate(series) if one.extent.slices == 1 and one.plane in planes]
    if set(clear) < set(loose):
        seen = Extent(slices_read=len(clear), slices=len(loose))
        return StudyAnswer(CANNOT_ASSESS, None, seen, unread, reason=incomplete(seen))
    return StudyAnswer(NO_STONE, _highest(series, clear), extent, unread)


def _with(series: Sequence[SeriesAnswer], verdict: str) -> list[int]:
    return [index for index, one in enumerate(series) if one.verdict == verdict]


def _highest(series: Sequence[SeriesAnswer], among: Sequence[int]) -> int:
    return max(among, key=lambda index: (series[index].probability or 0.0, -index))


def _unread(series: Sequence[SeriesAnswer]) -> int:
    read = {one.scan for one in series if one.verdict in _ANSWERED and one.scan}
    return sum(
        one.verdict not in _ANSWERED and one.scan not in read and not one.is_pending
        for one in series
    )


def _together(extents: Sequence[Extent]) -> Extent:
    """Join the extents of several series. Scans may overlap: their heights are not added."""
    if len(extents) == 1:
        return extents[0]
    # Slices that lie apart are no series that a reader would count.
    return Extent(
        slices_read=sum(one.slices_read for one in extents),
        slices=sum(one.slices for one in extents),
        series=1 if all(one.slices == 1 for one in extents) else len(extents),
    )
