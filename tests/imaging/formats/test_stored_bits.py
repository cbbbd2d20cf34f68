"""What stands above Bits Stored never becomes a value, whichever library decodes the frame."""

import jpeg_ls
import numpy as np
import openjpeg
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.uid import (
    JPEG2000,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from detection.imaging.formats import decode_file
from tests.imaging.synthetic import ct_dataset

# Each value of 12 bits once, in rows that a lossless codec likes.
VALUES = np.arange(4096, dtype=np.uint16).reshape(64, 64)
OVERLAYS = {
    "nothing above": np.zeros_like(VALUES),
    "an overlay in bit 12": np.where(VALUES % 7 == 0, 0x1000, 0).astype(np.uint16),
    "an overlay in bit 15": np.where(VALUES % 5 == 0, 0x8000, 0).astype(np.uint16),
    "overlays in bits 12 to 15": ((VALUES * 37) & 0xF000).astype(np.uint16),
}


def jpeg_lossless(stored, folder):
    """The JPEG stream of an image that SimpleITK writes."""
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.UseCompressionOn()
    writer.SetCompressor("JPEG")
    writer.SetFileName(str(folder / "jpeg.dcm"))
    writer.Execute(sitk.GetImageFromArray(stored[None]))
    return next(generate_frames(pydicom.dcmread(folder / "jpeg.dcm").PixelData, number_of_frames=1))


ENCODERS = {
    ExplicitVRLittleEndian: lambda stored, folder: stored.astype("<u2").tobytes(),
    ExplicitVRBigEndian: lambda stored, folder: stored.astype(">u2").tobytes(),
    RLELossless: lambda stored, folder: RLELosslessEncoder.encode(
        stored.view(np.uint16), rows=64, columns=64, samples_per_pixel=1, bits_allocated=16,
        bits_stored=16, pixel_representation=0, number_of_frames=1,
        photometric_interpretation="MONOCHROME2",
    ),
    JPEG2000Lossless: lambda stored, folder: openjpeg.encode(stored, bits_stored=16),
    JPEG2000: lambda stored, folder: openjpeg.encode(stored, bits_stored=16),
    JPEGLSLossless: lambda stored, folder: jpeg_ls.encode_array(stored.view(np.uint16)),
    JPEGLosslessSV1: jpeg_lossless,
}  # fmt: skip


def write(path, frame, *, syntax, signed):
    dataset = ct_dataset(
        VALUES,
        syntax=syntax,
        BitsStored=12,
        HighBit=11,
        PixelRepresentation=int(signed),
        RescaleIntercept=0 if signed else -1024,
    )
    data = bytes(frame)
    dataset.PixelData = encapsulate([data]) if syntax.is_compressed else data
    dataset["PixelData"].VR = "OB" if syntax.is_compressed else "OW"
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("above", OVERLAYS)
@pytest.mark.parametrize("syntax", ENCODERS, ids=lambda uid: uid.name)
def test_overlay_bits_are_left_out_after_every_decoder(tmp_path, syntax, above):
    stored = VALUES | OVERLAYS[above]
    path = write(tmp_path / "x", ENCODERS[syntax](stored, tmp_path), syntax=syntax, signed=False)

    assert np.array_equal(decode_file(path).pixels[0], VALUES.astype(np.int16) - 1024)


@pytest.mark.parametrize("above", OVERLAYS)
@pytest.mark.parametrize("syntax", ENCODERS, ids=lambda uid: uid.name)
def test_sign_is_extended_after_every_decoder(tmp_path, syntax, above):
    stored = VALUES | OVERLAYS[above]
    path = write(tmp_path / "x", ENCODERS[syntax](stored, tmp_path), syntax=syntax, signed=True)
    wanted = np.where(VALUES < 2048, VALUES, VALUES.astype(int) - 4096)

    assert np.array_equal(decode_file(path).pixels[0], wanted)


@pytest.mark.parametrize("signed_stream", [False, True])
@pytest.mark.parametrize("precision", [12, 13, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_sign_and_precision_of_the_codestream_do_not_matter(
    tmp_path, signed, precision, signed_stream
):
    """JPEG 2000 says in its own header what a sample is, and encoders do not always agree."""
    wanted = np.where(VALUES < 2048, VALUES, VALUES.astype(int) - 4096 * signed)
    if signed_stream and not signed:
        # Unsigned values of 12 bits do not fit into a stream of 12 with a sign: the low half.
        wanted = VALUES.astype(int) & 0x7FF
    samples = wanted.astype(np.int16) if signed_stream else (wanted & 0xFFF).astype(np.uint16)
    frame = openjpeg.encode(samples, bits_stored=precision)
    path = write(tmp_path / "x", frame, syntax=JPEG2000Lossless, signed=signed)

    assert np.array_equal(decode_file(path).pixels[0], wanted - (0 if signed else 1024))


@pytest.mark.parametrize("signed_stream", [False, True])
@pytest.mark.parametrize("precision", [12, 16])
def test_sixteen_bits_are_kept_whole(tmp_path, precision, signed_stream):
    """A narrower stream than Bits Stored holds every value, of either sign."""
    wanted = VALUES.astype(int) - (2048 if signed_stream else 0)
    samples = wanted.astype(np.int16 if signed_stream else np.uint16)
    dataset = ct_dataset(VALUES, syntax=JPEG2000Lossless, PixelRepresentation=int(signed_stream))
    dataset.PixelData = encapsulate([openjpeg.encode(samples, bits_stored=precision)])
    dataset["PixelData"].VR = "OB"
    dataset.save_as(tmp_path / "x", enforce_file_format=True)

    assert np.array_equal(decode_file(tmp_path / "x").pixels[0], wanted - 1024)
