import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from detection.imaging.errors import Code
from detection.imaging.ingest import Sandbox, ingest, sandbox
from detection.imaging.limits import LIMITS, Limits
from detection.imaging.volume import Volume, load_volume, save_volume
from tests.imaging.synthetic import png_bytes, write_ct
from tests.processes import is_alive, wait_for

ENCODINGS = Path(__file__).resolve().parents[2] / "samples" / "ct_encodings"
ROOT = Path(__file__).resolve().parents[3]
FAILED = "The file could not be read: decoding it failed. It may be damaged"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


PICTURE = Volume(pixels=np.zeros((1, 4, 4), np.uint8), is_hu=False).header()


@dataclass
class Lying:
    """A worker that was taken over: calls every file a picture and answers what it is told to."""

    answer: dict[str, Any]
    pixels: Any = None

    def run(self, job, *, timeout_seconds, progress=None):
        if job["do"] == "scan":
            return {"kind": "png"}
        if self.pixels is not None:
            save_volume(Volume(pixels=self.pixels, is_hu=False), Path(job["target"]))
        return self.answer


@dataclass(frozen=True)
class Outcome:
    """What became of one file: the header of its volume, or the sentence of its refusal."""

    path: Path | None = None
    header: dict[str, Any] | None = None
    error: str | None = None


def read_each(paths, **limits) -> Iterator[Outcome]:
    """Read files one by one in one child, as the pictures of an upload are; stops when closed."""
    limits = Limits(**limits)
    target = paths[0].parent / "volumes"
    target.mkdir(exist_ok=True)
    with Sandbox(limits=limits) as child:
        for path in paths:
            result = ingest([path], target_folder=target, limits=limits, worker=child)
            (row,) = result.report
            if result.series:
                (one,) = result.series
                yield Outcome(path=one.volume_path, header=one.header)
            else:
                yield Outcome(error=f"{row.reason} {row.advice}".strip())


def stored(folder):
    return sorted(path.name for path in (folder / "volumes").iterdir())


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
    return [write_ct(tmp_path / f"{number}.dcm") for number in range(3)]


def test_each_file_gets_its_volume_or_its_sentence(tmp_path):
    (tmp_path / "a.png").write_text("no image")
    (tmp_path / "volumes").mkdir()
    sources = [
        write_ct(tmp_path / "good"),
        tmp_path / "a.png",
        tmp_path / "nothing",
        # One that only SimpleITK reads.
        ENCODINGS / "JPEGProcess2_4_1.2.840.10008.1.2.4.51.dcm",
    ]
    result = ingest(sources, target_folder=tmp_path / "volumes")

    assert [row.source_index for row in result.report] == [0, 1, 2, 3]
    assert [row.status for row in result.report] == ["accepted", "refused", "refused", "accepted"]
    good, by_simpleitk = result.series
    assert (good.source_indices, by_simpleitk.source_indices) == ((0,), (3,))
    assert stored(tmp_path) == sorted(one.volume_path.name for one in result.series)
    assert good.header == load_volume(good.volume_path).header()
    assert result.report[0].reason == ""
    assert "text" in result.report[1].reason
    assert "No such file" in result.report[2].reason
    assert Code.LOSSY in [notice.code for notice in by_simpleitk.notices]
    assert decoders() == []


def test_nothing_is_started_for_no_files(tmp_path):
    with Sandbox() as child:
        result = ingest([], target_folder=tmp_path, worker=child)
        assert decoders() == []

    assert (result.series, result.report) == ((), ())


def test_relative_paths_are_those_of_the_caller(tmp_path, monkeypatch):
    write_ct(tmp_path / "x")
    (tmp_path / "volumes").mkdir()
    monkeypatch.chdir(tmp_path)
    (one,) = ingest([Path("x")], target_folder=Path("volumes")).series

    assert one.header["slices"] == 1
    assert (tmp_path / one.volume_path).is_file()


def test_child_that_dies_on_a_file_costs_that_file_only(three, monkeypatch):
    outcomes = read_each(three)
    assert next(outcomes).header is not None
    (first,) = decoders()
    # It cannot answer while it is stopped, and dies once the second file has been sent to it.
    os.kill(first, signal.SIGSTOP)
    receive = sandbox._Child.receive

    def kill_and_receive(child, *, timeout_seconds):
        if child._process.pid == first:
            os.kill(first, signal.SIGKILL)
        return receive(child, timeout_seconds=timeout_seconds)

    monkeypatch.setattr(sandbox._Child, "receive", kill_and_receive)
    died, last = outcomes

    assert died.error.startswith(FAILED)
    assert died.header is None
    assert last.header is not None
    assert len(stored(three[0].parent)) == 2
    assert decoders() == []


