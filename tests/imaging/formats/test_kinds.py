import io
import zipfile

import pytest

from detection.imaging.errors import Code, ImageError
from detection.imaging.formats import HEAD_BYTES, Kind, sniff


def zip_head():
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("a.png", b"\x89PNG")
    return data.getvalue()


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(20), Kind.PNG),
        (b"\xff\xd8\xff\xe0" + bytes(20), Kind.JPEG),
        (bytes(128) + b"DICM" + bytes(20), Kind.DICOM),
        # The preamble may hold the beginning of another format (PS3.10, 7.1).
        (b"II*\x00" + bytes(124) + b"DICM", Kind.DICOM),
        (b"\\\x01\x00\x00" + bytes(340) + b"n+1\x00", Kind.NIFTI),
        (b"\x1c\x02\x00\x00n+2\x00\r\n\x1a\n" + bytes(500), Kind.NIFTI),
        (b"\x1f\x8b\x08" + bytes(30), Kind.GZIP),
        (zip_head(), Kind.ZIP),
    ],
)
def test_kind_is_told_by_content(head, kind):
    assert sniff(head) is kind


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"", "empty"),
        (bytes(HEAD_BYTES), "zeros"),
        (b"PK\x05\x06" + bytes(18), "empty ZIP"),
        (b"\\\x01\x00\x00" + bytes(340) + b"ni1\x00", "header of a NIfTI"),
        (b"%PDF-1.7\n", "PDF"),
        (b"GIF89a", "GIF"),
        (b"II*\x00" + bytes(30), "TIFF"),
        (b"MM\x00*" + bytes(30), "TIFF"),
        (b"RIFF\x10\x00\x00\x00WEBPVP8 ", "WebP"),
        (b"BM" + bytes(30), "BMP"),
        (b"\x00\x00\x00\x18ftypheic", "HEIC"),
        (b"\x00\x00\x00\x18ftypisom", "film"),
        (b"MZ\x90\x00", "program"),
        (b"\x7fELF\x02", "program"),
        (b"#!/bin/sh\n", "program"),
        (b"name,age\nx,3\n", "text"),
        (("ä" * HEAD_BYTES).encode()[: HEAD_BYTES - 1], "text"),
        (b"<svg xmlns='x'>", "text"),
        (bytes(range(128, 256)) * 4, "kind that can be read"),
        # A PNG signature mangled by a transfer as text.
        (b"\x89PNG\n\x1a\n" + bytes(20), "kind that can be read"),
    ],
)
def test_other_files_are_named_and_refused(head, words):
    with pytest.raises(ImageError, match=words) as caught:
        sniff(head)

    assert len(str(caught.value)) <= 255
    assert "Please" in str(caught.value)


@pytest.mark.parametrize(
    "mark", [b"MZ\x90\x00", b"\x7fELF", b"#!/bin/sh", b"\n <html>", b"PK\x03\x04", b"%PDF-1.7"]
)
def test_dicom_file_that_is_something_else_as_well_is_refused(mark):
    with pytest.raises(ImageError, match="at once") as caught:
        sniff(mark.ljust(128, b"\x00") + b"DICM" + bytes(20))

    assert caught.value.code is Code.POLYGLOT
    assert caught.value.advice.startswith("Please")


@pytest.mark.parametrize(
    ("head", "code"),
    [
        (b"", Code.EMPTY),
        (b"MZ\x90\x00", Code.PROGRAM),
        (bytes(HEAD_BYTES), Code.DAMAGED),
        (b"GIF89a", Code.NOT_AN_IMAGE),
    ],
)
def test_each_reason_has_its_name(head, code):
    with pytest.raises(ImageError) as caught:
        sniff(head)

    assert caught.value.code is code
    assert " Please " not in caught.value.reason
