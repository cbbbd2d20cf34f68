import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detection.imaging.formats import decode_file
from detection.imaging.geometry import arrange
from tests.imaging.synthetic import write_ct
from tests.properties import quick

SHAPE = (3, 4, 5)
ORIENTATIONS = list(itertools.product(itertools.permutations(range(3)), *[(1, -1)] * 3))
# Per plane: the way in LPS from slice to slice, row to row, column to column.
CANONICAL = {
    "axial": ((0, 0, 1), (0, 1, 0), (1, 0, 0)),
    "coronal": ((0, 1, 0), (0, 0, -1), (1, 0, 0)),
    "sagittal": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
}


def arranged_by(arrangement, pixels):
    first, second, third = (slice(None, None, -1 if flip else None) for flip in arrangement.flips)
    return pixels.transpose(arrangement.order)[first, second, third]


def place_of(affine, index):
    slice_index, row, column = index
    return np.array(affine)[:3] @ [column, row, slice_index, 1]


@pytest.mark.parametrize(("axes", "x", "y", "z"), ORIENTATIONS)
def test_every_orientation_becomes_canonical_and_no_element_moves_in_the_body(axes, x, y, z):
    steps = np.zeros((3, 3))
    for axis, (to, sign, length) in enumerate(zip(axes, (x, y, z), (3, 0.7, 0.8), strict=True)):
        steps[axis, to] = sign * length
    origin = np.array([10.0, -20, 30])
    pixels = np.arange(60).reshape(SHAPE)
    found = arrange(origin_mm=origin, steps_mm=steps, shape=SHAPE)
    arranged = arranged_by(found, pixels)

    ways = np.array(found.affine_lps)[:3, 2::-1].T
    assert np.allclose(ways / np.linalg.norm(ways, axis=1)[:, None], CANONICAL[found.plane])
    assert np.allclose(found.spacing_mm, np.linalg.norm(ways, axis=1))
    for index in np.ndindex(arranged.shape):
        before = np.argwhere(pixels == arranged[index])[0]
        assert np.allclose(place_of(found.affine_lps, index), origin + before @ steps)
    assert np.array_equal(found.apply_to_slice(pixels[1]), arranged_by(found, pixels[1:2])[0])


@st.composite
def lying_volumes(draw):
    """The same volume twice, turned by at most 20 degrees: canonical, and in any order of axes."""
    shape = draw(st.tuples(*[st.integers(1, 4)] * 3))
    lengths = draw(st.tuples(*[st.floats(0.3, 5)] * 3))
    turn = np.eye(3)
    for axis in range(3):
        angle = np.radians(draw(st.floats(-20, 20)) / 3)
        first, second = (other for other in range(3) if other != axis)
        about = np.eye(3)
        about[[first, second], [first, second]] = np.cos(angle)
        about[first, second], about[second, first] = -np.sin(angle), np.sin(angle)
        turn = about @ turn
    ways = np.array(CANONICAL[draw(st.sampled_from(sorted(CANONICAL)))], np.float64)
    steps = ways @ turn.T * np.array(lengths)[:, None]
    origin = np.array(draw(st.tuples(*[st.floats(-500, 500)] * 3)))
    pixels = np.arange(np.prod(shape)).reshape(shape)
    order = draw(st.permutations(range(3)))
    flips = draw(st.tuples(*[st.booleans()] * 3))
    stored, stored_steps, stored_origin = pixels.transpose(order), steps[list(order)], origin
    for axis in np.flatnonzero(flips):
        stored_origin = stored_origin + stored_steps[axis] * (stored.shape[axis] - 1)
        stored_steps[axis] *= -1
        stored = np.flip(stored, axis)
    return (pixels, steps, origin, 0), (stored, stored_steps, stored_origin, order.index(0))


@quick
@given(both=lying_volumes())
def test_same_voxels_lie_at_the_same_millimetres_in_whatever_order_they_were_stored(both):
    found = [
        arrange(origin_mm=origin, steps_mm=steps, shape=pixels.shape, slice_axis=slice_axis)
        for pixels, steps, origin, slice_axis in both
    ]
    canonical, turned = (
        arranged_by(each, pixels) for each, (pixels, *_) in zip(found, both, strict=True)
    )

    assert np.array_equal(turned, canonical)
    assert np.array_equal(canonical, both[0][0])
    assert np.allclose(found[1].affine_lps, found[0].affine_lps)
    assert np.allclose(found[1].spacing_mm, found[0].spacing_mm)
    assert found[1].plane == found[0].plane != "unknown"


def test_sheared_slices_keep_their_distance_across():
    steps = np.array([[0, 1.0, 2], [0, 0.5, 0], [0.5, 0, 0]])
    found = arrange(origin_mm=np.zeros(3), steps_mm=steps, shape=SHAPE)

    assert found.spacing_mm == (2, 0.5, 0.5)
    assert np.array(found.affine_lps)[:3, 2].tolist() == [0, 1, 2]


@pytest.mark.parametrize("steps", [np.ones((3, 3)), np.zeros((3, 3)), np.full((3, 3), np.nan)])
def test_axes_that_span_nothing_are_refused(steps):
    with pytest.raises(ValueError, match="position|plane"):
        arrange(origin_mm=np.zeros(3), steps_mm=steps, shape=SHAPE)


def test_slice_seen_from_above_is_turned_to_radiological_convention(tmp_path):
    stored = np.arange(12, dtype=np.int16).reshape(3, 4)
    path = write_ct(
        tmp_path / "x",
        stored,
        RescaleIntercept=0,
        ImageOrientationPatient=[-1, 0, 0, 0, 1, 0],
        ImagePositionPatient=[100, 50, -7],
    )
    volume = decode_file(path)

    assert volume.pixels[0].tolist() == stored[:, ::-1].tolist()
    assert volume.spacing_mm == (3, 0.7, 0.8)
    assert place_of(volume.affine_lps, (0, 0, 3)).tolist() == [100, 50, -7]
    assert place_of(volume.affine_lps, (0, 2, 3)).tolist() == [100, 51.4, -7]


def test_slice_stored_on_its_side_is_turned_up(tmp_path):
    stored = np.arange(12, dtype=np.int16).reshape(3, 4)
    path = write_ct(
        tmp_path / "x",
        stored,
        RescaleIntercept=0,
        ImageOrientationPatient=[0, 1, 0, 1, 0, 0],
        ImagePositionPatient=[1, 2, 3],
    )
    volume = decode_file(path)

    assert volume.pixels[0].tolist() == stored.T.tolist()
    assert volume.spacing_mm == (3, 0.8, 0.7)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ImagePositionPatient": [1, 2, 3], "PixelSpacing": None},
        {"ImagePositionPatient": [1, 2, 3], "ImageOrientationPatient": None},
        {"ImagePositionPatient": [1, 2, 3], "ImageOrientationPatient": [1, 0, 0, 1, 0, 0]},
        {"ImagePositionPatient": [1, 2]},
    ],
)
def test_without_position_there_is_no_affine_and_nothing_is_turned(tmp_path, changes):
    stored = np.arange(12, dtype=np.int16).reshape(3, 4)
    volume = decode_file(write_ct(tmp_path / "x", stored, RescaleIntercept=0, **changes))

    assert volume.affine_lps is None
    assert volume.pixels[0].tolist() == stored.tolist()
