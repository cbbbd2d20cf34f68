"""Measure what a person waits for, each as a ratio to a fixed piece of work in the same run.

Run it with `make bench`. Seconds depend on the machine and on what else it does; the ratios carry
over far better.
"""

import argparse
import io
import os
import platform
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from detection.imaging.decode import decode_file
from detection.ml.bundle import load_default_bundle
from detection.ml.predictor import Predictor

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks/RESULTS.md"


def phantom_slice(side: int = 512) -> np.ndarray:
    """Return a grey slice that passes the input gate: a body with soft texture and organs."""
    rng = np.random.default_rng(1)
    image = np.zeros((side, side), dtype=np.float32)
    centre = side // 2
    cv2.ellipse(image, (centre, centre), (side * 4 // 10, side * 3 // 10), 0, 0, 360, 110, -1)
    for x in (side * 35 // 100, side * 65 // 100):
        cv2.ellipse(image, (x, centre), (side // 16, side // 11), 0, 0, 360, 150, -1)
    image += cv2.GaussianBlur(rng.normal(0, 60, image.shape).astype(np.float32), (0, 0), 2)
    return np.clip(image, 0, 255).astype(np.uint8)


def seconds(work: Callable[[], object], *, repeats: int) -> float:
    """Return the median wall time of `work`, after one run that is not counted."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def start_python(program: str) -> Callable[[], object]:
    environment = {
        **os.environ,
        "SECRET_KEY": os.environ.get("SECRET_KEY") or secrets.token_urlsafe(50),
        "DATABASE_URL": "sqlite://:memory:",
        "DJANGO_SETTINGS_MODULE": "kidneyweb.settings",
    }
    command = [sys.executable, "-c", program]
    return lambda: subprocess.run(command, cwd=ROOT, env=environment, check=True)


def measure(*, repeats: int) -> list[tuple[str, float, str, float]]:
    """Return rows of (what, seconds, the work it is compared with, seconds of that)."""
    left = np.random.default_rng(1).random((1024, 1024), dtype=np.float32)
    product = seconds(lambda: left @ left, repeats=repeats)
    bare = seconds(start_python("pass"), repeats=repeats)
    wsgi = seconds(start_python("import kidneyweb.wsgi"), repeats=repeats)

    buffer = io.BytesIO()
    Image.fromarray(phantom_slice()).save(buffer, format="PNG")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slice.png"
        path.write_bytes(buffer.getvalue())
        decode = seconds(lambda: decode_file(path), repeats=repeats)
        volume = decode_file(path)

    load = seconds(lambda: Predictor(load_default_bundle(ROOT / "ml_models")), repeats=repeats)
    predictor = Predictor(load_default_bundle(ROOT / "ml_models"))
    assess = seconds(lambda: predictor.assess(volume), repeats=repeats)
    return [
        ("Read one decoded slice with the shipped model", assess, "a 1024 x 1024 product", product),
        ("Read one decoded slice with the shipped model", assess, "decode that slice", decode),
        ("Load and verify the shipped model", load, "a 1024 x 1024 product", product),
        ("Start Python and import kidneyweb.wsgi", wsgi, "start Python alone", bare),
    ]


def report(rows: list[tuple[str, float, str, float]], *, model: str) -> str:
    lines = [
        "# Measured",
        "",
        f"By `make bench` on {datetime.now(UTC):%Y-%m-%d}, model `{model}`, Python "
        f"{platform.python_version()}, {os.cpu_count()} cores ({platform.machine()}). Medians; "
        "one PNG of 512 x 512.",
        "",
        "| what | ms | compared with | ms | ratio |",
        "|---|---:|---|---:|---:|",
    ]
    lines += [
        f"| {what} | {1000 * taken:.1f} | {other} | {1000 * compared:.1f} "
        f"| {taken / compared:.2f} |"
        for what, taken, other, compared in rows
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    model = load_default_bundle(ROOT / "ml_models").name
    text = report(measure(repeats=options.repeats), model=model)
    options.out.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
