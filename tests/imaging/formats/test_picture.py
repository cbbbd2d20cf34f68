import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from detection.imaging.errors import Code, ImageError, Notice
from detection.imaging.formats import decode_file
from detection.imaging.limits import Limits
from tests.imaging.synthetic import png_bytes

GREY = np.arange(0, 240, 5, dtype=np.uint8).reshape(6, 8)


def saved(path, image, **options):
    options.setdefault("format", "PNG")
    image.save(path, **options)
    return path


def refusal_of(path, **limits):
    with pytest.raises(ImageError) as caught:
        decode_file(path, limits=Limits(**limits))
    assert len(str(caught.value)) <= 255
    return str(caught.value)


def test_grey_png_passes_unchanged(tmp_path):
    volume = decode_file(saved(tmp_path / "x", Image.fromarray(GREY)))

    assert np.array_equal(volume.pixels, GREY[np.newaxis])
    assert not volume.is_hu
    assert (volume.plane, volume.spacing_mm, volume.colour_spread) == ("unknown", None, 0.0)
    assert volume.notices == (Notice(Code.EIGHT_BIT, "8-bit picture: Hounsfield units are lost."),)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_grey_in_another_mode_gives_the_same_pixels(tmp_path, mode):
    volume = decode_file(saved(tmp_path / "x", Image.fromarray(GREY).convert(mode)))

    assert np.array_equal(volume.pixels[0], GREY)
    assert volume.colour_spread == 0.0


def test_one_bit_becomes_black_and_white(tmp_path):
    volume = decode_file(saved(tmp_path / "x", Image.fromarray(GREY > 100)))

    assert np.array_equal(volume.pixels[0], np.where(GREY > 100, 255, 0))


def test_colour_is_measured_and_turned_to_grey(tmp_path):
    pixels = np.zeros((600, 4, 3), np.uint8)
    pixels[:300] = (200, 100, 50)
    volume = decode_file(saved(tmp_path / "x", Image.fromarray(pixels)))

    # Half of the pixels spread over 150; the grey is that of ITU-R 601.
    assert volume.colour_spread == pytest.approx(75)
    assert volume.pixels[0, 0, 0] == round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)


def test_colour_palette_is_colour(tmp_path):
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 255, 0, 0])

    assert decode_file(saved(tmp_path / "x", image)).colour_spread == 255


def test_transparent_parts_are_black(tmp_path):
    pixels = np.full((2, 2, 4), (200, 200, 200, 255), np.uint8)
    pixels[0, :, 3] = 0
    pixels[1, 1, 3] = 127
    volume = decode_file(saved(tmp_path / "x", Image.fromarray(pixels)))

    assert volume.pixels[0].astype(int) == pytest.approx(np.array([[0, 0], [200, 100]]), abs=1)


def test_transparent_palette_entry_is_black(tmp_path):
    image = Image.new("P", (2, 1), 1)
    image.putpalette([0, 0, 0, 90, 90, 90, 255, 255, 255])
    image.putpixel((1, 0), 2)

    assert decode_file(saved(tmp_path / "x", image, transparency=2)).pixels.tolist() == [[[90, 0]]]


def test_16_bits_are_stretched_with_a_notice(tmp_path):
    # 12 bits in a 16-bit file would be black if only the high byte were taken.
    pixels = np.array([[0, 1024, 2048, 4095]], np.uint16)
    volume = decode_file(saved(tmp_path / "x", Image.fromarray(pixels)))

    assert volume.pixels.tolist() == [[[0, 64, 128, 255]]]
    assert "16-bit picture" in volume.notices[0].text
    assert volume.notices[0].code == Code.SIXTEEN_BIT


def test_uniform_16_bits_are_black(tmp_path):
    volume = decode_file(saved(tmp_path / "x", Image.fromarray(np.full((2, 2), 900, np.uint16))))

    assert not volume.pixels.any()


