from dataclasses import replace

import numpy as np
import pytest

from detection.imaging.errors import Code
from detection.imaging.formats import SeriesKeys, SliceFacts
from detection.imaging.ingest.plan import SliceRef, plan_series
from detection.imaging.limits import LIMITS, Limits

AXIAL = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
FACTS = SliceFacts(
    frame=0,
    rows=6,
    columns=8,
    is_hu=True,
    is_original=True,
    position_mm=(0.0, 0.0, 0.0),
    orientation=AXIAL,
    spacing_mm=(2.0, 0.7, 0.8),
    acquisition="1",
    variant="1",
)
KEYS = SeriesKeys(study="study", series="series", instance="")


def ref(row, z=0.0, *, x=0.0, y=0.0, series="series", instance="", is_told=True, **facts):
    return SliceRef(
        row,
        replace(FACTS, **({"position_mm": (x, y, z)} | facts)),
        SeriesKeys(study="study", series=series, instance=instance, is_series_told=is_told),
    )


def planned(refs, limits=LIMITS):
    plans, left_out = plan_series(refs, limits=limits)
    return plans, left_out


def codes(plan):
    return [notice.code for notice in plan.notices]


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
    assert np.array(plan.arrangement.affine_lps)[:3, 2] == pytest.approx([0, 0, 2])


def test_repeated_slice_is_left_out():
    same = [ref(0, 0, instance="a"), ref(1, 2, instance="b"), ref(2, 0, instance="a")]
    (plan,), left_out = planned([*same, ref(3, 2, instance="c")])

    assert [one.row for one in plan.slices] == [0, 1]
    assert codes(plan) == [Code.DUPLICATE_SLICE]
    assert [(one.ref.row, one.is_refused) for one in left_out] == [(2, False), (3, False)]
    assert "twice" in left_out[0].notice.text
    assert "Another slice" in left_out[1].notice.text


@pytest.mark.parametrize("key", ["acquisition", "variant"])
def test_several_scans_in_one_series_are_parted(key):
    refs = [ref(z + 10 * n, z, **{key: str(n)}) for n in (1, 2) for z in (0, 2, 4)]
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


@pytest.mark.parametrize("missing", ["position_mm", "orientation", "spacing_mm"])
def test_slice_without_a_place_stays_alone(missing):
    plans, _ = planned([ref(0, 0, **{missing: None}), ref(1, 2, **{missing: None}), ref(2, 4)])

    assert [len(plan.slices) for plan in plans] == [1, 1, 1]
    assert [codes(plan) for plan in plans] == [[Code.NO_POSITION], [Code.NO_POSITION], []]
    assert plans[0].arrangement is None


def test_files_that_name_no_series_are_put_together_with_a_warning():
    refs = [ref(z, z * 2.0, is_told=False, variant=str(z // 3)) for z in range(6)]
    plans, _ = planned(refs)

    assert [len(plan.slices) for plan in plans] == [3, 3]
    assert all(codes(plan) == [Code.NO_SERIES_UID] for plan in plans)


def test_files_without_any_name_stay_alone():
    plans, _ = planned([ref(0, 0, series=""), ref(1, 2, series="")])

    assert [len(plan.slices) for plan in plans] == [1, 1]
