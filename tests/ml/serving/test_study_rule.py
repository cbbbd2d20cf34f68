import itertools

import pytest

from detection.ml.serving.answer import Extent
from detection.ml.serving.study_rule import SeriesAnswer, study_answer

STACK, SLICE = Extent(20, 20, 40.0), Extent(1, 1)


def stone(score=0.9, extent=STACK, **fields):
    return SeriesAnswer("stone", score, extent, **{"plane": "axial", **fields})


def clear(score=0.1, extent=STACK, **fields):
    return SeriesAnswer("no_stone", score, extent, **{"plane": "axial", **fields})


def refused(extent=STACK, **fields):
    nothing = Extent(0, extent.slices)
    return SeriesAnswer("cannot_assess", None, nothing, **{"plane": "axial", **fields})


MISSING = SeriesAnswer("")


@pytest.mark.parametrize(
    ("series", "verdict"),
    [
        ([clear(), stone()], "stone"),
        ([refused(), clear(), stone(), MISSING], "stone"),
        ([clear(), clear()], "no_stone"),
        ([clear(), refused()], "no_stone"),
        ([clear(), MISSING], ""),
        ([refused(), MISSING], ""),
        ([refused(), refused()], "cannot_assess"),
        ([], ""),
    ],
)
def test_most_suspicious_answer_is_that_of_the_study_in_any_order(series, verdict):
    for order in itertools.permutations(series):
        assert study_answer(order).verdict == verdict


def test_highest_score_decides():
    answer = study_answer([stone(0.7), clear(0.2), stone(0.95)])

    assert (answer.verdict, answer.speaker) == ("stone", 2)
    assert study_answer([clear(0.1), refused(), clear(0.2)]).speaker == 2
    assert study_answer([clear(0.1), clear(0.1)]).speaker == 0


@pytest.mark.parametrize("others", [[refused()], [refused(plane="sagittal")], [refused(), MISSING]])
def test_more_series_never_take_a_stone_back(others):
    assert study_answer([stone(), *others]).verdict == "stone"
    assert study_answer([*others, stone()]).verdict == "stone"


def test_extent_is_that_of_all_series_with_a_verdict():
    alone = study_answer([clear(), refused()])
    both = study_answer([clear(), clear(extent=Extent(5, 7, 10.0))])

    assert alone.extent == STACK
    # Two scans may show the same centimetres.
    assert (both.extent.slices_read, both.extent.slices, both.extent.height_mm) == (25, 27, None)
    assert both.extent.series == 2


def test_series_without_a_verdict_are_counted_but_for_further_reconstructions():
    assert study_answer([clear(), refused(), refused()]).unread_series == 2
    assert study_answer([clear(scan="a"), refused(scan="a"), refused(scan="b")]).unread_series == 1
    assert study_answer([clear(), refused(scan="")]).unread_series == 1
    assert study_answer([refused(), refused()]).unread_series == 1


@pytest.mark.parametrize(
    ("series", "verdict", "reason"),
    [
        ([clear(extent=SLICE)] * 6, "no_stone", ""),
        (
            [clear(extent=SLICE), *[refused(SLICE)] * 5],
            "cannot_assess",
            "1 of 6 slices could be read. The others may show a stone.",
        ),
        (
            [refused(SLICE), clear(extent=SLICE)],
            "cannot_assess",
            "1 of 2 slices could be read. The others may show a stone.",
        ),
        ([stone(extent=SLICE), refused(SLICE)], "stone", ""),
        # A single slice beside a series, such as one for the timing of contrast medium.
        ([clear(), refused(SLICE)], "no_stone", ""),
        # A slice of another plane lies between none of these.
        ([clear(extent=SLICE), refused(SLICE, plane="sagittal")], "no_stone", ""),
    ],
)
def test_slices_of_one_plane_without_an_order_are_judged_together(series, verdict, reason):
    for order in itertools.permutations(series) if len(series) < 4 else [series]:
        answer = study_answer(order)
        assert (answer.verdict, answer.reason) == (verdict, reason)


def test_slices_without_an_order_are_counted_as_slices():
    extent = study_answer([clear(extent=SLICE)] * 6).extent

    assert (extent.slices_read, extent.slices, extent.series) == (6, 6, 1)


@pytest.mark.parametrize(
    ("others", "pending", "unread"),
    [
        ([SeriesAnswer("", is_pending=True), MISSING], 1, 1),
        ([SeriesAnswer("", is_pending=True, scan="a"), refused()], 1, 1),
        ([refused(is_pending=True)], 1, 0),
        # It is read again, and its answer stands until then.
        ([clear(is_pending=True), stone(is_pending=True)], 0, 0),
    ],
)
def test_series_that_is_still_read_is_counted_apart(others, pending, unread):
    answer = study_answer([stone(scan="a"), *others])

    assert (answer.pending_series, answer.unread_series) == (pending, unread)
