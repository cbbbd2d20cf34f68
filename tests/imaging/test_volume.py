import json
import os

import numpy as np
import pytest

from detection.imaging.errors import Code, ImageError, Notice
from detection.imaging.volume import Volume, load_volume, save_volume, write_volume

HU = Volume(
    pixels=np.arange(-12, 12, dtype=np.int16).reshape(2, 3, 4),
    is_hu=True,
    spacing_mm=(3.0, 0.7, 0.8),
    plane="coronal",
    notices=(Notice(Code.LOSSY, "lossy, at least a little"),),
    affine_lps=((0.8, 0, 0, -5.5), (0, 0, 3.0, 7), (0, -0.7, 0, 9), (0, 0, 0, 1)),
    is_evenly_spaced=False,
    is_ordered=False,
    slices_unread=2,
)
PICTURE = Volume(pixels=np.full((1, 2, 2), 7, np.uint8), is_hu=False, colour_spread=1.5)


@pytest.mark.parametrize("volume", [HU, PICTURE])
def test_what_is_saved_is_loaded(tmp_path, volume):
    save_volume(volume, tmp_path / "volume.npz")
    loaded = load_volume(tmp_path / "volume.npz")

    assert np.array_equal(loaded.pixels, volume.pixels)
    assert loaded.pixels.dtype == volume.pixels.dtype
    assert loaded.header() == volume.header()
    assert loaded.spacing_mm == volume.spacing_mm
    assert loaded.notices == volume.notices
    assert loaded.affine_lps == volume.affine_lps
    assert not loaded.pixels.flags.writeable
    assert [path.name for path in tmp_path.iterdir()] == ["volume.npz"]


def test_nothing_is_left_when_saving_fails(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save_volume(HU, tmp_path / "volume.npz")

    assert list(tmp_path.iterdir()) == []


def test_missing_volume_is_an_error_with_a_sentence(tmp_path):
    with pytest.raises(ImageError, match="missing"):
        load_volume(tmp_path / "volume.npz")


@pytest.mark.parametrize("keep", [0, 1, 100, -10])
def test_truncated_volume_is_an_error_with_a_sentence(tmp_path, keep):
    path = tmp_path / "volume.npz"
    save_volume(HU, path)
    path.write_bytes(path.read_bytes()[:keep])

    with pytest.raises(ImageError, match="damaged"):
        load_volume(path)


def test_changed_byte_never_passes_as_another_image(tmp_path):
    path = tmp_path / "volume.npz"
    save_volume(HU, path)
    whole = path.read_bytes()
    refused = 0
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        try:
            loaded = load_volume(path)
        except ImageError:
            refused += 1
        else:
            # A date or an attribute of the archive, which says nothing of the image.
            assert np.array_equal(loaded.pixels, HU.pixels)
            assert loaded.header() == HU.header()

    assert refused > len(whole) / 2


def test_volume_of_the_first_version_is_read(tmp_path):
    path = tmp_path / "volume.npz"
    header = {"format": 1, **HU.header(), "caveats": ["lossy, at least a little"]}
    del header["notices"]
    for name in ("affine_lps", "is_evenly_spaced", "is_ordered", "slices_unread"):
        del header[name]
    np.savez_compressed(path, pixels=HU.pixels, header=np.array(json.dumps(header)))
    loaded = load_volume(path)

    assert np.array_equal(loaded.pixels, HU.pixels)
    assert loaded.spacing_mm == HU.spacing_mm
    assert loaded.affine_lps is None
    assert (loaded.is_ordered, loaded.slices_unread) == (True, 0)
    assert [notice.code for notice in loaded.notices] == [Code.EARLIER]
    assert not loaded.pixels.flags.writeable


def test_large_volume_is_mapped_and_not_read(tmp_path):
    pixels = np.arange(40 * 256 * 256, dtype=np.int64).astype(np.int16).reshape(40, 256, 256)
    save_volume(Volume(pixels=pixels, is_hu=True), tmp_path / "volume")
    loaded = load_volume(tmp_path / "volume").pixels

    assert isinstance(loaded.base, np.memmap)
    assert np.array_equal(loaded, pixels)
    with pytest.raises(ValueError, match="read-only"):
        loaded[0, 0, 0] = 1


def test_volume_is_written_slice_by_slice_in_any_order(tmp_path):
    with write_volume(tmp_path / "volume", shape=(2, 3, 4), is_hu=True) as writer:
        writer.write_slice(1, HU.pixels[1])
        writer.mapped()[0] = HU.pixels[0]
        with pytest.raises(ValueError, match="does not fit"):
            writer.write_slice(2, HU.pixels[0])
        writer.finish(HU.header())

    assert np.array_equal(load_volume(tmp_path / "volume").pixels, HU.pixels)


def test_pickled_objects_are_not_loaded(tmp_path):
    path = tmp_path / "volume.npz"
    np.savez(path, pixels=np.array([{}], dtype=object), header=np.array("{}"))

    with pytest.raises(ImageError, match="damaged"):
        load_volume(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"pixels": np.zeros((1, 2, 2), np.uint8)},
        {"pixels": np.zeros((2, 2), np.int16)},
        {"pixels": np.zeros((0, 2, 2), np.int16)},
        {"plane": "oblique"},
        {"affine_lps": ((1, 0, 0, 0),)},
    ],
)
def test_volume_refuses_what_it_is_not(changes):
    with pytest.raises(ValueError, match="plane|pixels|affine"):
        Volume(**({"pixels": HU.pixels, "is_hu": True} | changes))
