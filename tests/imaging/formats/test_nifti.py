import gzip
import itertools

import nibabel
import numpy as np
import pytest

from detection.imaging.errors import Code, ImageError
from detection.imaging.formats import convert_nifti, is_nifti_gzip
from detection.imaging.limits import Limits
from detection.imaging.volume import load_volume

# Slices, rows, columns, as they are shown; each element is different.
PIXELS_HU = (np.random.default_rng(2).permutation(4 * 5 * 6).reshape(4, 5, 6) * 20 - 1000).astype(
    np.int16
)
SPACING_MM = (3.0, 0.7, 0.8)
# Every axis order and direction in which a volume can be stored.
ORIENTATIONS = list(itertools.product(itertools.permutations(range(3)), *[(1, -1)] * 3))
# LPS place of the first element shown.
ORIGIN_LPS = np.array([-5.0, 8.0, 30.0])


def canonical_image():
    """Columns to the left, rows to the back, slices to the head, as NIfTI counts them (RAS)."""
    affine = np.diag([-SPACING_MM[2], -SPACING_MM[1], SPACING_MM[0], 1.0])
    affine[:3, 3] = ORIGIN_LPS * (-1, -1, 1)
    return nibabel.Nifti1Image(PIXELS_HU.transpose(2, 1, 0), affine)


def stored_as(axes, flips):
    orientation = np.column_stack([axes, flips])
    return canonical_image().as_reoriented(orientation)


def write(path, image, *, code="sform"):
    image.header.set_sform(image.affine, code=2 if code in ("sform", "both") else 0)
    image.header.set_qform(image.affine, code=1 if code in ("qform", "both") else 0)
    image.to_filename(path)
    return path


def converted(path, **limits):
    header = convert_nifti(path, path.parent / "volume", limits=Limits(**limits))
    volume = load_volume(path.parent / "volume")
    assert volume.header() == header
    return volume, [notice.code for notice in volume.notices]


def refused(path, **limits):
    with pytest.raises(ImageError) as caught:
        convert_nifti(path, path.parent / "volume", limits=Limits(**limits))
    assert not (path.parent / "volume").exists()
    assert "Please" in str(caught.value)
    assert len(str(caught.value)) <= 255
    return caught.value.code


@pytest.mark.parametrize(("axes", "x", "y", "z"), ORIENTATIONS)
def test_each_of_the_48_orientations_becomes_the_same_volume(tmp_path, axes, x, y, z):
    image = stored_as(axes, (x, y, z))
    volume, codes = converted(write(tmp_path / "x.nii", image, code="both"))

    assert np.array_equal(volume.pixels, PIXELS_HU)
    assert np.allclose(volume.spacing_mm, SPACING_MM)
    assert np.allclose(np.array(volume.affine_lps)[:3, 3], ORIGIN_LPS, atol=1e-4)
    assert (volume.plane, volume.is_hu, codes) == ("axial", True, [])
    # Landmarks against nibabel's own reading of the same file.
    data = np.asarray(nibabel.load(tmp_path / "x.nii").dataobj)
    for index in itertools.product(*[(0, n - 1) for n in image.shape]):
        lps = (image.affine @ [*index, 1]) * (-1, -1, 1, 1)
        column, row, slice_index, _ = np.rint(np.linalg.inv(volume.affine_lps) @ lps).astype(int)
        assert volume.pixels[slice_index, row, column] == data[index]


@pytest.mark.parametrize(("axis", "plane"), [(0, "sagittal"), (1, "coronal"), (2, "axial")])
def test_slices_lie_across_the_axis_with_the_largest_spacing(tmp_path, axis, plane):
    spacing = np.ones(3)
    spacing[axis] = 4.0
    data = np.full((5, 6, 7), -1000, np.int16)
    data[0] = 500
    image = nibabel.Nifti1Image(data, np.diag([*spacing, 1.0]))

    volume, codes = converted(write(tmp_path / "x.nii", image))
    assert volume.plane == plane
    assert volume.spacing_mm == (4, 1, 1)
    assert codes == [Code.THICK_SLICES]


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64, np.uint16])
@pytest.mark.parametrize("order", ["<", ">"])
def test_number_type_byte_order_and_scale_do_not_matter(tmp_path, dtype, order):
    stored = ((PIXELS_HU.transpose(2, 1, 0) + 1024) // 2).astype(
        np.dtype(dtype).newbyteorder(order)
    )
    header = nibabel.Nifti1Header(endianness=order)
    image = nibabel.Nifti1Image(stored, canonical_image().affine, header)
    image.header.set_data_dtype(stored.dtype)
    image.header.set_slope_inter(2.0, -1024.0)
    write(tmp_path / "x.nii.gz", image)
    data = bytearray(gzip.decompress((tmp_path / "x.nii.gz").read_bytes()))
    # nibabel stores scaled values of its own; put ours under a scale of ours.
    data[112:120] = np.array([2, -1024], np.dtype("f4").newbyteorder(order)).tobytes()
    data[352:] = stored.tobytes(order="F")
    (tmp_path / "x.nii.gz").write_bytes(gzip.compress(bytes(data)))
    volume, _ = converted(tmp_path / "x.nii.gz")

    assert np.array_equal(volume.pixels, PIXELS_HU)


def test_nifti_2_is_read(tmp_path):
    image = canonical_image()
    nibabel.Nifti2Image(image.dataobj, image.affine).to_filename(tmp_path / "x.nii")

    assert np.array_equal(converted(tmp_path / "x.nii")[0].pixels, PIXELS_HU)


