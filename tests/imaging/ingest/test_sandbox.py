import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detection.imaging.ingest import decode_all, sandbox
from detection.imaging.limits import LIMITS, Limits
from detection.imaging.volume import load_volume
from tests.imaging.synthetic import png_bytes, write_ct

ENCODINGS = Path(__file__).resolve().parents[2] / "samples" / "ct_encodings"
ROOT = Path(__file__).resolve().parents[3]
FAILED = "The file could not be read: decoding it failed. It may be damaged"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def jobs_of(folder, sources):
    return [(source, folder / f"{index}.npz") for index, source in enumerate(sources)]


def decoders():
    """Process ids of our own decoding processes."""
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()
    return [
        int(child)
        for child in children
        if b"detection.imaging" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


@pytest.fixture
def three(tmp_path):
    return jobs_of(tmp_path, [write_ct(tmp_path / f"{number}.dcm") for number in range(3)])


def test_each_file_gets_its_volume_or_its_sentence(tmp_path):
    (tmp_path / "a.png").write_text("no image")
    sources = [
        write_ct(tmp_path / "good"),
        tmp_path / "a.png",
        tmp_path / "nothing",
        # One that only SimpleITK reads.
        ENCODINGS / "JPEGProcess2_4_1.2.840.10008.1.2.4.51.dcm",
    ]
    jobs = jobs_of(tmp_path, sources)
    outcomes = list(decode_all(jobs))

    assert [outcome.index for outcome in outcomes] == [0, 1, 2, 3]
    assert [outcome.header is None for outcome in outcomes] == [False, True, True, False]
    assert [target.exists() for _, target in jobs] == [True, False, False, True]
    assert outcomes[0].header == load_volume(jobs[0][1]).header()
    assert outcomes[0].error is None
    assert "text" in outcomes[1].error
    assert "No such file" in outcomes[2].error
    assert "lossy" in outcomes[3].header["caveats"][0]
    assert decoders() == []


def test_nothing_is_started_for_no_files():
    assert list(decode_all([])) == []


def test_relative_paths_are_those_of_the_caller(tmp_path, monkeypatch):
    write_ct(tmp_path / "x")
    monkeypatch.chdir(tmp_path)
    (outcome,) = decode_all([(Path("x"), Path("x.npz"))])

    assert outcome.header is not None
    assert (tmp_path / "x.npz").is_file()


def test_child_that_dies_on_a_file_costs_that_file_only(three):
    outcomes = decode_all(three)
    assert next(outcomes).header is not None
    (first,) = decoders()
    # It cannot answer while it is stopped, so it is sure to die over the second file.
    os.kill(first, signal.SIGSTOP)
    killer = threading.Timer(0.2, os.kill, (first, signal.SIGKILL))
    killer.start()
    died, last = outcomes

    killer.join()
    assert died.error.startswith(FAILED)
    assert died.header is None
    assert last.header is not None
    assert [target.exists() for _, target in three] == [True, False, True]
    assert decoders() == []


def test_child_that_hangs_on_a_file_is_ended_after_its_time(three):
    outcomes = decode_all(three, limits=Limits(seconds_per_file=2))
    assert next(outcomes).header is not None
    (first,) = decoders()
    os.kill(first, signal.SIGSTOP)
    started = time.monotonic()
    hung = next(outcomes)

    assert time.monotonic() - started > 1.9
    assert "within 2 seconds" in hung.error
    assert not Path(f"/proc/{first}").exists()
    assert [outcome.header is not None for outcome in outcomes] == [True]
    assert decoders() == []


def test_child_that_died_between_two_files_costs_none(three):
    outcomes = decode_all(three)
    next(outcomes)
    (first,) = decoders()
    os.kill(first, signal.SIGKILL)
    # Reaped by nobody yet, but dead.
    deadline = time.monotonic() + 60
    while not re.search(r"State:\s+Z", Path(f"/proc/{first}/status").read_text()):
        assert time.monotonic() < deadline

    assert [outcome.header is not None for outcome in outcomes] == [True, True]


def test_caller_that_stops_early_leaves_no_child(three):
    outcomes = decode_all(three)
    next(outcomes)
    assert len(decoders()) == 1
    outcomes.close()

    assert decoders() == []


def test_child_ends_with_its_parent(tmp_path):
    source = write_ct(tmp_path / "x")
    script = (
        "import os, signal, sys, threading\n"
        "from pathlib import Path\n"
        "from detection.imaging.ingest import decode_all\n"
        f"jobs = [(Path({str(source)!r}), Path({str(tmp_path / 'x.npz')!r}))] * 2\n"
        "outcomes = decode_all(jobs)\n"
        "next(outcomes)\n"
        "own = f'/proc/self/task/{threading.get_native_id()}/children'\n"
        "child = int(open(own).read().split()[0])\n"
        # Stopped, it could not read the end of its input: only the signal can end it.
        "os.kill(child, signal.SIGSTOP)\n"
        "print(child, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    parent = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=300
    )

    assert parent.returncode == -signal.SIGKILL
    child = int(parent.stdout)
    deadline = time.monotonic() + 60
    while is_running(child) and time.monotonic() < deadline:
        pass
    assert not is_running(child)


def is_running(pid):
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_file_that_needs_more_memory_than_allowed_is_refused_and_the_next_one_read(tmp_path):
    side = 5000
    giant = tmp_path / "giant.png"
    giant.write_bytes(
        png_bytes(width=side, height=side, colour_type=2, rows=bytes((side * 3 + 1) * side))
    )
    # Within the bound on pixels, and small as a file.
    assert side * side < LIMITS.max_pixels
    assert giant.stat().st_size < 2**20
    jobs = jobs_of(tmp_path, [giant, write_ct(tmp_path / "good")])
    refused, good = decode_all(jobs, limits=Limits(memory_bytes=320 * 2**20))

    assert "memory" in refused.error
    assert good.header is not None


def test_largest_picture_allowed_fits_into_the_memory_allowed(tmp_path):
    side = int(LIMITS.max_pixels**0.5)
    data = png_bytes(width=side, height=side, colour_type=2, rows=bytes((side * 3 + 1) * side))
    (tmp_path / "x").write_bytes(data)
    (outcome,) = decode_all(jobs_of(tmp_path, [tmp_path / "x"]))

    assert outcome.error is None
    assert outcome.header["rows"] == side


def test_volume_larger_than_may_be_written_is_refused(tmp_path):
    noise = np.random.default_rng(1).integers(0, 255, (300, 300), np.uint8)
    Image.fromarray(noise).save(tmp_path / "x", format="PNG")
    jobs = jobs_of(tmp_path, [tmp_path / "x", write_ct(tmp_path / "good")])
    refused, good = decode_all(jobs, limits=Limits(max_written_bytes=20_000))

    assert "stored: File too large" in refused.error
    assert good.header is not None
    assert sorted(path.name for path in tmp_path.glob("*.npz")) == ["1.npz"]
    assert list(tmp_path.glob(".*")) == []


def test_child_limits_itself(three):
    outcomes = decode_all(three, limits=Limits(cpu_seconds_per_file=7))
    next(outcomes)
    (child,) = decoders()
    lines = Path(f"/proc/{child}/limits").read_text().splitlines()
    limits = {line[:25].strip(): line[25:].split()[0] for line in lines}
    outcomes.close()

    assert limits["Max address space"] == str(LIMITS.memory_bytes)
    assert limits["Max file size"] == str(LIMITS.max_written_bytes)
    assert limits["Max core file size"] == "0"
    assert 7 <= int(limits["Max cpu time"]) <= 12


def test_child_gets_no_secrets(three, monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "of-the-worker")
    outcomes = decode_all(three)
    next(outcomes)
    (child,) = decoders()
    environment = Path(f"/proc/{child}/environ").read_bytes()
    outcomes.close()

    assert b"of-the-worker" not in environment
    assert b"DATABASE_URL" not in environment


def test_child_that_does_not_start_is_a_fault_of_the_installation(three, monkeypatch):
    monkeypatch.setattr(sandbox, "_PROJECT_ROOT", three[0][0].parent)

    with pytest.raises(ChildProcessError, match="does not start"):
        list(decode_all(three))
    assert decoders() == []


def test_child_loads_nothing_heavy():
    script = (
        "import sys\n"
        "import detection.imaging.ingest.child, detection.imaging.ingest.jobs\n"
        "heavy = {'SimpleITK', 'cv2', 'django', 'tensorflow', 'onnxruntime'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    started = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert started.stdout.strip() == "[]"
