"""Files that mean harm or are broken, and what they are answered.

`python -m tests.imaging.bad_files` prints a table: the answer, the time it took and the peak memory
of the decoding process, for each of them.
"""

import gzip
import io
import os
import stat
import struct
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from detection.imaging.errors import Code
from detection.imaging.ingest import Sandbox, ingest
from tests.imaging.synthetic import ct_dataset, enhanced_dataset, png_bytes, write_ct

SLICE_HU = np.zeros((3, 8, 8), np.int16)


def _zip(path: Path, members: dict, *, method: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def _good() -> bytes:
    data = io.BytesIO()
    ct_dataset(ImagePositionPatient=[0, 0, 0]).save_as(data, enforce_file_format=True)
    return data.getvalue()


def _zip_bomb(path: Path) -> None:
    _zip(path, {"bomb": bytes(100 * 2**20), "good": _good()})


def _zip_too_large(path: Path) -> None:
    _zip(path, {"large": bytes(600 * 2**20)}, method=zipfile.ZIP_STORED)


def _zip_many(path: Path) -> None:
    _zip(path, {str(number): b"" for number in range(6000)})


def _zip_deep(path: Path) -> None:
    _zip(path, {"x": _good()})
    for _ in range(8):
        _zip(path, {"x.zip": path.read_bytes()})


def _zip_overlapping(path: Path) -> None:
    """Every entry of the directory points to the same compressed bytes."""
    _zip(path, {f"{number:03d}": bytes(2**20) for number in range(50)})
    data = bytearray(path.read_bytes())
    at = data.find(b"PK\x01\x02")
    while at >= 0:
        data[at + 42 : at + 46] = bytes(4)
        at = data.find(b"PK\x01\x02", at + 4)
    path.write_bytes(data)


def _zip_climbing(path: Path) -> None:
    _zip(path, {"../../climbed": _good(), "/absolute": _good(), "c:\\windows": _good()})


def _zip_link(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")


def _zip_encrypted(path: Path) -> None:
    _zip(path, {"secret": _good()})
    data = bytearray(path.read_bytes())
    # The flag of encryption, in the local header and in the directory.
    data[6] |= 1
    data[data.find(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)


def _zip_method(path: Path) -> None:
    _zip(path, {"x": _good()}, method=zipfile.ZIP_LZMA)


def _zip_damaged(path: Path) -> None:
    _zip(path, {"x": np.random.default_rng(1).bytes(5000)})
    data = bytearray(path.read_bytes())
    data[200:300] = bytes(100)
    path.write_bytes(data)


def _zip_truncated(path: Path) -> None:
    _zip(path, {"x": np.random.default_rng(1).bytes(5000)})
    path.write_bytes(path.read_bytes()[:3000])


def _flood(path: Path) -> None:
    path.write_bytes(png_bytes(width=20_000, height=20_000, rows=bytes(20_001 * 20)))


def _animation(path: Path) -> None:
    frames = [Image.new("L", (20, 20), shade) for shade in (0, 99, 200)]
    frames[0].save(path, "PNG", save_all=True, append_images=frames[1:])


def _truncated_png(path: Path) -> None:
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (300, 300), np.uint8)).save(
        path, "PNG"
    )
    path.write_bytes(path.read_bytes()[:40_000])


def _deflate_bomb(path: Path) -> None:
    head = write_ct(path, syntax=DeflatedExplicitVRLittleEndian).read_bytes()
    length = 144 + struct.unpack("<I", head[140:144])[0]
    packer = zlib.compressobj(9, wbits=-15)
    packed = b"".join(packer.compress(bytes(2**20)) for _ in range(300)) + packer.flush()
    path.write_bytes(head[:length] + packed)


def _preamble(mark: bytes) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_bytes(mark.ljust(128, b"\0") + _good()[128:])

    return make


def _dicom(**changes) -> Callable[[Path], None]:
    return lambda path: write_ct(path, **changes)


def _compressed(syntax, frame: bytes) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        dataset = ct_dataset(syntax=syntax, PixelData=encapsulate([frame]))
        dataset["PixelData"].VR = "OB"
        dataset.save_as(path, enforce_file_format=True)

    return make


def _many_frames(path: Path) -> None:
    dataset = enhanced_dataset(SLICE_HU)
    del dataset.PerFrameFunctionalGroupsSequence
    dataset.NumberOfFrames = 99_999
    dataset.save_as(path, enforce_file_format=True)


def _frames_missing(path: Path) -> None:
    dataset = enhanced_dataset(SLICE_HU)
    dataset.PixelData = dataset.PixelData[: 2 * 128]
    dataset.save_as(path, enforce_file_format=True)


def _nifti(data, *, dims=None) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        image = nibabel.Nifti1Image(data, np.eye(4))
        raw = bytearray(image.to_bytes())
        if dims:
            raw[40:48] = struct.pack("<4h", 3, *dims)
        path.write_bytes(raw)

    return make


def _gzip_bomb(path: Path) -> None:
    """A header that promises a volume just below the bound, and zeros without end."""
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.float64)
    header.set_data_shape((512, 512, 1000))
    header["vox_offset"] = 352
    with gzip.open(path, "wb", compresslevel=9) as file:
        file.write(header.binaryblock + bytes(4))
        for _ in range(1000):
            file.write(bytes(2**20))