@pytest.mark.parametrize(("colour_type", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_16_bits_of_colour_or_alpha_have_a_notice(tmp_path, colour_type, channels):
    row = b"\x00" + b"\xff\xff" * channels * 2
    data = png_bytes(width=2, height=1, bit_depth=16, colour_type=colour_type, rows=row)
    (tmp_path / "x").write_bytes(data)
    volume = decode_file(tmp_path / "x")

    assert volume.pixels.tolist() == [[[255, 255]]]
    assert "16-bit" in volume.notices[0].text


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_is_close_to_what_was_saved(tmp_path, mode, progressive):
    smooth = np.add.outer(np.arange(64), np.arange(48)).astype(np.uint8) * 2
    image = Image.fromarray(smooth).convert("RGB").convert(mode)
    path = saved(tmp_path / "x", image, format="JPEG", quality=95, progressive=progressive)
    volume = decode_file(path)

    assert np.abs(volume.pixels[0].astype(int) - smooth).max() <= 6
    assert volume.colour_spread < 2


def test_exif_orientation_is_applied(tmp_path):
    pixels = np.zeros((16, 32), np.uint8)
    pixels[:, :16] = 255
    exif = Image.Exif()
    # To be turned by 90 degrees clockwise: what is left comes to the top.
    exif[274] = 6
    path = saved(tmp_path / "x", Image.fromarray(pixels), format="JPEG", exif=exif)
    volume = decode_file(path)

    assert volume.pixels.shape == (1, 32, 16)
    assert (volume.pixels[0, 2, 8], volume.pixels[0, 29, 8]) == (255, 0)


def test_animation_is_refused(tmp_path):
    frames = [Image.fromarray(GREY), Image.fromarray(GREY[::-1].copy())]
    path = saved(tmp_path / "x", frames[0], save_all=True, append_images=frames[1:])

    assert "animation" in refusal_of(path)


def test_giant_is_refused_by_its_header(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(png_bytes(width=2**31 - 1, height=2**31 - 1, rows=b"\x00"))

    assert "too large" in refusal_of(path)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
def test_pixel_limit_counts_width_times_height(tmp_path, file_format):
    path = saved(tmp_path / "x", Image.fromarray(GREY), format=file_format)

    assert "too large (8 x 6 pixels" in refusal_of(path, max_pixels=47)
    assert decode_file(path, limits=Limits(max_pixels=48)).pixels.shape == (1, 6, 8)


def test_limit_is_our_own_and_not_the_one_of_pillow(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)

    assert "too large" in refusal_of(saved(tmp_path / "x", Image.fromarray(GREY)))


def test_text_bomb_is_refused(tmp_path):
    bomb = b"Comment\x00\x00" + zlib.compress(bytes(50 * 2**20))
    data = png_bytes(width=1, height=1, rows=b"\x00\x05", before=[(b"zTXt", bomb)])
    (tmp_path / "x").write_bytes(data)

    assert "damaged" in refusal_of(tmp_path / "x")


@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.9, 0.99])
def test_truncated_picture_is_refused(tmp_path, file_format, share):
    noise = np.random.default_rng(1).integers(0, 255, (80, 90), np.uint8)
    path = saved(tmp_path / "x", Image.fromarray(noise), format=file_format)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])

    assert "damaged" in refusal_of(path)


def test_changed_byte_in_a_png_is_found(tmp_path):
    noise = np.random.default_rng(1).integers(0, 255, (80, 90), np.uint8)
    path = saved(tmp_path / "x", Image.fromarray(noise))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)

    assert "damaged" in refusal_of(path)


def test_12_bit_jpeg_is_refused_with_advice(tmp_path):
    frame = struct.pack(">BBHBHHB3B", 0xFF, 0xC1, 11, 12, 16, 16, 1, 1, 0x11, 0)
    (tmp_path / "x").write_bytes(b"\xff\xd8" + frame + b"\xff\xd9")

    assert "8-bit" in refusal_of(tmp_path / "x")
