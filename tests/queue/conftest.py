"""Worker processes on the database of the test, and what they are given to read."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from detection.imaging.formats import decode_file
from detection.models import Prediction
from detection.services.predictions import prediction_create
from detection.services.registry import shipped_model_register
from tests.factories import series_make
from tests.processes import PATIENCE_SECONDS, wait_for

ROOT = Path(__file__).resolve().parents[2]
SLICES = sorted((ROOT / "tests/samples/ct_slices").glob("*.dcm"))


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
