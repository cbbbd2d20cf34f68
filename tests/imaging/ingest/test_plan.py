import numpy as np
import pytest

from detection.imaging.errors import Code
from detection.imaging.ingest.plan import replan
from detection.imaging.limits import Limits
from tests.imaging.ingest.planning import codes, planned, ref


def test_slices_are_sorted_by_their_place_and_not_by_their_order():
    (plan,), left_out = planned([ref(row, z) for row, z in enumerate([4.0, 0.0, 2.0, 6.0])])

    assert [one.row for one in plan.slices] == [1, 2, 0, 3]
    assert plan.spacing_mm == (2, 0.7, 0.8)
    assert plan.plane == "axial"
    assert plan.is_evenly_spaced
    assert codes(plan) == []
    assert left_out == []


def test_two_series_are_two_plans():
    plans, _ = planned([ref(0, 0), ref(1, 0, series="other"), ref(2, 2)])

    assert [[one.row for one in plan.slices] for plan in plans] == [[0, 2], [1]]


def test_missing_slices_are_counted_and_nothing_is_measured_across():
    (plan,), _ = planned([ref(z, z * 2.0) for z in range(10) if z not in (4, 5)])

    assert codes(plan) == [Code.MISSING_SLICES]
    assert "2 slices" in plan.notices[0].text
    assert not plan.is_evenly_spaced
    assert plan.spacing_mm[0] == 2


def test_uneven_spacing_is_named():
    (plan,), _ = planned([ref(i, z) for i, z in enumerate([0, 2, 3.2, 5.2, 6.4, 8.4])])

    assert codes(plan) == [Code.UNEVEN_SPACING]
    assert not plan.is_evenly_spaced


def test_positions_rounded_to_a_tenth_are_even():
    (plan,), _ = planned([ref(i, round(i * 0.625, 1)) for i in range(50)])

    assert codes(plan) == []
    assert plan.spacing_mm[0] == pytest.approx(0.625, abs=0.01)


def test_slices_that_jump_sideways_are_uneven():
    (plan,), _ = planned([ref(z, z * 2.0, x=5.0 * (z == 3)) for z in range(8)])

    assert Code.UNEVEN_SPACING in codes(plan)


def test_gantry_tilt_is_named_and_kept_in_the_affine():
    # Tilted by 15 degrees about the x axis; the table moves along z.
    s, c = np.sin(np.deg2rad(15)), np.cos(np.deg2rad(15))
    tilted = ((1.0, 0.0, 0.0), (0.0, float(c), float(s)))
    (plan,), _ = planned([ref(z, z * 2.0, orientation=tilted) for z in range(5)])

    assert codes(plan) == [Code.GANTRY_TILT]
    assert "15 degrees" in plan.notices[0].text
    assert plan.is_evenly_spaced
    assert plan.spacing_mm[0] == pytest.approx(2 * c)
    assert np.array(plan.affine_lps)[:3, 2] == pytest.approx([0, 0, 2])


def test_same_image_is_read_once():
    told = {"instance": "a", "instance_number": 1}
    transcoded = ref(2, 0, pixels="x", syntax="JPEG", **told)
    same = [ref(0, 0, pixels="y", **told), ref(1, 2, instance="b"), transcoded]
    (plan,), left_out = planned([*same, ref(3, 4, pixels="p"), ref(4, 4, pixels="p", instance="c")])

    assert [one.facts.position_mm[2] for one in plan.slices] == [0, 2, 4]
    assert codes(plan) == [Code.DUPLICATE_SLICE]
    assert "2 images" in plan.notices[0].text
    assert [one.is_refused for one in left_out] == [False, False]
    assert all("twice" in one.notice.text for one in left_out)


@pytest.mark.parametrize(
    "changes",
    [
        [{}],
        [{"acquisition": 2, "syntax": "JPEG"}],
        # Which of the two would the third be a copy of?
        [{}, {"pixels": "z", "syntax": "JPEG"}],
    ],
)
@pytest.mark.parametrize("count", [1, 3])
def test_other_pixels_of_one_uid_are_read(changes, count):
    refs = [
        ref(10 * scan + i, 2.0 * i, instance=f"{i}", instance_number=i, **told)
        for scan, change in enumerate(changes)
        for told in ({"pixels": "x", "syntax": "RAW"}, {"pixels": "y", "syntax": "RAW"} | change)
        for i in range(count)
    ]
    different = {(one.facts.pixels, one.facts.position_mm) for one in refs}
    plans, left_out = planned(refs)
    read = [one for plan in plans for one in plan.slices]

    assert {(one.facts.pixels, one.facts.position_mm) for one in read} == different
    assert all(one.notice.code is Code.DUPLICATE_SLICE for one in left_out)
    assert len(read) == len(different)


def test_damaged_copy_leaves_the_others_in_order():
    refs = [
        ref(i, 2.0 * i, instance=f"{i}", instance_number=i, pixels=f"{i}", syntax="JPEG")
        for i in range(4)
    ]
    damaged = ref(9, 2.0, instance="1", instance_number=1, pixels="damaged", syntax="JPEG")
    (plan,), left_out = planned([*refs, damaged])

    assert (plan.is_ordered, left_out) == (False, [])

    plan = replan(plan, {9})

    assert [one.row for one in plan.slices] == [0, 1, 2, 3]
    assert (plan.is_ordered, plan.slices_unread) == (True, 0)
    assert codes(plan) == [Code.DUPLICATE_SLICE]