def test_orientation_by_qform_alone_is_believed(tmp_path):
    volume, codes = converted(write(tmp_path / "x.nii", canonical_image(), code="qform"))

    assert np.array_equal(volume.pixels, PIXELS_HU)
    assert codes == []


def test_without_orientation_the_side_is_not_known(tmp_path):
    path = write(tmp_path / "x.nii", canonical_image())
    data = bytearray(path.read_bytes())
    # qform_code and sform_code.
    data[252:256] = bytes(4)
    path.write_bytes(data)
    volume, codes = converted(path)

    assert codes == [Code.NO_ORIENTATION]
    assert volume.affine_lps is None
    assert volume.plane == "unknown"


def test_two_orientations_that_differ_are_told(tmp_path):
    image = canonical_image()
    image.header.set_sform(image.affine, code=2)
    mirrored = image.affine @ np.diag([-1, 1, 1, 1])
    image.header.set_qform(mirrored, code=1)
    image.to_filename(tmp_path / "x.nii")
    volume, codes = converted(tmp_path / "x.nii")

    assert np.array_equal(volume.pixels, PIXELS_HU)
    assert codes == [Code.ORIENTATION_CONFLICT]


SIDES = (20, 25, 30)
COUNT = 20 * 25 * 30


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(np.arange(COUNT) % 3, id="mask"),
        pytest.param(np.linspace(0, 1, COUNT), id="normalised"),
        pytest.param(np.linspace(0, 3000, COUNT), id="shifted"),
        pytest.param(np.linspace(-1000, 60000, COUNT), id="not a CT"),
        pytest.param(np.full(COUNT, 1000), id="one value"),
    ],
)
def test_values_that_cannot_be_hu_are_refused(tmp_path, values):
    image = nibabel.Nifti1Image(values.reshape(SIDES).astype(np.float32), canonical_image().affine)

    assert refused(write(tmp_path / "x.nii", image)) is Code.NOT_HU


def test_values_without_air_are_doubtful(tmp_path):
    values = np.random.default_rng(1).normal(40, 60, SIDES)
    image = nibabel.Nifti1Image(values, np.eye(4))

    assert converted(write(tmp_path / "x.nii", image))[1] == [Code.HU_DOUBTFUL]


def test_bytes_stay_a_picture_without_hu(tmp_path):
    data = np.arange(120, dtype=np.uint8).reshape(4, 5, 6)
    volume, _ = converted(write(tmp_path / "x.nii", nibabel.Nifti1Image(data, np.eye(4))))

    assert not volume.is_hu
    assert volume.pixels.dtype == np.uint8
    assert "lost" in volume.notices[0].text


def test_what_is_no_number_is_air(tmp_path):
    data = PIXELS_HU.transpose(2, 1, 0).astype(np.float32)
    data[0, 0, 0] = np.nan
    volume, _ = converted(
        write(tmp_path / "x.nii", nibabel.Nifti1Image(data, canonical_image().affine))
    )

    assert volume.pixels[0, 0, 0] == -1024


def test_several_volumes_in_one_file_are_refused(tmp_path):
    image = nibabel.Nifti1Image(np.zeros((4, 5, 6, 2), np.int16), np.eye(4))

    assert refused(write(tmp_path / "x.nii", image)) is Code.SEVERAL_VOLUMES


def test_colours_are_refused(tmp_path):
    data = np.zeros((4, 5, 6), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))

    assert refused(write(tmp_path / "x.nii", nibabel.Nifti1Image(data, np.eye(4)))) is Code.NOT_CT


def test_size_is_checked_before_anything_is_unpacked(tmp_path):
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape((30000, 30000, 30000))
    path = tmp_path / "x.nii.gz"
    path.write_bytes(gzip.compress(header.binaryblock + bytes(4)))

    assert refused(path) is Code.TOO_MANY_PIXELS


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
@pytest.mark.parametrize("share", [0.2, 0.6, 0.97])
def test_truncated_file_is_refused(tmp_path, name, share):
    path = write(tmp_path / name, canonical_image())
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])

    assert refused(path) is Code.DAMAGED


def test_voxels_behind_extensions_of_the_header_are_read(tmp_path):
    image = canonical_image()
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"x" * 1000))

    assert np.array_equal(converted(write(tmp_path / "x.nii", image))[0].pixels, PIXELS_HU)


def test_extension_that_promises_two_gigabytes_is_not_followed(tmp_path):
    image = canonical_image()
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"x" * 24))
    data = bytearray(write(tmp_path / "x.nii", image).read_bytes())
    data[352:356] = (2**31 - 16).to_bytes(4, "little")
    (tmp_path / "x.nii").write_bytes(data)

    assert np.array_equal(converted(tmp_path / "x.nii")[0].pixels, PIXELS_HU)


@pytest.mark.parametrize("size", [0, 347, 540, 2**31 - 1])
def test_header_of_a_wrong_size_is_refused(tmp_path, size):
    path = write(tmp_path / "x.nii", canonical_image())
    path.write_bytes(size.to_bytes(4, "little") + path.read_bytes()[4:])

    assert refused(path) is Code.DAMAGED


def test_gzip_of_a_nifti_header_without_its_image_is_no_volume(tmp_path):
    for header in (nibabel.nifti1.Nifti1PairHeader(), nibabel.nifti2.Nifti2PairHeader()):
        (tmp_path / "x.hdr.gz").write_bytes(gzip.compress(header.binaryblock))
        assert not is_nifti_gzip(tmp_path / "x.hdr.gz")
