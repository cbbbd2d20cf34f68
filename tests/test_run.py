"""What `make run` starts: three processes; a dead one is started again, and all end together."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import urlopen

import pytest

from tests.processes import PATIENCE_SECONDS, children_of, is_alive, wait_for

ROOT = Path(__file__).resolve().parent.parent
# What tells the programs apart in the table of processes.
PROGRAMS = ("kidneyweb.wsgi", "--queue default", "--queue training")


class Run:
    """`scripts/serve.py` on a port, a database and a data folder of its own."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.folder = folder
        # A space must not take the programs' command lines apart.
        self.data = folder / "data of a run"
        self.log_path = folder / "log"
        environment = os.environ | {
            "ALLOWED_HOSTS": "localhost,127.0.0.1",
            "DATABASE_URL": f"sqlite:///{quote(str(folder / 'run.sqlite3'))}",
            "DJANGO_SETTINGS_MODULE": "kidneyweb.settings",
            "KIDNEYWEB_DATA_DIR": str(self.data),
            "KIDNEYWEB_DEMO": "1",
            "PORT": str(self.port),
        }
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "scripts/serve.py"],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def log(self) -> str:
        return self.log_path.read_text()

    def is_open(self) -> bool:
        assert self.process.poll() is None, self.log()
        return "The reading room is open" in self.log() and self.log().count("worker ready") >= 2

    def supervisor(self) -> int:
        return int((self.data / "run/supervisord.pid").read_text())

    def programs(self) -> dict[str, int]:
        """Return the process of each program that runs."""
        found = {}
        for pid in children_of(self.supervisor()):
            try:
                line = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
            except OSError:
                continue
            found |= {program: pid for program in PROGRAMS if program in line}
        return found

    def answers(self) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=10) as response:
                return response.status == 200
        except (URLError, OSError):
            return False


@pytest.fixture
def run(tmp_path) -> Iterator[Run]:
    running = Run(tmp_path)
    yield running
    if running.process.poll() is None:
        running.process.terminate()
        running.process.wait(timeout=PATIENCE_SECONDS)


@pytest.mark.slow
def test_dead_programs_are_started_again_and_all_end_with_ctrl_c(run):
    wait_for(run.is_open)
    assert "demo-kidney-2026" in run.log()
    wait_for(run.answers)
    first = run.programs()
    assert set(first) == set(PROGRAMS)

    for pid in first.values():
        os.kill(pid, signal.SIGKILL)
    wait_for(
        lambda: len(run.programs()) == 3 and not set(run.programs().values()) & set(first.values())
    )
    wait_for(run.answers)

    everything = [run.supervisor(), *run.programs().values()]
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(timeout=PATIENCE_SECONDS) == 0, run.log()
    assert [pid for pid in everything if is_alive(pid)] == []
    assert not run.answers()


def test_taken_port_is_a_sentence(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        finished = subprocess.run(
            [sys.executable, "scripts/serve.py"],
            cwd=ROOT,
            env=os.environ | {"PORT": str(other.getsockname()[1])},
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    assert finished.returncode == 1
    assert "is taken by another program" in finished.stderr
