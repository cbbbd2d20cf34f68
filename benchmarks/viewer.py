"""Measure what a reader of a 300-slice series waits for: the first image, and each next slice.

`python -m benchmarks.viewer` makes a synthetic series of 300 slices of 512 x 512 in a folder of its
own. It serves it as `make run` does (one web process, SQLite, loopback) and drives the page in
headless Chromium. Beside that folder it writes nothing but the collected static files.
"""

import argparse
import os
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

import numpy as np
from cryptography.fernet import Fernet
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
USER, PASSWORD = "reader", secrets.token_urlsafe(16)
SHAPE = (300, 512, 512)
SPACING_MM = (1.0, 0.8, 0.8)

# Press a key and wait until the picture on the screen is another one.
NEXT_SLICE = """
(key) => new Promise((resolve) => {
  const pane = document.querySelector("[data-pane].is-main");
  const before = pane.dataset.slice;
  const begin = performance.now();
  const look = () => pane.dataset.slice === before ? requestAnimationFrame(look)
    : resolve(performance.now() - begin);
  document.querySelector("[data-stage]").dispatchEvent(
    new KeyboardEvent("keydown", { key, bubbles: true }));
  look();
})
"""


def synthetic_series() -> np.ndarray:
    """Return an ellipse of soft tissue, as noisy and hard to compress as real slices."""
    _, rows, columns = SHAPE
    y, x = np.ogrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    body = np.where((x / 0.85) ** 2 + (y / 0.6) ** 2 < 1, 40, -1000)
    noise = np.random.default_rng(0).normal(0, 12, (8, rows, columns))
    return np.stack([body + noise[i % 8] for i in range(SHAPE[0])]).astype(np.int16)


def make_study() -> str:
    """Make the database, a reader and the study; return the address of its page."""
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command

    from accounts.services import user_create
    from detection.imaging.volume import Volume, save_volume
    from detection.models import Series, Study, Upload

    call_command("migrate", verbosity=0)
    user = user_create(
        username=USER, email="reader@example.org", role="radiologist", password=PASSWORD
    )
    upload = Upload.objects.create(uploaded_by=user, status=Upload.Status.FINISHED)
    study = Study.objects.create(
        upload=upload, uploaded_by=user, status=Study.Status.FAILED, message="Not read."
    )
    slices, rows, columns = SHAPE
    series = Series.objects.create(
        study=study,
        slices=slices,
        rows=rows,
        columns=columns,
        is_hu=True,
        plane="axial",
        volume_path="volumes/benchmark.vol",
    )
    slice_mm, row_mm, column_mm = SPACING_MM
    path = Path(settings.MEDIA_ROOT) / series.volume_path
    path.parent.mkdir(parents=True)
    save_volume(
        Volume(
            pixels=synthetic_series(),
            is_hu=True,
            spacing_mm=SPACING_MM,
            plane="axial",
            affine_lps=(
                (column_mm, 0.0, 0.0, 0.0),
                (0.0, row_mm, 0.0, 0.0),
                (0.0, 0.0, slice_mm, 0.0),
                (0.0, 0.0, 0.0, 1.0),
            ),
        ),
        path,
    )
    call_command("collectstatic", interactive=False, verbosity=0)
    return study.get_absolute_url()


def serve(port: int) -> subprocess.Popen:
    command = [sys.executable, "-m", "gunicorn", "kidneyweb.wsgi", "--worker-class", "gthread"]
    command += ["--threads", "8", "--bind", f"127.0.0.1:{port}", "--no-control-socket"]
    process = subprocess.Popen([*command, "--log-level", "error"], cwd=ROOT)
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urlopen(f"http://127.0.0.1:{port}/accounts/sign-in/", timeout=60).close()
            return process
        except OSError:
            time.sleep(0.2)
    process.terminate()
    raise SystemExit("The web process does not answer.")


def measure_first_image(page: Page, address: str, *, runs: int) -> list[float]:
    """Return the times from asking for the page to its first slice on the screen, in ms."""
    times = []
    for _ in range(runs):
        page.goto(address)
        page.wait_for_function("performance.getEntriesByName('viewer-first-image').length > 0")
        times.append(
            page.evaluate("performance.getEntriesByName('viewer-first-image')[0].startTime")
        )
    return times


def measure_scroll(page: Page, *, keys: list[str], pause_ms: float) -> list[float]:
    """Return the times from a key to the next slice on the screen, in ms."""
    times = []
    for key in keys:
        times.append(page.evaluate(NEXT_SLICE, key))
        page.wait_for_timeout(pause_ms)
    return times


def line(what: str, times_ms: list[float]) -> str:
    share = statistics.quantiles(times_ms, n=20)[18]
    return f"| {what} | {len(times_ms)} | {statistics.median(times_ms):.0f} | {share:.0f} |"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="how often the page is opened")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    options = parser.parse_args()
    port = options.port or free_port()
    with tempfile.TemporaryDirectory(prefix="kidneyweb-viewer-") as folder:
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "kidneyweb.settings",
            "SECRET_KEY": secrets.token_urlsafe(50),
            "IDENTIFIER_KEYS": Fernet.generate_key().decode(),
            "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3",
            "KIDNEYWEB_DATA_DIR": folder,
            "KIDNEYWEB_DEMO": "0",
            "KIDNEYWEB_HTTPS": "0",
            "DEBUG": "0",
            "LOG_LEVEL": "ERROR",
            "ALLOWED_HOSTS": "127.0.0.1",
        }
        address = make_study()
        web = serve(port)
        try:
            with sync_playwright() as playwright:
                report(playwright, f"http://127.0.0.1:{port}", address, runs=options.runs)
        finally:
            web.terminate()
            web.wait(timeout=30)


def report(playwright, base_url: str, address: str, *, runs: int) -> None:
    browser = playwright.chromium.launch(
        executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
    )
    page = browser.new_context(
        base_url=base_url,
        viewport={"width": 1440, "height": 1000},
        # To wait for a condition is to evaluate a string, which the pages forbid.
        bypass_csp=True,
    ).new_page()
    page.set_default_timeout(120_000)
    page.goto("/")
    page.get_by_label("Username").fill(USER)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/studies/")
    print("| what | n | median ms | 95 % ms |\n|---|---:|---:|---:|")
    times = measure_first_image(page, address, runs=runs)
    print(line("open the page to the first image", times), flush=True)
    times = measure_scroll(page, keys=["ArrowDown"] * 120, pause_ms=30)
    print(line("next axial slice, key held", times), flush=True)
    times = measure_scroll(page, keys=["PageUp", "PageUp", "PageDown"] * 20, pause_ms=30)
    print(line("ten axial slices on", times), flush=True)
    page.get_by_role("button", name="Show the coronal plane large").click()
    times = measure_scroll(page, keys=["ArrowDown"] * 120, pause_ms=30)
    print(line("next coronal cut, key held", times), flush=True)
    page.get_by_role("button", name="Show the sagittal plane large").click()
    times = measure_scroll(page, keys=["ArrowDown"] * 120, pause_ms=30)
    print(line("next sagittal cut, key held", times), flush=True)
    browser.close()


if __name__ == "__main__":
    main()