def test_damaged_slice_of_a_phase_with_the_same_uids_is_unread():
    refs = [
        ref(10 * scan + i, 2.0 * i, instance=f"{i}", instance_number=i, pixels=f"{scan}/{i}")
        for scan in range(2)
        for i in range(3)
    ]
    (plan,), _ = planned(refs)
    plan = replan(plan, {11})

    assert (len(plan.slices), plan.is_ordered, plan.slices_unread) == (5, False, 1)
    assert codes(plan) == [Code.NOT_IN_ORDER, Code.SLICES_LEFT_OUT]


def test_copy_stands_in_for_an_image_that_cannot_be_read():
    refs = [
        ref(row, 2.0 * (row % 3), instance=str(row % 3), instance_number=row % 3)
        for row in range(5)
    ]
    (plan,), _ = planned(refs)
    plan = replan(plan, {0})

    assert [one.row for one in plan.slices] == [3, 1, 2]
    assert (plan.slices_unread, plan.is_evenly_spaced) == (0, True)

    plan = replan(plan, {0, 3, 2})

    assert [one.row for one in plan.slices] == [1]
    assert plan.slices_unread == 2
    assert codes(plan) == [Code.DUPLICATE_SLICE, Code.SLICES_LEFT_OUT]

    plan = replan(plan, {0, 1, 2, 3})

    assert [one.row for one in plan.slices] == [4]
    assert replan(plan, {0, 1, 2, 3, 4}) is None


def test_gap_of_a_slice_that_cannot_be_read_is_told_once():
    (plan,), _ = planned([ref(row, row * 2.0) for row in range(12) if row != 1])

    assert codes(plan) == [Code.MISSING_SLICES]

    plan = replan(plan, {6})

    assert codes(plan) == [Code.MISSING_SLICES, Code.SLICES_LEFT_OUT]
    assert "About 1 slice is" in plan.notices[0].text

    (whole,), _ = planned([ref(row, row * 2.0) for row in range(12)])

    assert codes(replan(whole, {6})) == [Code.SLICES_LEFT_OUT]


@pytest.mark.parametrize("key", ["acquisition", "kernel"])
def test_several_scans_in_one_series_are_parted(key):
    refs = [ref(z + 10 * n, z, **{key: n}) for n in (1, 2) for z in (0, 2, 4)]
    plans, left_out = planned(refs)

    assert [[one.row for one in plan.slices] for plan in plans] == [[10, 12, 14], [20, 22, 24]]
    assert all(codes(plan) == [Code.SEVERAL_ACQUISITIONS] for plan in plans)
    assert left_out == []


@pytest.mark.parametrize(
    "other",
    [
        {"rows": 12},
        {"columns": 12},
        {"is_hu": False},
        {"spacing_mm": (2.0, 0.5, 0.5)},
        {"orientation": ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0))},
    ],
)
def test_series_of_mixed_geometry_is_divided(other):
    plans, _ = planned([ref(z, z * 2.0) for z in range(3)] + [ref(9, 1.0, **other)])

    assert [len(plan.slices) for plan in plans] == [3, 1]
    assert all(Code.MIXED_GEOMETRY in codes(plan) for plan in plans)


def test_slices_in_all_directions_are_refused():
    turned = [np.deg2rad(10 * n) for n in range(18)]
    refs = [
        ref(n, orientation=((float(np.cos(a)), float(np.sin(a)), 0.0), (0.0, 0.0, -1.0)))
        for n, a in enumerate(turned)
    ]
    plans, left_out = planned(refs)

    assert plans == []
    assert {one.notice.code for one in left_out} == {Code.MIXED_ORIENTATIONS}
    assert len(left_out) == 18
    assert all(one.is_refused for one in left_out)


@pytest.mark.parametrize("limits", [Limits(max_slices=3), Limits(max_voxels=190)])
def test_series_over_the_limit_is_refused(limits):
    plans, left_out = planned([ref(z, z * 2.0) for z in range(4)], limits=limits)

    assert plans == []
    assert {one.notice.code for one in left_out} == {Code.TOO_MANY_SLICES}


def test_thick_slices_are_named():
    (plan,), _ = planned([ref(z, z * 5.0) for z in range(4)])

    assert codes(plan) == [Code.THICK_SLICES]


@pytest.mark.parametrize(
    ("missing", "code"),
    [
        ("position_mm", Code.NO_POSITION),
        ("orientation", Code.NO_POSITION),
        ("spacing_mm", Code.NO_PIXEL_SIZE),
    ],
)
def test_what_a_lone_slice_does_not_tell_is_named(missing, code):
    (plan,), _ = planned([ref(0, 0, **{missing: None})])

    assert codes(plan) == [code]
    assert plan.affine_lps is None


def test_files_that_name_no_series_are_put_together_with_a_warning():
    refs = [ref(z, z * 2.0, is_told=False, kernel=str(z // 3)) for z in range(6)]
    plans, _ = planned(refs)

    assert [len(plan.slices) for plan in plans] == [3, 3]
    assert all(codes(plan) == [Code.NO_SERIES_UID] for plan in plans)


def test_files_that_name_only_their_study_are_put_together_with_a_warning():
    nameless = {"series": "", "is_told": False, "frame_of_reference": ""}
    (plan,), _ = planned([ref(row, row * 2.0, **nameless) for row in range(3)])

    assert codes(plan) == [Code.NO_SERIES_UID]


def test_files_without_any_name_stay_alone():
    nameless = {"study": "", "series": "", "is_told": False, "frame_of_reference": ""}
    plans, _ = planned([ref(0, 0, **nameless), ref(1, 2, **nameless)])

    assert [len(plan.slices) for plan in plans] == [1, 1]
