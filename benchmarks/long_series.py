"""Read a long series and say what it took: `python -m benchmarks.long_series`.

The series is a drawn body of 512 x 512 pixels, repeated. A process of its own reads it from a
volume file, as the worker would, so that the peak memory is that of one reading.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from detection.imaging.phantoms import make_phantom_volume, place_stones
from detection.imaging.volume import load_volume, write_volume
from detection.ml.bundle import load_default_bundle
from detection.ml.serving import Predictor

ROOT = Path(__file__).resolve().parent.parent
_SIDE = 512
_PIXEL_MM = 400 / _SIDE


def write_long_series(path: Path, *, slices: int) -> None:
    """Write a volume of 1 mm slices, one at a time."""
    generator = np.random.default_rng(1)
    stones = place_stones([6.0], hu=[900.0], generator=generator)
    body = make_phantom_volume(
        stones, generator=generator, slice_mm=1.0, pixel_mm=_PIXEL_MM, height_mm=80
    ).volume
    assert body.affine_lps is not None
    drawn, rows, _ = body.pixels.shape
    with write_volume(path, shape=(slices, _SIDE, _SIDE), is_hu=True) as writer:
        for index in range(slices):
            square = np.full((_SIDE, _SIDE), -1000, np.int16)
            square[:rows] = body.pixels[index % drawn]
            writer.write_slice(index, square)
        told = {**body.header(), "slices": slices, "rows": _SIDE, "columns": _SIDE}
        writer.finish(told)


def read(path: Path) -> dict[str, float]:
    """Read a volume file as the worker does; return seconds and peak memory in MiB."""
    predictor = Predictor(load_default_bundle(ROOT / "ml_models"))
    volume = load_volume(path)
    peak_anonymous = 0
    pictures = 0

    def watch(done: int, total: int) -> None:
        nonlocal peak_anonymous, pictures
        pictures = total
        peak_anonymous = max(peak_anonymous, memory_kib("RssAnon"))

    start = time.perf_counter()
    assessment = predictor.assess(volume, progress=watch)
    return {
        "seconds": time.perf_counter() - start,
        "pictures": pictures,
        "stones": len(assessment.findings),
        "peak_mib": memory_kib("VmHWM") / 1024,
        "peak_anonymous_mib": peak_anonymous / 1024,
    }


def memory_kib(name: str) -> int:
    """Return KiB of this process: VmHWM is the peak, RssAnon all that is no mapped file."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=1000)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        print(json.dumps(read(options.read)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.volume"
        write_long_series(path, slices=options.slices)
        command = [sys.executable, "-m", "benchmarks.long_series", "--read", str(path)]
        run = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    told = json.loads(run.stdout)
    print(
        f"{options.slices} slices of {_SIDE} x {_SIDE}: {told['pictures']:.0f} pictures read in "
        f"{told['seconds']:.0f} s, peak memory {told['peak_mib']:.0f} MiB, of which not the mapped "
        f"file {told['peak_anonymous_mib']:.0f} MiB (load {os.getloadavg()[0]:.1f} on "
        f"{os.cpu_count()} cores)"
    )


if __name__ == "__main__":
    main()
