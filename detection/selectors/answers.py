"""The answers about series and studies: which reading speaks, and the sentence that says it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from django.db.models import Prefetch
from django.utils.text import Truncator

from detection.ml.serving import (
    CANNOT_ASSESS,
    KIDNEYS_ONLY,
    Extent,
    SeriesAnswer,
    StudyAnswer,
    agreement_words,
    is_minority,
    study_answer,
    verdict_sentence,
)
from detection.models import ModelVersion, Prediction, Series, SeriesAside, Study

__all__ = [
    "KIDNEYS_ONLY",
    "SeriesState",
    "StudyState",
    "agreement_words",
    "answer_sentence",
    "is_minority",
    "is_read_by",
    "is_same_scan_read",
    "reading_that_speaks",
    "series_states",
    "study_state",
    "version_of",
]

Status = Prediction.Status
_JUDGED = (Status.SUCCEEDED, Status.REFUSED)
_PENDING = (Status.QUEUED, Status.RUNNING)
# The long lists of a reading that decide nothing.
_LISTS = ("slice_probabilities", "coronal_probabilities", "coronal_positions_mm", "key_slices")


@dataclass(frozen=True)
class StudyState:
    """What a study shows: its state, its answer, and what that speaks for.

    `prediction` is the reading that decided, `series` the one to show first.
    """

    status: str
    series: Series
    verdict: str = ""
    probability: float | None = None
    message: str = ""
    prediction: Prediction | None = None
    extent: Extent = Extent(slices_read=0, slices=0, series=0)
    series_unread: int = 0
    series_pending: int = 0
    series_aside: int = 0
    has_stone_aside: bool = False


@dataclass(frozen=True)
class SeriesState:
    """A series on the page of its study.

    `reading` is the one that speaks for it, `newest` the newest in any state. `decides`: the answer
    of the study is its answer. `asides`: when it was set aside or taken back, the newest first.
    """

    series: Series
    number: int
    reading: Prediction | None
    newest: Prediction | None
    decides: bool
    is_same_scan_read: bool
    can_be_read: bool
    asides: tuple[SeriesAside, ...]

    @property
    def shown(self) -> Prediction | None:
        """The reading to look at: the one that speaks, else the newest."""
        return self.reading or self.newest

    @property
    def is_pending(self) -> bool:
        return self.newest is not None and self.newest.status in _PENDING

    @property
    def has_failed_since(self) -> bool:
        """Whether a later reading than the one that speaks has ended without an answer."""
        return (
            self.reading is not None
            and self.newest is not None
            and self.newest != self.reading
            and not self.is_pending
        )


def answer_sentence(row: Study | Prediction) -> str:
    """Return the sentence of an answer that was given, such as "No stone suspected in ..."."""
    series_read, unread, pending = 1, 0, 0
    if isinstance(row, Study):
        series_read, unread = row.series_read, row.series_unread
        pending = row.series_pending
    extent = Extent(
        slices_read=row.slices_read,
        slices=row.slices_given,
        height_mm=row.height_mm,
        series=series_read,
    )
    return verdict_sentence(
        row.verdict or CANNOT_ASSESS, extent, unread_series=unread, pending_series=pending
    )


def reading_that_speaks(
    readings: Sequence[Prediction], *, version_id: int | None
) -> Prediction | None:
    """Return the reading that speaks for its series, or None if none has ended with an answer.

    It is the newest one, if possible of the version that reads the study. One that failed says
    nothing, and one that could not assess the series takes no stone back.

    Parameters
    ----------
    readings : sequence of Prediction
        Those of one series, oldest first.
    """
    judged = [one for one in readings if one.status in _JUDGED]
    if not judged:
        return None
    by_version = [one for one in judged if one.model_version_id == version_id]
    newest = (by_version or judged)[-1]
    if newest.status == Status.REFUSED:
        succeeded = [one for one in judged if one.status == Status.SUCCEEDED]
        if succeeded and succeeded[-1].verdict == Study.Verdict.STONE:
            return succeeded[-1]
    return newest


def version_of(series: Sequence[Series]) -> int | None:
    """Return the key of the model version that reads a study: that of its newest reading."""
    readings = [one for each in series for one in each.readings if one.status != Status.FAILED]
    return max(readings, key=lambda one: one.pk).model_version_id if readings else None


def series_states(
    *, study: Study, series: Sequence[Series], version: ModelVersion | None
) -> list[SeriesState]:
    """Return the series of a study with what was said of each, in their order.

    Parameters
    ----------
    series : sequence of Series
        As `selectors.studies.series_list` returns them.
    version : ModelVersion or None
        The one in service.
    """
    version_id = version_of([one for one in series if not one.is_aside])
    return [
        SeriesState(
            series=one,
            number=number,
            reading=reading_that_speaks(one.readings, version_id=version_id),
            newest=one.readings[-1] if one.readings else None,
            decides=any(reading.pk == study.prediction_id for reading in one.readings),
            is_same_scan_read=is_same_scan_read(one, among=series),
            can_be_read=not one.is_aside
            and version is not None
            and not is_read_by(one, version_id=version.pk),
            asides=tuple(one.asides.all()),
        )
        for number, one in enumerate(series, start=1)
    ]


def is_read_by(series: Series, *, version_id: int | None) -> bool:
    """Say whether a model version has read a series or is about to. A failed reading is none."""
    return any(
        one.model_version_id == version_id and one.status != Status.FAILED
        for one in series.readings
    )


def is_same_scan_read(series: Series, *, among: Sequence[Series]) -> bool:
    """Say whether another reconstruction of the scan of a series has been or will be read."""
    return bool(series.scan) and any(
        one.scan == series.scan and one.readings and not one.is_aside and one.pk != series.pk
        for one in among
    )


def study_state(*, study: Study) -> StudyState | None:
    """Return what a study shows by the readings of its series, or None if none was asked for."""
    readings = Prediction.objects.order_by("pk").defer(*_LISTS)
    rows = list(
        study.series.order_by("-is_first", "pk").prefetch_related(
            Prefetch("predictions", queryset=readings, to_attr="readings")  # type: ignore[no-redef]
        )
    )
    aside = [one for one in rows if one.is_aside]
    left = [one for one in rows if not one.is_aside]
    asked = [one for one in left if one.readings]
    if not asked:
        return None
    version_id = version_of(left)
    speaking = [reading_that_speaks(one.readings, version_id=version_id) for one in asked]
    answer = study_answer([_answer(*pair) for pair in zip(asked, speaking, strict=True)])
    unasked = [one for one in left if not one.readings and not is_same_scan_read(one, among=left)]
    stones = [
        reading
        for one in aside
        if (reading := reading_that_speaks(one.readings, version_id=version_of(aside)))
        and reading.verdict == Study.Verdict.STONE
    ]
    state = StudyState(
        status=Study.Status.QUEUED,
        series=left[0],
        series_unread=answer.unread_series + len(unasked),
        series_pending=answer.pending_series,
        series_aside=len(aside),
        has_stone_aside=bool(stones),
    )
    newest = [one.readings[-1] for one in asked]
    if answer.verdict != Study.Verdict.STONE:
        if pending := [one for one in newest if one.status in _PENDING]:
            is_running = any(one.status == Status.RUNNING for one in pending)
            return replace(
                state,
                status=Study.Status.RUNNING if is_running else Study.Status.QUEUED,
                # Why a reading waits, if it says so.
                message=next((one.message for one in pending if one.message), ""),
            )
        failed = [one for one, reading in zip(asked, speaking, strict=True) if reading is None]
        if failed:
            message = _why_failed(failed, total=len(left))
            return replace(state, status=Study.Status.FAILED, message=message)
    return _answered(state, answer, asked, speaking)


def _answer(series: Series, reading: Prediction | None) -> SeriesAnswer:
    is_pending = series.readings[-1].status in _PENDING
    if reading is None:
        return SeriesAnswer("", plane=series.plane, scan=series.scan, is_pending=is_pending)
    return SeriesAnswer(
        verdict=reading.verdict,
        probability=reading.probability,
        extent=Extent(
            slices_read=reading.slices_read,
            slices=reading.slices_given,
            height_mm=reading.height_mm,
        ),
        plane=series.plane,
        scan=series.scan,
        is_pending=is_pending,
    )


def _answered(
    state: StudyState,
    answer: StudyAnswer,
    asked: Sequence[Series],
    speaking: Sequence[Prediction | None],
) -> StudyState:
    speaker = answer.speaker or 0
    reading = speaking[speaker]
    assert reading is not None
    is_refused = answer.verdict == Study.Verdict.CANNOT_ASSESS
    return replace(
        state,
        status=Study.Status.REFUSED if is_refused else Study.Status.SUCCEEDED,
        series=asked[speaker],
        verdict=answer.verdict,
        probability=None if is_refused else reading.probability,
        message=answer.reason or reading.message,
        prediction=reading,
        extent=answer.extent,
    )


def _why_failed(failed: Sequence[Series], *, total: int) -> str:
    message = failed[0].readings[-1].message
    if total > 1:
        message = f"{len(failed)} of {total} series could not be read. {message}"
    return Truncator(message).chars(255)
