import pytest

from detection.ml.serving.answer import (
    KIDNEYS_ONLY,
    NOT_ASSESSED,
    Extent,
    agreement_words,
    extent_of,
    incomplete,
    is_minority,
    may_exclude,
    unread_words,
    verdict_sentence,
)

READ, UNREAD = 0.1, None


@pytest.mark.parametrize(
    ("scores", "apart", "read", "between", "outside", "may"),
    [
        ([READ] * 20, 0, 20, 0, 0, True),
        ([READ], 0, 1, 0, 0, True),
        # The ends of a series show other parts of the body.
        ([UNREAD] * 4 + [READ] * 3, 0, 3, 0, 4, True),
        ([READ] * 3 + [UNREAD] * 4, 0, 3, 0, 4, True),
        ([UNREAD, READ, READ, UNREAD], 0, 2, 0, 2, True),
        # A slice that is missing in between may be the one with the stone.
        ([READ, UNREAD, READ], 0, 2, 1, 0, False),
        ([UNREAD, READ, UNREAD, UNREAD, READ, UNREAD], 0, 2, 2, 2, False),
        ([READ] * 150 + [UNREAD] + [READ] * 150, 0, 300, 1, 0, False),
        # Nobody knows where slices lie that are not in the volume.
        ([READ], 5, 1, 0, 0, False),
        ([READ] * 20, 1, 20, 0, 0, False),
        ([UNREAD, READ, READ], 2, 2, 0, 1, False),
        # Nothing was read.
        ([], 0, 0, 0, 6, False),
        ([UNREAD] * 6, 0, 0, 0, 6, False),
    ],
)
def test_no_stone_may_be_said_of_what_was_read_as_a_whole(
    scores, apart, read, between, outside, may
):
    extent = extent_of(scores, slices=len(scores) or 6, unread_apart=apart)

    assert (extent.slices_read, extent.unread_between, extent.unread_outside) == (
        read,
        between,
        outside,
    )
    assert extent.slices_unread == between + outside + apart
    assert may_exclude(extent) is may


@pytest.mark.parametrize(
    ("slices", "slice_mm", "words"),
    [
        (20, 2.0, "the 20 slices read (4 cm)"),
        (33, 2.0, "the 33 slices read (6.6 cm)"),
        (301, 1.5, "the 301 slices read (45 cm)"),
        (800, 1.25, "the 800 slices read (100 cm)"),
        (3, 2.5, "the 3 slices read (8 mm)"),
        (5, None, "the 5 slices read"),
        (1, 5.0, "the one slice read"),
    ],
)
def test_extent_is_told_in_centimetres_where_it_is_known(slices, slice_mm, words):
    extent = extent_of([READ] * slices, slices=slices, slice_mm=slice_mm)

    assert verdict_sentence("no_stone", extent) == f"No stone suspected in {words}"
    assert verdict_sentence("stone", extent) == f"Stone suspected in {words}"


@pytest.mark.parametrize(
    ("extent", "more", "sentence"),
    [
        (Extent(33, 99, 140.0), 0, "No stone suspected in the 33 of 99 slices read (14 cm)"),
        (Extent(40, 40, None, series=2), 0, "No stone suspected in the 40 slices of 2 series read"),
        (Extent(6, 6, None), 0, "No stone suspected in the 6 slices read"),
        (
            Extent(20, 20, 40.0),
            2,
            "No stone suspected in the 20 slices read (4 cm); 2 more series not read",
        ),
    ],
)
def test_what_was_not_read_stands_in_the_sentence(extent, more, sentence):
    assert verdict_sentence("no_stone", extent, unread_series=more) == sentence


@pytest.mark.parametrize(
    ("pending", "unread", "more"),
    [
        (1, 0, "; another series is still being read"),
        (2, 0, "; 2 more series are still being read"),
        (1, 3, "; another series is still being read; 3 more series not read"),
    ],
)
def test_series_that_is_still_read_is_not_called_unread(pending, unread, more):
    sentence = verdict_sentence("stone", Extent(1, 1), unread_series=unread, pending_series=pending)

    assert sentence == f"Stone suspected in the one slice read{more}"


