"""The written NIfTI is read back by SimpleITK, which knows nothing of our writer."""

import numpy as np
import pytest
import SimpleITK

from detection.imaging.display import nifti_parts, nifti_size, nifti_step
from tests.pictures import oriented_volume, picture_volume


def read_back(volume, path, **kwargs):
    path.write_bytes(b"".join(nifti_parts(volume, **kwargs)))
    return SimpleITK.ReadImage(str(path))


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_pixels_and_places_come_back(plane, tmp_path):
    volume = oriented_volume(plane=plane, marks={"R": 700})
    image = read_back(volume, tmp_path / "volume.nii")

    assert np.array_equal(SimpleITK.GetArrayFromImage(image), volume.pixels)
    index, row, column = np.argwhere(volume.pixels == 700)[0]
    expected = np.array(volume.affine_lps) @ (column, row, index, 1)
    place = image.TransformIndexToPhysicalPoint((int(column), int(row), int(index)))
    assert place == pytest.approx(tuple(expected[:3]), abs=1e-4)


def test_every_second_pixel_stays_where_it_was(tmp_path):
    volume = oriented_volume(sides=(5, 21, 31))
    image = read_back(volume, tmp_path / "volume.nii", step=2)

    assert image.GetSize() == (16, 11, 5)
    assert image.GetSpacing() == pytest.approx((1.0, 2.0, 3.0))
    assert image.GetOrigin() == pytest.approx(tuple(row[3] for row in volume.affine_lps[:3]))
    assert np.array_equal(SimpleITK.GetArrayFromImage(image), volume.pixels[:, ::2, ::2])


@pytest.mark.parametrize("step", [1, 2, 3])
def test_size_is_announced_exactly(step):
    volume = oriented_volume(sides=(5, 21, 31))

    assert sum(map(len, nifti_parts(volume, step=step))) == nifti_size(volume, step=step)


@pytest.mark.parametrize(("side", "step"), [(256, 1), (257, 2), (512, 2), (513, 3), (1024, 4)])
def test_step_keeps_sides_within_the_limit(side, step):
    volume = oriented_volume(sides=(1, 4, side))

    assert nifti_step(volume, largest_side=256) == step


def test_picture_has_no_place_in_space():
    with pytest.raises(ValueError, match="orientation"):
        next(nifti_parts(picture_volume()))
