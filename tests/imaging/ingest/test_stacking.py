"""Slices of one series are put in order and parted by what their headers say, never by files."""

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detection.imaging.errors import Code
from detection.imaging.ingest.parting import runs_of
from tests.imaging.ingest.planning import AXIAL, codes, planned, ref
from tests.properties import quick

PLACES = [0.0, 2.0, 4.0, 6.0]
ZERO = (0.0, 0.0, 0.0)
# What alone tells the second scan from the first; `i` is the index of a slice within its scan.
DIFFERENCES = {
    "acquisition": lambda scan, i: {"acquisition": scan + 1},
    "acquisition of each turn": lambda scan, i: {"acquisition": 10 * scan + i // 2},
    "acquisition of each slice": lambda scan, i: {"acquisition": 10 * scan + i},
    "acquisition time": lambda scan, i: {"acquired_s": 100.0 + 60 * scan},
    "acquisition time of each slice": lambda scan, i: {"acquired_s": 100.0 + 60 * scan + i},
    "content time": lambda scan, i: {"content_s": 100.0 + 60 * scan + i * 0.7},
    "content time, backwards": lambda scan, i: {"content_s": 100.0 - 60 * scan - i},
    "kVp": lambda scan, i: {"kvp": 100.0 + 20 * scan},
    "contrast": lambda scan, i: {"contrast": "iohexol" * scan},
    "kernel": lambda scan, i: {"kernel": f"B{scan}0f"},
    "kind of image": lambda scan, i: {"image_type": f"{scan}"},
    "temporal position": lambda scan, i: {"temporal": f"{scan}"},
    "thickness": lambda scan, i: {"spacing_mm": (2.0 + scan, 0.7, 0.8)},
    "runs of numbers": lambda scan, i: {"instance_number": 10 * scan + i},
    "runs of numbers on and on": lambda scan, i: {"instance_number": 4 * scan + i},
    "runs of numbers, head first": lambda scan, i: {"instance_number": 4 * scan + 4 - i},
    "runs of numbers, there and back": lambda scan, i: {
        "instance_number": i if scan == 0 else 8 - i
    },
}


def two_scans(difference, *, places=PLACES, shift=0.0, order="position"):
    """Two scans of the same places; a slice of scan `s` at index `i` has the instance "s/i"."""
    refs = []
    for scan in (0, 1):
        for i, z in enumerate(places):
            told = difference(scan, i)
            if order == "location":
                told = {"position_mm": ZERO, "slice_location_mm": z, **told}
            refs.append(ref(len(refs), z + shift * scan, instance=f"{scan}/{i}", **told))
    return refs


def instances(plan):
    return [one.keys.instance for one in plan.slices]


SCANS = [[f"{scan}/{i}" for i in range(4)] for scan in (0, 1)]


def assert_parted(refs, aside=()):
    plans, left_out = planned(refs)

    assert sorted(instances(plan) for plan in plans) == SCANS
    assert all(Code.SEVERAL_ACQUISITIONS in codes(plan) for plan in plans)
    assert all(plan.is_ordered for plan in plans)
    assert sorted(one.ref.keys.instance for one in left_out) == sorted(aside)
    assert {one.notice.code for one in left_out} <= {Code.SET_ASIDE}
    assert not any(one.is_refused for one in left_out)
    return plans


@pytest.mark.parametrize("order", ["position", "location"])
@pytest.mark.parametrize("name", DIFFERENCES)
def test_two_scans_in_one_series_are_parted(name, order):
    plans = assert_parted(two_scans(DIFFERENCES[name], order=order))

    assert all(plan.is_evenly_spaced == (order == "position") for plan in plans)
    assert all(plan.slices_unread == 0 for plan in plans)


@pytest.mark.parametrize("name", ["acquisition", "acquisition time", "kVp", "contrast", "kernel"])
@pytest.mark.parametrize("shift", [1.0, 0.7])
def test_scans_between_each_others_slices_are_parted(name, shift):
    plans = assert_parted(two_scans(DIFFERENCES[name], shift=shift))

    assert all(plan.is_evenly_spaced for plan in plans)


@pytest.mark.parametrize(
    "name",
    ["acquisition time of each slice", "content time", "runs of numbers on and on"],
)
@pytest.mark.parametrize("shift", [0.1, 0.3, -0.6])
def test_scans_a_little_apart_are_parted(name, shift):
    plans = assert_parted(two_scans(DIFFERENCES[name], shift=shift))

    assert all(plan.is_evenly_spaced for plan in plans)


@pytest.mark.parametrize("name", ["content_s", "acquired_s", "instance_number"])
def test_numbers_and_times_divide_no_stack_with_a_hole(name):
    order = random.Random(5).sample(range(40), 40)
    for numbers in (range(40), range(40, 0, -1), order):
        refs = [ref(i, 1.5 * i, **{name: numbers[i]}) for i in range(40) if i not in (7, 20)]
        (plan,), _ = planned(refs)

        assert (len(plan.slices), codes(plan)) == (38, [Code.MISSING_SLICES])


# A slice of bolus tracking beside two scans: its place, and what it tells.
TRACKERS = {
    "at the place of a slice": 2.0,
    "between two slices": 2.9,
}


@pytest.mark.parametrize("place", TRACKERS)
@pytest.mark.parametrize("count", [1, 3])
def test_single_slices_of_bolus_tracking_are_set_aside(place, count):
    difference = DIFFERENCES["acquisition"]
    trackers = [
        ref(90 + n, TRACKERS[place], instance=f"t{n}", acquisition=9 + n) for n in range(count)
    ]
    plans = assert_parted(
        two_scans(difference) + trackers, aside=[one.keys.instance for one in trackers]
    )

    assert all(Code.SET_ASIDE in codes(plan) for plan in plans)
    assert all(plan.is_evenly_spaced for plan in plans)


@pytest.mark.parametrize("place", [-5.0, 11.0, 40.0])
def test_single_slice_where_no_scan_lies_is_read_by_itself(place):
    tracker = ref(90, place, instance="t", acquisition=9)
    plans, left_out = planned([*two_scans(DIFFERENCES["acquisition"]), tracker])

    assert sorted(instances(plan) for plan in plans) == [*SCANS, ["t"]]
    assert left_out == []


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("told", [{"acquisition": 2}, {"acquisition": None}, {"kvp": 80.0}, {}])
@pytest.mark.parametrize(("beyond", "missing"), [(1.5, 0), (2.52, 2), (4.0, 3)])
def test_single_slice_beyond_the_end_stays_in_the_stack(sign, told, beyond, missing):
    stack = [ref(i, sign * 2.5 * i, instance_number=i) for i in range(6)]
    end = ref(9, sign * 2.5 * (5 + beyond), instance_number=6, **told)
    (plan,), left_out = planned([*stack, end])

    assert (len(plan.slices), plan.slices_missing, left_out) == (7, missing, [])
    assert plan.is_ordered


def test_single_slice_far_beyond_the_end_is_read_by_itself():
    stack = [ref(i, 2.5 * i) for i in range(6)]
    plans, left_out = planned([*stack, ref(9, 60.0, acquisition=2)])

    assert sorted(len(plan.slices) for plan in plans) == [1, 6]
    assert left_out == []


def test_single_slice_that_does_not_tell_its_acquisition_is_read():
    (plan,), left_out = planned(
        [*(ref(i, 2.0 * i) for i in range(6)), ref(9, 5.2, acquisition=None)]
    )

    assert (len(plan.slices), left_out) == (7, [])


@pytest.mark.parametrize("count", [1, 2])
def test_single_slice_beside_less_than_a_scan_is_read(count):
    stack = [ref(i, 2.0 * i, acquisition=1) for i in range(count)]
    plans, left_out = planned([*stack, ref(9, 0.0, acquisition=2)])

    assert sum(len(plan.slices) for plan in plans) == count + 1
    assert left_out == []


# The scan of each slice, by Instance Number, and its place.
INTERLEAVED = {
    "two places": "A0 B0 A1 B1",
    "three places": "A0 B0 A1 B1 A2 B2",
    "three places, the other way": "A2 B2 A1 B1 A0 B0",
    "five places": "A0 B0 A1 B1 A2 B2 A3 B3 A4 B4",
    "three scans": "A0 B0 C0 A1 B1 C1 A2 B2 C2",
    "blocks": "A0 A1 B0 B1 A2 A3 B2 B3",
    "first and last are lost": "B0 A1 B1 A2",
    "one is lost": "A0 B0 A1 B1 A2",
}


@pytest.mark.parametrize("step", [1, 10])
@pytest.mark.parametrize("name", INTERLEAVED)
def test_scans_of_alternating_numbers_are_read_slice_by_slice(name, step):
    refs = [
        ref(i, 2.5 * int(one[1]), instance=one, instance_number=1 + step * i)
        for i, one in enumerate(INTERLEAVED[name].split())
    ]
    (plan,), left_out = planned(refs)

    assert len(plan.slices) == len(refs)
    assert (plan.is_ordered, left_out) == (False, [])
    assert codes(plan) == [Code.NOT_IN_ORDER]


@pytest.mark.parametrize("places", [[0.0, 2.5], [0.0, 2.5, 5.0], PLACES])
def test_runs_that_are_whole_scans_are_parted(places):
    plans, left_out = planned(two_scans(DIFFERENCES["runs of numbers"], places=places))

    assert [len(plan.slices) for plan in plans] == [len(places)] * 2
    assert all(plan.is_ordered for plan in plans)
    assert left_out == []


def test_slice_left_over_by_runs_is_not_set_aside():
    numbered = lambda scan, i: {"instance_number": 4 * scan + i}  # noqa: E731
    (plan,), left_out = planned([*two_scans(numbered), ref(90, 2.0, instance_number=8)])

    assert (len(plan.slices), plan.is_ordered, left_out) == (9, False, [])


@pytest.mark.parametrize(
    "name", ["acquisition time", "content time", "kVp", "contrast", "runs of numbers on and on"]
)
def test_tracker_is_told_by_its_number_where_it_tells_nothing_else(name):
    numbered = lambda scan, i: {"instance_number": 4 * scan + i, **DIFFERENCES[name](scan, i)}  # noqa: E731
    assert_parted([*two_scans(numbered), ref(90, 2.0, instance="t", instance_number=20)], ["t"])


def test_tracker_between_the_numbers_of_two_scans_is_set_aside():
    numbered = lambda scan, i: {"instance_number": 10 * scan + i}  # noqa: E731
    assert_parted([*two_scans(numbered), ref(90, 2.0, instance="t", instance_number=5)], ["t"])


def test_single_scan_keeps_its_last_turn_of_one_slice():
    (plan,), left_out = planned([ref(i, 2.0 * i, acquisition=i // 4) for i in range(9)])

    assert len(plan.slices) == 9
    assert (codes(plan), left_out) == ([], [])


@pytest.mark.parametrize("name", ["acquisition", "kvp", "acquired_s"])
def test_stack_is_whole_though_some_of_its_slices_say_less(name):
    refs = [ref(i, 2.0 * i, **{name: None if i % 2 else 120}) for i in range(6)]
    (plan,), _ = planned(refs)

    assert (len(plan.slices), codes(plan)) == (6, [])


def test_slice_far_off_is_a_part_of_a_scan_whose_turns_have_numbers():
    refs = [ref(i, 1.25 * i, acquisition=44 + i // 2) for i in range(4)]
    (plan,), left_out = planned([*refs, ref(9, -200.0, acquisition=4)])

    assert (len(plan.slices), codes(plan), left_out) == (5, [Code.MISSING_SLICES], [])


def test_slice_that_fills_a_hole_is_not_set_aside():
    (plan,), _ = planned([ref(i, 2.0 * i, acquisition=1 + (i == 3)) for i in range(9)])

    assert (len(plan.slices), codes(plan)) == (9, [])


@pytest.mark.parametrize("numbers", ["random", "none", "alternating"])
def test_scans_that_nothing_tells_apart_are_read_slice_by_slice(numbers):
    told = {
        "random": lambda scan, i: {"instance_number": (7 * (4 * scan + i) + 3) % 11},
        "none": lambda scan, i: {},
        "alternating": lambda scan, i: {"instance_number": 2 * i + scan},
    }[numbers]
    (plan,), left_out = planned(two_scans(told))

    assert sorted(instances(plan)) == sorted(SCANS[0] + SCANS[1])
    assert codes(plan) == [Code.NOT_IN_ORDER]
    assert not plan.is_ordered
    assert not plan.is_evenly_spaced
    assert (plan.affine_lps, plan.spacing_mm) == (None, (0.0, 0.7, 0.8))
    assert left_out == []


def test_only_the_scans_that_cannot_be_told_apart_are_in_no_order():
    refs = [
        ref(10 * scan + i, z, instance=f"{scan}/{i}", acquisition=1 + scan // 2)
        for scan in range(3)
        for i, z in enumerate(PLACES)
    ]
    plans, left_out = planned(refs)

    assert sorted((len(plan.slices), plan.is_ordered) for plan in plans) == [(4, True), (8, False)]
    assert left_out == []


def test_many_slices_twice_are_planned_in_no_time():
    places = [0.6 * i for i in range(1500)]
    refs = two_scans(lambda scan, i: {"acquisition": i, "acquired_s": i * 1.0}, places=places)
    (plan,), _ = planned(refs)

    assert len(plan.slices) == 3000


# In order without positions: what the slices tell, the order that is used, and whether the
# distance from slice to slice is known.
UNPLACED = {
    "same position": (
        lambda i: {"position_mm": ZERO, "slice_location_mm": 2.0 * i, "instance_number": 9 - i},
        "location",
        2.0,
    ),
    "same position, turned numbers": (
        lambda i: {"position_mm": ZERO, "slice_location_mm": -2.0 * i, "instance_number": i},
        "location",
        2.0,
    ),
    "positions written twice": (
        lambda i: {"position_mm": (0.0, 0.0, 4.0 * (i // 2)), "slice_location_mm": 2.0 * i},
        "location",
        2.0,
    ),
    "same position, numbers alone": (
        lambda i: {"position_mm": ZERO, "instance_number": i},
        "number",
        0.0,
    ),
    "same position and location": (
        lambda i: {"position_mm": ZERO, "slice_location_mm": 0.0, "instance_number": 3 * i},
        "number",
        0.0,
    ),
    "no position": (
        lambda i: {"position_mm": None, "slice_location_mm": 2.0 * i, "instance_number": i},
        "location",
        2.0,
    ),
    "no position or orientation": (
        lambda i: {"position_mm": None, "orientation": None, "slice_location_mm": 2.0 * i},
        "location",
        2.0,
    ),
    "no position on some": (
        lambda i: {"position_mm": (0, 0, 2.0 * i) if i % 2 else None, "slice_location_mm": 2.0 * i},
        "location",
        2.0,
    ),
    "no position or orientation on some": (
        lambda i: {
            "slice_location_mm": 2.0 * i,
            **({} if i % 2 else {"position_mm": None, "orientation": None}),
        },
        "location",
        2.0,
    ),
    "uneven locations": (
        lambda i: {"position_mm": None, "slice_location_mm": float(i**2)},
        "location",
        0.0,
    ),
    "numbers alone": (lambda i: {"position_mm": None, "instance_number": 7 + i}, "number", 0.0),
    "location missing once": (
        lambda i: {
            "position_mm": None,
            "slice_location_mm": None if i == 2 else 2.0 * i,
            "instance_number": i,
        },
        "number",
        0.0,
    ),
}


@pytest.mark.parametrize("name", UNPLACED)
@pytest.mark.parametrize("has_scale", [True, False])
def test_slices_without_positions_are_put_in_order(name, has_scale):
    told, order, slice_mm = UNPLACED[name]
    scale = {} if has_scale else {"spacing_mm": None}
    refs = [ref(i, 2.0 * i, **{**scale, **told(i)}) for i in range(6)]
    random.Random(3).shuffle(refs)
    (plan,), left_out = planned(refs)

    rows = [one.row for one in plan.slices]
    assert rows in ([0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0])
    assert plan.order == order
    assert Code.ORDER_DOUBTFUL in codes(plan)
    assert plan.is_ordered
    # The distances are not known to be true: nothing may be measured across slices.
    assert not plan.is_evenly_spaced
    assert plan.affine_lps is None
    assert plan.spacing_mm == ((slice_mm, 0.7, 0.8) if has_scale else None)
    assert left_out == []


def test_positions_without_orientation_are_an_order_in_an_unknown_plane():
    (plan,), _ = planned([ref(i, -2.5 * i, x=1.0, orientation=None) for i in range(5)])

    assert [one.row for one in plan.slices] == [4, 3, 2, 1, 0]
    assert plan.spacing_mm == pytest.approx((2.5, 0.7, 0.8))
    assert (plan.plane, plan.affine_lps, plan.is_evenly_spaced) == ("unknown", None, False)


def test_slices_that_tell_nothing_of_their_order_are_read_one_by_one():
    refs = [ref(i, position_mm=None, orientation=None, pixels=f"{i}") for i in range(5)]
    (plan,), left_out = planned(refs)

    assert len(plan.slices) == 5
    assert not plan.is_ordered
    assert codes(plan) == [Code.NOT_IN_ORDER]
    assert left_out == []


def test_slices_with_and_without_a_place_are_read_apart():
    refs = [ref(i, 2.0 * i) for i in range(5)]
    refs += [ref(i, position_mm=None, instance_number=i) for i in range(5, 8)]
    plans, left_out = planned(refs)

    assert [(len(plan.slices), plan.order) for plan in plans] == [(5, "position"), (3, "number")]
    assert all(Code.MIXED_GEOMETRY in codes(plan) for plan in plans)
    assert left_out == []


@pytest.mark.parametrize("name", ["acquisition", "contrast", "kVp", "temporal position", "kernel"])
def test_scans_that_only_numbers_put_in_order_are_parted(name):
    refs = two_scans(
        lambda scan, i: {
            "position_mm": None,
            "instance_number": 4 * scan + i,
            **DIFFERENCES[name](scan, i),
        }
    )
    assert_parted(refs)


def test_single_slice_of_another_scan_is_read_where_its_place_is_not_known():
    refs = [ref(i, position_mm=None, instance_number=i, acquisition=1 + i // 5) for i in range(6)]
    plans, left_out = planned(refs)

    assert sum(len(plan.slices) for plan in plans) == 6
    assert left_out == []


def own_series(refs):
    return [replace(one, keys=replace(one.keys, series=f"own {one.row}")) for one in refs]


def test_slices_with_a_series_each_become_one():
    (plan,), left_out = planned(own_series([ref(i, 2.0 * i) for i in range(6)]))

    assert len(plan.slices) == 6
    assert codes(plan) == [Code.OWN_SERIES_UIDS]
    assert plan.is_evenly_spaced
    assert left_out == []


def test_slices_with_a_series_each_and_without_positions_become_one():
    refs = [ref(i, position_mm=None, slice_location_mm=2.0 * i) for i in range(6)]
    (plan,), _ = planned(own_series(refs))

    assert codes(plan) == [Code.OWN_SERIES_UIDS, Code.ORDER_DOUBTFUL]


@pytest.mark.parametrize("name", ["acquisition", "contrast", "content time", "kVp", "kernel"])
def test_scans_with_a_series_for_each_slice_are_parted(name):
    plans, left_out = planned(own_series(two_scans(DIFFERENCES[name])))

    assert sorted(instances(plan) for plan in plans) == SCANS
    assert left_out == []


def test_files_of_slices_with_a_series_each_may_be_there_twice():
    refs = own_series([ref(i, 2.0 * i, pixels=f"{i}") for i in range(4)])
    copies = [replace(one, row=one.row + 10) for one in refs]
    (plan,), left_out = planned([*copies, *refs])

    assert len(plan.slices) == 4
    assert [one.notice.code for one in left_out] == [Code.DUPLICATE_SLICE] * 4


@pytest.mark.parametrize(
    "other",
    [
        {"frame_of_reference": "other"},
        {"study": "other"},
        {"rows": 12},
        {"kvp": 80.0},
        {"kernel": "sharp"},
        {"contrast": "iohexol"},
        {"image_type": "derived"},
        {"orientation": ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0))},
        {"spacing_mm": (2.0, 0.5, 0.5)},
    ],
    ids=lambda other: next(iter(other)),
)
def test_single_slices_that_differ_stay_alone(other):
    plans, _ = planned(own_series([ref(0, 0.0), ref(1, 2.0)]) + [ref(2, 4.0, series="c", **other)])

    assert sorted(len(plan.slices) for plan in plans) == [1, 2]


def test_real_series_are_never_joined():
    series = [ref(i, 2.0 * i, series="one") for i in range(3)]
    series += [ref(i, 2.0 * i, series="two") for i in range(3, 6)]
    plans, _ = planned([*series, ref(6, 12.0, series="three")])

    assert sorted(len(plan.slices) for plan in plans) == [1, 3, 3]


def test_single_slices_at_one_place_are_not_joined():
    plans, _ = planned(own_series([ref(0, 2.0, acquisition=1), ref(1, 2.0, acquisition=2)]))

    assert [len(plan.slices) for plan in plans] == [1, 1]


def test_series_of_two_frames_of_reference_is_two():
    refs = [ref(i, 2.0 * i, frame_of_reference=str(i // 3)) for i in range(6)]
    plans, _ = planned(refs)

    assert [len(plan.slices) for plan in plans] == [3, 3]


def test_frame_of_reference_of_each_slice_divides_nothing():
    (plan,), _ = planned([ref(i, 2.0 * i, frame_of_reference=str(i)) for i in range(6)])

    assert len(plan.slices) == 6


@pytest.mark.parametrize(
    ("orientation", "step"),
    [(AXIAL, (0, 0, 2.0)), (((1.0, 0.0, 0.0), (0.0, 0.0, -1.0)), (0, 2.0, 0))],
    ids=["axial", "coronal"],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_slices_without_pixel_size_are_stacked_by_position(orientation, step, sign):
    positions = [tuple(float(sign * i * s) for s in step) for i in range(5)]
    refs = [
        ref(i, position_mm=place, orientation=orientation, spacing_mm=None)
        for i, place in enumerate(positions)
    ]
    (plan,), _ = planned(refs)

    # In canonical order: to the head, or to the back.
    places = [place for _, pairs in plan.files() for _, place in pairs]
    rows = [row for row, _ in plan.files()]
    assert [row for _, row in sorted(zip(places, rows, strict=True))] == list(range(5))[::sign]
    assert codes(plan) == [Code.NO_PIXEL_SIZE]
    assert (plan.spacing_mm, plan.affine_lps) == (None, None)
    assert plan.is_evenly_spaced


def test_pixel_size_that_one_slice_does_not_tell_is_that_of_the_others():
    refs = [ref(i, 2.0 * i, **({"spacing_mm": None} if i == 0 else {})) for i in range(6)]
    (plan,), _ = planned(refs)

    assert (plan.spacing_mm, codes(plan)) == ((2.0, 0.7, 0.8), [])


@pytest.mark.parametrize(
    ("places", "runs"),
    [
        ([0, 1, 2, 0, 1, 2], [0, 0, 0, 1, 1, 1]),
        ([0, 1, 2, 2, 1, 0], [0, 0, 0, 1, 1, 1]),
        ([2, 1, 0, 2, 1, 0], [0, 0, 0, 1, 1, 1]),
        ([0, 1, 2, 1, 0, 1, 2], [0, 0, 0, 1, 2, 2, 2]),
        ([0, 1, 2, 1, 1, 0, 1, 2], [0, 0, 0, 1, 2, 3, 3, 3]),
        ([0, 1, 2, 3, 5, 4, 3, 2], [0, 0, 0, 0, 1, 1, 1, 1]),
        ([0], [0]),
    ],
)
def test_runs_of_a_sequence(places, runs):
    assert runs_of(np.array(places, float)).tolist() == runs


def told(plans, left_out):
    """What a plan says, by what is in the slices and not by their files."""
    return (
        [(instances(p), p.header(), p.scan, p.group, codes(p)) for p in plans],
        sorted((one.ref.keys.instance, one.notice.code) for one in left_out),
    )


TOLD_APART = st.sampled_from([1, 2])


@quick
@given(
    slices=st.lists(
        st.fixed_dictionaries(
            {
                "z": st.sampled_from([0.0, 1.0, 2.0, 4.0]),
                "acquisition": TOLD_APART,
                "contrast": st.sampled_from(["", "a"]),
                "acquired_s": st.sampled_from([None, 1.0, 2.0, 90.0]),
                "instance_number": st.sampled_from([None, 1, 2, 3, 4, 5, 6]),
                "slice_location_mm": st.sampled_from([None, 0.0, 1.0, 2.0]),
                "spacing_mm": st.sampled_from([None, (2.0, 0.7, 0.8), (2.0, 0.5, 0.5)]),
                "series": st.sampled_from(["a", "b", "c"]),
            }
        ),
        max_size=9,
    ),
    order=st.randoms(use_true_random=False),
)
def test_order_of_the_files_decides_nothing(slices, order):
    refs = [
        ref(row, instance=f"{row}", pixels=f"{row}", **facts) for row, facts in enumerate(slices)
    ]
    shuffled = [
        ref(row, instance=one.keys.instance, pixels=one.facts.pixels, **slices[one.row])
        for row, one in enumerate(order.sample(refs, len(refs)))
    ]
    one, other = planned(refs), planned(shuffled)

    assert told(*one) == told(*other)
    # Nothing is lost: each slice is in one plan, or named.
    found = [slice_.row for plan in one[0] for slice_ in plan.slices]
    assert sorted([*found, *(left.ref.row for left in one[1])]) == [r.row for r in refs]
