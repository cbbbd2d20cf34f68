"""Worker processes on the database of the test, and what they are given to read."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from detection.imaging.formats import decode_file
from detection.models import Prediction
from detection.services.predictions import prediction_create
from detection.services.registry import shipped_model_register
from tests.services.factories import series_make

ROOT = Path(__file__).resolve().parents[2]
SLICES = sorted((ROOT / "tests/samples/ct_slices").glob("*.dcm"))
# So long may a busy machine take for what takes a second on an idle one. How quick things are is
# measured by `make bench`; a test says only what happens.
PATIENCE_SECONDS = 180.0


def wait_for(condition: Callable[[], object], *, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until other processes have brought something about."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "It did not happen in time."
        time.sleep(0.05)


@dataclass
class Worker:
    """One worker process and what it logs."""

    process: subprocess.Popen[bytes]
    log_path: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def log(self) -> str:
        return self.log_path.read_text()

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log()
        return "worker ready" in self.log()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """Ask it to end, as a process runner does, and return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=PATIENCE_SECONDS)


@pytest.fixture
def start(process_environment, tmp_path) -> Iterator[Callable[..., Worker]]:
    """Starts `python ARGUMENTS` as a worker; ends what is left of them after the test."""
    workers: list[Worker] = []

    def start_worker(*arguments: str) -> Worker:
        log_path = tmp_path / f"worker-{len(workers)}.log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                env=process_environment | {"DJANGO_SETTINGS_MODULE": "kidneyweb.settings"},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        workers.append(Worker(process=process, log_path=log_path))
        return workers[-1]

    yield start_worker
    for worker in workers:
        if worker.process.poll() is None:
            worker.kill()


@dataclass
class Hold:
    """The folder through which `slow_worker.py` is held, and tells what it runs."""

    folder: Path

    def runs(self) -> list[tuple[int, int]]:
        """(prediction, process) for each time that the model was asked."""
        path = self.folder / "runs"
        lines = path.read_text().splitlines() if path.exists() else []
        return [tuple(map(int, line.split())) for line in lines]

    def close(self) -> None:
        (self.folder / "hold").touch()

    def open(self) -> None:
        (self.folder / "hold").unlink()


@pytest.fixture
def hold(tmp_path) -> Hold:
    folder = tmp_path / "hold"
    folder.mkdir()
    return Hold(folder)


@pytest.fixture
def start_slow_workers(start, hold) -> Callable[[int], dict[int, Worker]]:
    """Starts so many slow workers, waits until they are ready, and returns them by process id."""

    def start_all(count: int) -> dict[int, Worker]:
        workers = [start("-m", "tests.queue.slow_worker", str(hold.folder)) for _ in range(count)]
        wait_for(lambda: all(worker.is_ready() for worker in workers))
        return {worker.pid: worker for worker in workers}

    return start_all


@pytest.fixture
def shipped_model(transactional_db):
    return shipped_model_register()


@pytest.fixture
def predictions_make(radiologist, shipped_model) -> Callable[[int], list[Prediction]]:
    volume = decode_file(SLICES[0])

    def make(count: int) -> list[Prediction]:
        return [
            prediction_create(series=series_make(uploaded_by=radiologist, volume=volume))
            for _ in range(count)
        ]

    return make


def child_of(pid: int) -> int | None:
    """Return a child process of `pid`, by the table that the kernel keeps."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            return int(stat.parent.name)
    return None


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