def test_cannot_assess_is_told_with_its_reason_and_no_extent():
    extent = Extent(slices_read=1, slices=6, unread_apart=5)
    reason = incomplete(extent)

    assert verdict_sentence("cannot_assess", extent) == "Cannot assess"
    assert verdict_sentence("cannot_assess", extent, reason=reason) == (
        "Cannot assess: 1 of 6 slices could be put in order and read. The others may show a stone."
    )
    between = Extent(slices_read=5, slices=6, unread_between=1)
    assert incomplete(between).startswith("5 of 6 slices could be read. ")


@pytest.mark.parametrize(
    ("extent", "words"),
    [
        (Extent(20, 20), ""),
        # What cannot be assessed at all says why, and not how much of it.
        (Extent(0, 20), ""),
        (
            Extent(33, 99),
            "66 of 99 slices show other parts of the body or could not be assessed, and were not "
            "read.",
        ),
        (
            Extent(19, 20),
            "1 of 20 slices shows other parts of the body or could not be assessed, and was not "
            "read.",
        ),
        (
            Extent(18, 20, unread_between=2),
            "2 of 20 slices, among those that were read, could not be assessed and were not read.",
        ),
        (
            Extent(1, 6, unread_apart=5),
            "5 of 6 slices could not be put in order with the others, or were damaged, and were "
            "not read.",
        ),
    ],
)
def test_slices_that_were_not_read_are_named(extent, words):
    assert unread_words(extent) == words


@pytest.mark.parametrize(
    ("scores", "may"),
    [
        ([READ] * 6, True),
        ([UNREAD, READ, READ, READ, READ, READ], False),
        ([READ, READ, UNREAD], False),
        ([UNREAD, READ, UNREAD], False),
    ],
)
def test_slice_that_was_not_read_may_lie_anywhere_where_there_is_no_order(scores, may):
    extent = extent_of(scores, slices=len(scores), slice_mm=3.0, is_ordered=False)

    assert may_exclude(extent) is may
    assert extent.unread_outside == 0
    assert extent.height_mm is None


def test_every_kind_of_unread_slice_is_named_beside_the_others():
    told = unread_words(Extent(10, 20, unread_between=3, unread_apart=2))

    assert [number for number in ("2 of 20", "3 of 20", "5 of 20") if number in told] == [
        "2 of 20",
        "3 of 20",
        "5 of 20",
    ]


def test_scope_is_one_fixed_line():
    assert KIDNEYS_ONLY == "Kidneys only: ureter and bladder are not judged."


def test_slices_that_nobody_sent_keep_no_stone_from_being_said():
    extent = extent_of([READ] * 14, slices=14, missing=6)

    assert not may_exclude(extent)
    assert incomplete(extent).startswith("About 6 slices were not sent, between the 14")
    assert "About 1 slice was not sent" in incomplete(extent_of([READ] * 3, slices=3, missing=1))


def test_unread_slices_are_named_one_by_one_with_what_they_show():
    scores = [UNREAD, UNREAD, READ, UNREAD, READ, UNREAD]
    names = ["the pelvis", "the pelvis", "", NOT_ASSESSED, "", "the chest"]

    assert unread_words(extent_of(scores, slices=6), names) == (
        "4 of 6 slices were not read: 1 to 2 (the pelvis), 4 (could not be assessed), "
        "6 (the chest)."
    )


def test_long_lists_of_unread_slices_end_somewhere():
    scores, names = [UNREAD, READ] * 12, ["the chest", ""] * 12

    assert unread_words(extent_of(scores, slices=24), names).endswith("and 4 more stretches.")


@pytest.mark.parametrize(
    ("seeing", "members", "words"),
    [
        (4, 4, "all four members see this stone"),
        (3, 4, "three of four members see this stone"),
        (2, 4, "two of four members see this stone"),
        (1, 4, "only one of four members sees this stone"),
        (0, 4, "none of four members sees this stone by itself"),
        (2, 2, "both members see this stone"),
        (1, 2, "one of two members sees this stone"),
        (5, 12, "only five of twelve members see this stone"),
        (13, 14, "13 of 14 members see this stone"),
    ],
)
def test_agreement_of_members_is_told_in_words(seeing, members, words):
    assert agreement_words(seeing, members) == words
    assert is_minority(seeing, members) == (2 * seeing < members)
