import pytest

from detection.imaging.errors import (
    Code,
    Notice,
    notices_json,
    notices_told,
    once,
    thick_slices,
)
from detection.imaging.ingest.answers import notices_believed

LOSSY = Notice(Code.LOSSY, "Fine detail may be changed. Please send the original.")


def test_a_fact_is_told_once():
    other = Notice(Code.EIGHT_BIT, "8-bit picture.")

    assert once([LOSSY, other, Notice(Code.LOSSY, "Again.")]) == (LOSSY, other)


def test_sentences_of_before_are_facts_of_their_own():
    first, second = Notice(Code.EARLIER, "One."), Notice(Code.EARLIER, "Two.")

    assert once([first, second, first]) == (first, second)


def test_a_notice_has_a_reason_and_an_advice():
    assert LOSSY.reason == "Fine detail may be changed."
    assert Notice("x", "Nothing to do.").reason == "Nothing to do."


def test_what_is_written_is_told_again():
    assert notices_told(notices_json([LOSSY])) == (LOSSY,)


def test_a_single_thick_slice_lies_apart_from_nothing():
    (notice,) = thick_slices(6.5, count=1)

    assert notice.code == Code.THICK_SLICES
    assert "is 6.5 mm thick" in notice.text
    assert "apart" not in notice.text


@pytest.mark.parametrize(("slice_mm", "is_thick"), [(0.0, False), (3.0, False), (3.1, True)])
def test_thick_slices_are_a_notice(slice_mm, is_thick):
    notices = thick_slices(slice_mm, count=2)

    assert [notice.code for notice in notices] == [Code.THICK_SLICES] * is_thick
    for notice in notices:
        assert "3.1 mm apart" in notice.text
        assert "show on one slice alone" in notice.text


@pytest.mark.parametrize(
    "told",
    [None, "lossy", [1, None], [{"code": "invented", "text": "x"}], [{"text": "x"}]],
    ids=["nothing", "text", "no objects", "unknown code", "no code"],
)
def test_the_decoding_process_is_believed_only_known_codes(told):
    assert notices_believed(told) == ()


def test_the_decoding_process_tells_no_novels():
    told = [{"code": "lossy", "text": "x" * 5000}, {"code": "lossy", "text": "y"}]

    assert [(one.code, len(one.text)) for one in notices_believed(told)] == [(Code.LOSSY, 255)]
