"""Measure what a person waits for, and its parts as ratios to fixed work in the same run.

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
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np
from PIL import Image

from detection.imaging.formats import decode_file
from detection.ml.bundle import load_default_bundle
from detection.ml.serving import Predictor

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks/RESULTS.md"
# Uploads a file so many times and prints the seconds until each had its reading.
UPLOADS = """
import io, sys, time
import django
django.setup()
from PIL import Image
from django.core.files.uploadedfile import SimpleUploadedFile
from accounts.models import User
from detection.models import Study
from detection.services.uploads import upload_create
picture, user = Image.open(sys.argv[1]), User.objects.get(username="radiologist")
for number in range(int(sys.argv[2])):
    # Another picture each time: one that is here already is not read again.
    picture.putpixel((0, 0), number)
    content = io.BytesIO()
    picture.save(content, "PNG")
    file = SimpleUploadedFile("slice.png", content.getvalue())
    start = time.perf_counter()
    upload = upload_create(uploaded_by=user, files=[file])
    while not upload.studies.exists() or not all(study.is_final for study in upload.studies.all()):
        time.sleep(0.02)
    # The input gate refuses a drawn slice, after the network has read it.
    assert upload.studies.get().status in (Study.Status.SUCCEEDED, Study.Status.REFUSED)
    print(time.perf_counter() - start)
"""


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


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(phantom_slice()).save(buffer, format="PNG")
    return buffer.getvalue()


def seconds(work: Callable[[], object], *, repeats: int) -> float:
    """Return the median wall time of `work`, after one run that is not counted."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of an installation of its own below `folder`."""
    return {
        **os.environ,
        "SECRET_KEY": os.environ.get("SECRET_KEY") or secrets.token_urlsafe(50),
        "IDENTIFIER_KEYS": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "DATABASE_URL": f"sqlite:///{quote(str(folder / 'bench.sqlite3'))}",
        "DJANGO_SETTINGS_MODULE": "kidneyweb.settings",
        "KIDNEYWEB_DATA_DIR": str(folder / "data"),
        "KIDNEYWEB_DEMO": "1",
    }


def start_python(program: str, *, folder: Path) -> Callable[[], object]:
    command = [sys.executable, "-c", program]
    return lambda: subprocess.run(command, cwd=ROOT, env=environment(folder), check=True)


def start_worker(folder: Path) -> tuple[subprocess.Popen[bytes], float]:
    """Start the prediction worker; return it and the seconds until it was ready."""
    start = time.perf_counter()
    worker = subprocess.Popen(
        [sys.executable, "manage.py", "worker", "--queue", "default"],
        cwd=ROOT,
        env=environment(folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert worker.stderr is not None
    for line in worker.stderr:
        if b"worker ready" in line:
            taken = time.perf_counter() - start
            # Read on, or the worker would wait for its full pipe.
            threading.Thread(target=worker.stderr.read, daemon=True).start()
            return worker, taken
    raise ChildProcessError("The worker did not start.")


def measure_waits(*, repeats: int) -> list[tuple[str, float, float]]:
    """Return rows of (what, seconds, seconds promised) of an installation as `make run` has it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare = [sys.executable, "-m", "scripts.prepare"]
        subprocess.run(
            prepare, cwd=ROOT, env=environment(folder), check=True, stdout=subprocess.DEVNULL
        )
        wsgi = seconds(start_python("import kidneyweb.wsgi", folder=folder), repeats=repeats)
        ready = []
        for _ in range(5):
            worker, taken = start_worker(folder)
            ready.append(taken)
            worker.terminate()
            worker.wait()
        worker, _ = start_worker(folder)
        try:
            (folder / "slice.png").write_bytes(picture())
            answered = subprocess.run(
                [sys.executable, "-c", UPLOADS, str(folder / "slice.png"), str(repeats)],
                cwd=ROOT,
                env=environment(folder),
                check=True,
                stdout=subprocess.PIPE,
            )
        finally:
            worker.terminate()
            worker.wait()
    uploads = [float(line) for line in answered.stdout.split()]
    return [
        ("Import kidneyweb.wsgi", wsgi, 2.0),
        ("Start the prediction worker until it is ready", statistics.median(ready), 5.0),
        ("From an upload to its stored reading", statistics.median(uploads), 3.0),
    ]


def measure(*, repeats: int) -> list[tuple[str, float, str, float]]:
    """Return rows of (what, seconds, the work it is compared with, seconds of that)."""
    left = np.random.default_rng(1).random((1024, 1024), dtype=np.float32)
    product = seconds(lambda: left @ left, repeats=repeats)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slice.png"
        path.write_bytes(picture())
        decode = seconds(lambda: decode_file(path), repeats=repeats)
        volume = decode_file(path)

    load = seconds(lambda: Predictor(load_default_bundle(ROOT / "ml_models")), repeats=repeats)
    predictor = Predictor(load_default_bundle(ROOT / "ml_models"))
    assess = seconds(lambda: predictor.assess(volume), repeats=repeats)
    return [
        ("Read one decoded slice with the shipped model", assess, "a 1024 x 1024 product", product),
        ("Read one decoded slice with the shipped model", assess, "decode that slice", decode),
        ("Load and verify the shipped model", load, "a 1024 x 1024 product", product),
    ]


def report(
    rows: list[tuple[str, float, str, float]],
    waits: list[tuple[str, float, float]],
    *,
    model: str,
    load: float,
) -> str:
    lines = [
        "# Measured",
        "",
        f"By `make bench` on {datetime.now(UTC):%Y-%m-%d}, model `{model}`, Python "
        f"{platform.python_version()}, {os.cpu_count()} cores ({platform.machine()}), "
        f"load {load:.1f} before it began. Medians; one PNG of 512 x 512.",
        "",
        "| what | ms | compared with | ms | ratio |",
        "|---|---:|---|---:|---:|",
    ]
    lines += [
        f"| {what} | {1000 * taken:.1f} | {other} | {1000 * compared:.1f} "
        f"| {taken / compared:.2f} |"
        for what, taken, other, compared in rows
    ]
    lines += ["", "| what a person waits for | s | at most |", "|---|---:|---:|"]
    lines += [f"| {what} | {taken:.2f} | {promised:g} |" for what, taken, promised in waits]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    model = load_default_bundle(ROOT / "ml_models").name
    load = os.getloadavg()[0]
    text = report(
        measure(repeats=options.repeats),
        measure_waits(repeats=options.repeats),
        model=model,
        load=load,
    )
    options.out.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