def test_child_that_hangs_on_a_file_is_ended_after_its_time(three):
    outcomes = read_each(three, seconds_per_file=4)
    assert next(outcomes).header is not None
    (first,) = decoders()
    os.kill(first, signal.SIGSTOP)
    hung = next(outcomes)

    assert "within 4 seconds" in hung.error
    assert not Path(f"/proc/{first}").exists()
    assert [outcome.header is not None for outcome in outcomes] == [True]
    assert decoders() == []


def test_child_that_died_between_two_files_costs_none(three):
    outcomes = read_each(three)
    next(outcomes)
    (first,) = decoders()
    os.kill(first, signal.SIGKILL)
    # Reaped by nobody yet, but dead.
    wait_for(lambda: not is_alive(first))

    assert [outcome.header is not None for outcome in outcomes] == [True, True]


def test_caller_that_stops_early_leaves_no_child(three):
    outcomes = read_each(three)
    next(outcomes)
    assert len(decoders()) == 1
    outcomes.close()

    assert decoders() == []


def test_child_ends_with_its_parent(tmp_path):
    source = write_ct(tmp_path / "x")
    script = (
        "import os, signal, threading\n"
        "from pathlib import Path\n"
        "from detection.imaging.ingest import Sandbox, ingest\n"
        "sandbox = Sandbox()\n"
        f"ingest([Path({str(source)!r})], target_folder=Path({str(tmp_path)!r}), worker=sandbox)\n"
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
    wait_for(lambda: not is_alive(child))


def test_file_that_needs_more_memory_than_allowed_is_refused_and_the_next_one_read(tmp_path):
    side = 5000
    giant = tmp_path / "giant.png"
    giant.write_bytes(
        png_bytes(width=side, height=side, colour_type=2, rows=bytes((side * 3 + 1) * side))
    )
    # Within the bound on pixels, and small as a file.
    assert side * side < LIMITS.max_pixels
    assert giant.stat().st_size < 2**20
    refused, good = read_each([giant, write_ct(tmp_path / "good")], memory_bytes=320 * 2**20)

    assert "memory" in refused.error
    assert good.header is not None


def test_largest_picture_allowed_fits_into_the_memory_allowed(tmp_path):
    side = int(LIMITS.max_pixels**0.5)
    data = png_bytes(width=side, height=side, colour_type=2, rows=bytes((side * 3 + 1) * side))
    (tmp_path / "x").write_bytes(data)
    (outcome,) = read_each([tmp_path / "x"])

    assert outcome.error is None
    assert outcome.header["rows"] == side


def test_volume_larger_than_may_be_written_is_refused(tmp_path):
    noise = np.random.default_rng(1).integers(0, 255, (300, 300), np.uint8)
    Image.fromarray(noise).save(tmp_path / "x", format="PNG")
    sources = [tmp_path / "x", write_ct(tmp_path / "good")]
    refused, good = read_each(sources, max_written_bytes=20_000)

    assert "stored: File too large" in refused.error
    assert good.header is not None
    # Nothing half-written either.
    assert stored(tmp_path) == [good.path.name]


def test_child_limits_itself(three):
    outcomes = read_each(three, cpu_seconds_per_file=7)
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
    outcomes = read_each(three)
    next(outcomes)
    (child,) = decoders()
    environment = Path(f"/proc/{child}/environ").read_bytes()
    outcomes.close()

    assert b"of-the-worker" not in environment
    assert b"DATABASE_URL" not in environment


def test_child_that_does_not_start_is_a_fault_of_the_installation(three, monkeypatch):
    monkeypatch.setattr(sandbox, "_PROJECT_ROOT", three[0].parent)

    with pytest.raises(ChildProcessError, match="does not start"):
        list(read_each(three))
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


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"header": None},
        {"header": {}},
        {"header": {"slices": 1, "rows": 4, "columns": 4, "is_hu": False}},
        # As it should be, but for the volume.
        {"header": PICTURE},
    ],
    ids=["nothing", "no header", "an empty one", "half of one", "no volume"],
)
def test_child_that_claims_a_volume_it_did_not_write_is_not_believed(tmp_path, answer):
    (tmp_path / "x").write_bytes(b"x")
    (tmp_path / "volumes").mkdir()
    result = ingest([tmp_path / "x"], target_folder=tmp_path / "volumes", worker=Lying(answer))

    (row,) = result.report
    assert (row.status, row.code) == ("refused", Code.DECODER_DIED)
    assert result.series == ()
    assert stored(tmp_path) == []


def test_child_that_tells_another_volume_than_it_wrote_is_not_believed(tmp_path):
    (tmp_path / "x").write_bytes(b"x")
    (tmp_path / "volumes").mkdir()
    lying = Lying({"header": PICTURE}, pixels=np.zeros((1, 9, 9), np.uint8))
    (row,) = ingest([tmp_path / "x"], target_folder=tmp_path / "volumes", worker=lying).report

    assert row.code == Code.DECODER_DIED
    assert stored(tmp_path) == []
