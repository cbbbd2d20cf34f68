"""Changes good files at random and reads them: every answer must be a volume or a sentence.

`python -m tests.imaging.fuzz_decode --seconds N` says how many inputs were tried. What would have
been an uncaught exception or took too long is kept in the folder that is printed, with its seed.
"""

import argparse
import collections
import faulthandler
import gzip
import io
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from detection.imaging.ingest import ingest
from detection.imaging.ingest.jobs import InProcess
from detection.imaging.limits import Limits
from detection.imaging.volume import load_volume
from tests.imaging.synthetic import ct_dataset, enhanced_dataset, laid_out, write_series

# Small bounds, so that what passes them is quick.
LIMITS = Limits(
    max_file_bytes=4 * 2**20,
    max_pixels=250_000,
    max_inflated_bytes=2**20,
    max_voxels=2_000_000,
    max_slices=200,
    max_files=100,
    max_total_bytes=8 * 2**20,
)
HANG_SECONDS = 20.0
_INTERESTING = (0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF)


def seeds() -> dict[str, bytes]:
    """Good files of every kind, small."""
    pixels_hu = np.random.default_rng(0).integers(-900, 900, (4, 34, 36)).astype(np.int16)
    found: dict[str, bytes] = {}
    for syntax in (None, RLELossless, JPEG2000Lossless, JPEGLSLossless):
        dataset = ct_dataset(pixels_hu[0], ImagePositionPatient=[0, 0, 0])
        many = enhanced_dataset(pixels_hu)
        for name, one in (("single", dataset), ("multi", many)):
            if syntax:
                one.compress(syntax, generate_instance_uid=False)
            data = io.BytesIO()
            one.save_as(data, enforce_file_format=True)
            found[f"{name} {syntax}"] = data.getvalue()
    one = ct_dataset(pixels_hu[0], ImagePositionPatient=[0, 0, 0])
    for name, meta in (("no preamble", True), ("no header", False)):
        for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian):
            found[f"{name} {syntax}"] = laid_out(one, preamble=False, meta=meta, told=syntax)
    image = nibabel.Nifti1Image(pixels_hu, np.diag([1, 1, 2, 1]))
    found["nifti"] = image.to_bytes()
    found["nifti gz"] = gzip.compress(found["nifti"])
    found["nifti 2"] = nibabel.Nifti2Image(pixels_hu, np.eye(4)).to_bytes()
    for kind in ("PNG", "JPEG"):
        data = io.BytesIO()
        Image.fromarray((pixels_hu[0] // 8 + 120).astype(np.uint8)).save(data, kind)
        found[kind] = data.getvalue()
    with tempfile.TemporaryDirectory() as folder:
        paths = write_series(Path(folder), pixels_hu)
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in paths:
                archive.write(path, path.name)
            archive.writestr("x.nii.gz", found["nifti gz"])
        found["zip"] = data.getvalue()
    return found


def mutated(data: bytes, generator: np.random.Generator) -> bytes:
    """Change, remove, repeat, insert or cut off some bytes; headers more often than pixels."""
    changed = bytearray(data)
    for _ in range(int(generator.integers(1, 6))):
        reach = len(changed) if generator.random() < 0.4 else min(len(changed), 1600)
        at = int(generator.integers(0, max(1, reach)))
        length = int(generator.integers(1, 9))
        match int(generator.integers(0, 7)):
            case 0:
                changed[at : at + 1] = bytes([1 << int(generator.integers(0, 8))])
            case 1:
                changed[at : at + length] = generator.bytes(length)
            case 2:
                value = _INTERESTING[int(generator.integers(0, len(_INTERESTING)))]
                changed[at : at + length] = bytes([value]) * length
            case 3:
                del changed[at : at + length]
            case 4:
                changed[at:at] = changed[at : at + 8 * length]
            case 5:
                changed[at:at] = generator.bytes(length)
            case _:
                if generator.random() < 0.3:
                    del changed[at:]
    return bytes(changed)


def inputs(seed: int) -> Iterator[tuple[str, bytes]]:
    generator = np.random.default_rng(seed)
    good = list(seeds().items())
    while True:
        name, data = good[int(generator.integers(0, len(good)))]
        yield name, mutated(data, generator)


def fuzz(*, seconds: float, most: int, seed: int, keep: Path) -> tuple[collections.Counter, int]:
    """Return how often each answer was given, and how many inputs did not get one in time."""
    answers: collections.Counter = collections.Counter()
    bad = 0
    deadline = time.monotonic() + seconds
    worker = InProcess(limits=LIMITS)
    with tempfile.TemporaryDirectory() as folder:
        target, path = Path(folder) / "volumes", Path(folder) / "input"
        target.mkdir()
        for number, (name, data) in enumerate(inputs(seed)):
            if time.monotonic() > deadline or number >= most:
                break
            path.write_bytes(data)
            # A codec that hangs is shown with its stack, and the process ends.
            faulthandler.dump_traceback_later(HANG_SECONDS * 6, exit=True)
            started = time.process_time()
            try:
                result = ingest([path], target_folder=target, limits=LIMITS, worker=worker)
                for series in result.series:
                    load_volume(series.volume_path)
                    series.volume_path.unlink()
                answers.update(row.code or "read" for row in result.report)
                is_bad = time.process_time() - started > HANG_SECONDS or any(target.iterdir())
            except Exception:
                traceback.print_exc()
                is_bad = True
            finally:
                faulthandler.cancel_dump_traceback_later()
            if is_bad:
                bad += 1
                (keep / f"{seed}-{number}-{name.replace(' ', '_')}").write_bytes(data)
            answers["inputs"] += 1
    return answers, bad


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    keep = Path(tempfile.mkdtemp(prefix="fuzz-"))
    answers, bad = fuzz(seconds=options.seconds, most=10**9, seed=options.seed, keep=keep)
    print(f"{answers.pop('inputs')} inputs, {bad} without an answer or too slow (kept in {keep})")
    for answer, count in answers.most_common():
        print(f"{count:8d} {answer}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