def _gzip_of_text(path: Path) -> None:
    path.write_bytes(gzip.compress(b"no volume" * 1000))


def _link(path: Path) -> None:
    path.mkdir()
    (path / "link").symlink_to("/etc/passwd")


def _contents(path: Path) -> None:
    ct_dataset(SOPClassUID="1.2.840.10008.1.3.10").save_as(path, enforce_file_format=True)


def _bytes(data: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(data) and None


# Name, how it is made, the code of the answer; "" if it is read all the same.
BAD_FILES: tuple[tuple[str, Callable[[Path], object], str], ...] = (
    ("ZIP bomb, 100 MiB in 100 KiB, beside a good slice", _zip_bomb, Code.BOMB),
    ("ZIP bomb of entries that share their bytes", _zip_overlapping, Code.BOMB),
    ("ZIP with a file of 600 MiB", _zip_too_large, Code.TOO_LARGE),
    ("ZIP of 6,000 files", _zip_many, Code.TOO_MANY_FILES),
    ("ZIP in ZIP, nine deep", _zip_deep, Code.TOO_DEEP),
    ("ZIP with paths that climb out", _zip_climbing, Code.UNSAFE_PATH),
    ("ZIP with a symbolic link", _zip_link, Code.LINK),
    ("ZIP with a password", _zip_encrypted, Code.ENCRYPTED),
    ("ZIP packed with LZMA", _zip_method, Code.UNSUPPORTED_COMPRESSION),
    ("ZIP with a damaged member", _zip_damaged, Code.DAMAGED),
    ("ZIP that ends early", _zip_truncated, Code.DAMAGED),
    ("folder with a symbolic link", _link, Code.LINK),
    ("PNG of 20,000 x 20,000 pixels", _flood, Code.TOO_MANY_PIXELS),
    ("PNG that is an animation", _animation, Code.ANIMATION),
    ("PNG that ends early", _truncated_png, Code.DAMAGED),
    ("empty file", _bytes(b""), Code.EMPTY),
    ("file of zeros", _bytes(bytes(4096)), Code.DAMAGED),
    ("text", _bytes(b"name,age\nx,3\n"), Code.NOT_AN_IMAGE),
    ("program (ELF)", _bytes(b"\x7fELF" + bytes(600)), Code.PROGRAM),
    ("program (PE) in the preamble of DICOM", _preamble(b"MZ\x90"), Code.POLYGLOT),
    ("program (ELF) in the preamble of DICOM", _preamble(b"\x7fELF"), Code.POLYGLOT),
    ("script in the preamble of DICOM", _preamble(b"#!/bin/sh\n"), Code.POLYGLOT),
    ("HTML in the preamble of DICOM", _preamble(b"<html>"), Code.POLYGLOT),
    ("ZIP in the preamble of DICOM", _preamble(b"PK\x03\x04"), Code.POLYGLOT),
    ("DICOM, 300 MiB deflated", _deflate_bomb, Code.BOMB),
    ("DICOM of 60,000 x 60,000 pixels", _dicom(Rows=60_000, Columns=60_000), Code.TOO_MANY_PIXELS),
    ("DICOM that promises 12 rows and has 6", _dicom(Rows=12), Code.DAMAGED),
    ("DICOM of one element", _bytes(b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100"), Code.ELEMENT_ABSENT),
    ("DICOM of another modality", _dicom(Modality="MR"), Code.NOT_CT),
    ("localiser", _dicom(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), Code.LOCALISER),
    ("table of contents of a disc", _contents, Code.DICOMDIR),
    ("DICOM without an image", _dicom(PixelData=None), Code.NO_IMAGE),
    (
        "DICOM in colour",
        _dicom(SamplesPerPixel=3, PhotometricInterpretation="RGB"),
        Code.COLOUR,
    ),
    ("DICOM in another unit", _dicom(RescaleType="Z_EFF"), Code.NOT_HU),
    ("DICOM with a scale of 0", _dicom(RescaleSlope=0), Code.ELEMENT_MALFORMED),
    ("DICOM compressed as a film", _compressed("1.2.840.10008.1.2.4.100", bytes(8)),
     Code.UNSUPPORTED_COMPRESSION),
    ("run-length bomb", _compressed(RLELossless, bytes(2**18)), Code.DAMAGED),
    ("JPEG 2000 that is none", _compressed(JPEG2000Lossless, b"no image" * 9), Code.DAMAGED),
    ("multi-frame with 99,999 frames promised", _many_frames, Code.MULTI_FRAME),
    ("multi-frame that ends early", _frames_missing, Code.DAMAGED),
    ("NIfTI of several volumes", _nifti(np.zeros((4, 5, 6, 2), np.int16)), Code.SEVERAL_VOLUMES),
    ("NIfTI that is a mask", _nifti(np.ones((30, 30, 30), np.int16)), Code.NOT_HU),
    (
        "NIfTI of 32,000 x 32,000 x 32,000 voxels",
        _nifti(np.zeros((4, 5, 6), np.int16), dims=(32_000, 32_000, 32_000)),
        Code.TOO_MANY_PIXELS,
    ),
    ("NIfTI that ends early", _nifti(np.zeros((4, 5, 6), np.int16), dims=(40, 50, 60)),
     Code.DAMAGED),
    ("gzip bomb as NIfTI, 1 GiB in 1 MiB", _gzip_bomb, Code.DAMAGED),
    ("gzip of text", _gzip_of_text, Code.NOT_AN_IMAGE),
)  # fmt: skip
# Those that take long to make or to refuse; the suite leaves them to the table.
SLOW = frozenset({"ZIP with a file of 600 MiB", "gzip bomb as NIfTI, 1 GiB in 1 MiB"})


def main() -> int:
    print("| file | answer | seconds | of processor time | peak memory |")
    print("|---|---|---|---|---|")
    wrong = 0
    for name, make, code in BAD_FILES:
        with tempfile.TemporaryDirectory() as folder, Sandbox() as sandbox:
            bad, target = Path(folder) / "bad", Path(folder) / "volumes"
            target.mkdir()
            make(bad)
            # Starting the process is not the file's fault.
            good = write_ct(Path(folder) / "good")
            ingest([good], target_folder=target, worker=sandbox)
            used = _processor_seconds(sandbox)
            started = time.monotonic()
            result = ingest([bad], target_folder=target, worker=sandbox)
            seconds = time.monotonic() - started
            rows = [row for row in result.report if row.code]
            left = [path for path in target.rglob("*") if path.name[0] == "."]
            is_right = code in {row.code for row in rows} and not left
            wrong += not is_right
            answer = f"`{rows[0].code}`: {rows[0].reason}" if rows else "read"
            print(
                f"| {name} | {'' if is_right else 'WRONG '}{answer} | {seconds:.1f} | "
                f"{_processor_seconds(sandbox) - used:.1f} | {_peak_mib(sandbox)} MiB |",
                flush=True,
            )
    return 1 if wrong else 0


def _process(sandbox: Sandbox) -> Path:
    child = sandbox._child
    assert child is not None
    return Path(f"/proc/{child._process.pid}")


def _processor_seconds(sandbox: Sandbox) -> float:
    fields = (_process(sandbox) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak_mib(sandbox: Sandbox) -> int:
    status = (_process(sandbox) / "status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


if __name__ == "__main__":
    sys.exit(main())
