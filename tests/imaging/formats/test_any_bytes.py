"""Whatever the bytes of a file are: an image, or a sentence for the user, and nothing else."""

import gzip
import io
import zipfile

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from detection.imaging.errors import Code, ImageError
from detection.imaging.formats import (
    HEAD_BYTES,
    Kind,
    convert_nifti,
    decode_file,
    is_nifti_gzip,
    sniff,
    unpack,
)
from detection.imaging.formats.kinds import _OTHERS, _PROGRAMS
from detection.imaging.limits import Limits
from detection.imaging.volume import load_volume
from tests.imaging.synthetic import ct_dataset, laid_out
from tests.properties import quick

# Small bounds, so that what passes them is quick.
LIMITS = Limits(
    max_file_bytes=2**20, max_pixels=40_000, max_inflated_bytes=2**20, max_voxels=40_000,
    max_slices=100, max_files=20, max_total_bytes=2**21, max_archive_bytes=2**20,
)  # fmt: skip
MARKS = [bytes(offset) + mark for offset, mark, _, _ in _OTHERS] + [
    *_PROGRAMS,
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff\xe0",
    bytes(128) + b"DICM",
    bytes(344) + b"n+1\x00",
    b"\x1c\x02\x00\x00n+2\x00\r\n\x1a\n",
    b"\x1f\x8b\x08",
    b"PK\x03\x04",
    b"",
]


def good_files():
    files = []
    for kind in ("PNG", "JPEG"):
        data = io.BytesIO()
        Image.fromarray(np.arange(900, dtype=np.uint8).reshape(30, 30)).save(data, kind)
        files.append(data.getvalue())
    data = io.BytesIO()
    ct_dataset().save_as(data, enforce_file_format=True)
    return [*files, data.getvalue(), data.getvalue()[132:], laid_out(ct_dataset(), preamble=False)]


GOOD = good_files()
any_bytes = st.builds(
    lambda mark, rest: mark + rest, st.sampled_from(MARKS), st.binary(max_size=600)
)


@st.composite
def damaged(draw, good):
    """A good file of which some bytes were changed, and perhaps the end lost."""
    data = bytearray(draw(st.sampled_from(good)))
    for at, value in draw(
        st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), max_size=8)
    ):
        data[at] = value
    return bytes(data[: draw(st.just(len(data)) | st.integers(0, len(data)))])


def outcome(read, *arguments, **options):
    """What a reader gives, or None and the sentence for the user. Any other error is a failure."""
    try:
        return read(*arguments, **options), None
    except ImageError as error:
        return None, error


def is_sentence(error):
    return isinstance(error.code, Code) and str(error).endswith(".") and len(str(error)) <= 255


@quick
@given(head=any_bytes)
def test_kind_of_any_bytes_is_told_or_refused(head):
    kind, refusal = outcome(sniff, head[:HEAD_BYTES])

    assert is_sentence(refusal) if refusal else kind in Kind


@quick
@given(data=any_bytes | damaged(GOOD))
def test_any_bytes_are_an_image_or_a_sentence(tmp_path, data):
    path = tmp_path / "image"
    path.write_bytes(data)
    volume, refusal = outcome(decode_file, path, limits=LIMITS)

    if refusal:
        assert is_sentence(refusal)
    else:
        assert volume.pixels.shape[0] == 1
        assert volume.pixels[0].size <= LIMITS.max_pixels


@quick
@given(data=st.binary(max_size=600) | any_bytes.map(gzip.compress))
def test_any_bytes_are_a_compressed_volume_or_not(tmp_path, data):
    path = tmp_path / "volume.gz"
    path.write_bytes(data)

    assert is_nifti_gzip(path) in (True, False)


any_float = st.floats(width=32) | st.floats(-5, 5, width=32)


@st.composite
def nifti_files(draw):
    """A NIfTI file whose header may say anything at all."""
    kind = draw(st.sampled_from([nibabel.Nifti1Header, nibabel.Nifti2Header]))
    header = kind(endianness=draw(st.sampled_from("<>")))
    fields = header.structarr
    fields["magic"] = kind.single_magic
    if draw(st.booleans()):
        # Sound voxels, so that the rest of the header is come to.
        sizes = draw(st.lists(st.integers(1, 6), min_size=3, max_size=3))
        dimensions, offset = 3, header.sizeof_hdr + 4
        kinds = [(4, 16), (2, 8), (16, 32)]
    else:
        sizes = draw(st.lists(st.integers(-2, 2**15 - 1), min_size=3, max_size=7))
        dimensions = draw(st.just(len(sizes)) | st.integers(0, 8))
        offset = draw(st.integers(-1, 2**30))
        kinds = [(8, 32), (64, 64), (128, 24), (1, 1), (99, 9)]
    fields["dim"][0] = dimensions
    fields["dim"][1 : len(sizes) + 1] = sizes
    fields["datatype"], fields["bitpix"] = draw(st.sampled_from(kinds))
    fields["vox_offset"] = offset
    for name in ("scl_slope", "scl_inter", "quatern_b", "quatern_c", "quatern_d"):
        fields[name] = draw(any_float)
    if draw(st.booleans()):
        # Eight-bit grey, since drawn values are hardly ever Hounsfield units.
        fields["datatype"], fields["bitpix"] = 2, 8
        fields["scl_slope"], fields["scl_inter"] = 1, 0
    for name in ("qform_code", "sform_code"):
        fields[name] = draw(st.integers(-1, 5))
    fields["pixdim"][:4] = draw(st.lists(any_float, min_size=4, max_size=4))
    for name in ("srow_x", "srow_y", "srow_z"):
        fields[name] = draw(st.lists(any_float, min_size=4, max_size=4))
    voxels = draw(st.binary(min_size=16, max_size=64)) * 54
    data = header.binaryblock + bytes(4) + voxels
    return gzip.compress(data) if draw(st.booleans()) else data


@quick
@given(data=nifti_files())
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_any_nifti_header_is_a_volume_or_a_sentence(tmp_path, data):
    source, target = tmp_path / "volume.nii", tmp_path / "volume"
    source.write_bytes(data)
    converted, refusal = outcome(convert_nifti, source, target, limits=LIMITS)

    if refusal:
        assert is_sentence(refusal)
        assert not target.exists()
    else:
        assert load_volume(target).header() == converted
        target.unlink()


def zip_of(names_and_contents):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in names_and_contents:
            archive.writestr(name, content)
    return data.getvalue()


# zipfile ends a name at its first zero byte, and writes no member without a name.
names = st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12
) | st.sampled_from(["../x", "/etc/x", "a/../../x", "C:\\x", "a/b.dcm", "__MACOSX/._x"])
archives = st.lists(st.tuples(names, st.binary(max_size=60)), max_size=5).map(zip_of)


@quick
@given(data=st.binary(max_size=200) | archives.flatmap(lambda good: damaged([good])) | archives)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_any_archive_stays_within_its_folder(tmp_path, data):
    source, folder = tmp_path / "archive.zip", tmp_path / "unpacked"
    source.write_bytes(data)
    folder.mkdir(exist_ok=True)
    members, refusal = outcome(
        unpack, source, folder, limits=LIMITS, files_left=20, bytes_left=2**20
    )
    written = {str(path) for path in folder.iterdir()}

    assert is_sentence(refusal) if refusal else {m.path for m in members if m.path} == written
    assert set(tmp_path.iterdir()) == {source, folder}
    for path in folder.iterdir():
        path.unlink()
