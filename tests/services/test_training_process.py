import os
import signal
import sys

import pytest

from detection.services import training_process
from detection.services.training_process import child_run

WAITING = """
import json, signal
print(json.dumps({"stage": "train", "fraction": 0.1}), flush=True)
signal.pause()
"""
FAILING_AT_LAST = """
import json, sys
print(json.dumps({"stage": "done", "bundle": "x"}))
sys.exit(1)
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(training_process, "_POLL_SECONDS", 0.05)


@pytest.fixture
def children(monkeypatch):
    started = []
    start = training_process.subprocess.Popen

    def remember(*args, **kwargs):
        started.append(start(*args, **kwargs))
        return started[-1]

    monkeypatch.setattr(training_process.subprocess, "Popen", remember)
    return started


@pytest.fixture
def run(tmp_path):
    """Runs a program as the training's child; its log is `tmp_path/logs/log`."""

    def run_program(program, *, tell=lambda news: None, is_wanted=lambda: True):
        return child_run(
            [sys.executable, "-c", program],
            scratch=tmp_path,
            log_path=tmp_path / "logs" / "log",
            tell=tell,
            is_wanted=is_wanted,
        )

    return run_program


def test_last_report_is_returned_and_progress_is_told(run, tmp_path):
    told = []
    program = """
import json
for step in (1, 2):
    print(json.dumps({"fraction": step / 2, "epoch": 1, "epochs": 1, "step": step, "steps": 2}))
print("a library prints this")
print(json.dumps(["no", "object"]))
print(json.dumps({"stage": "error", "message": "It went wrong."}))
"""

    assert run(program, tell=told.append) == {"stage": "error", "message": "It went wrong."}
    assert all("fraction" in news for news in told)
    log = (tmp_path / "logs/log").read_text()
    for text in ("a library prints", "Epoch 1 of 1 ended", "It went wrong."):
        assert text in log


@pytest.mark.parametrize("program", ["", FAILING_AT_LAST, "import os; os.kill(os.getpid(), 9)"])
def test_child_that_fails_or_says_nothing_has_not_succeeded(run, program):
    assert run(program) == {}


def test_child_that_is_not_wanted_is_ended(run, children):
    assert run(WAITING, is_wanted=lambda: False) is None
    assert children[0].returncode == -signal.SIGTERM


def test_child_ends_with_the_error_of_the_question(run, children):
    with pytest.raises(ZeroDivisionError):
        run(WAITING, is_wanted=lambda: 1 / 0)

    assert children[0].returncode == -signal.SIGTERM


def test_child_that_ignores_the_end_is_killed(run, children, monkeypatch):
    monkeypatch.setattr(training_process, "_GRACE_SECONDS", 0.3)
    # No longer wanted once the child has told that it runs: by then it ignores the signal.
    told = []
    program = "import signal; signal.signal(15, signal.SIG_IGN)\n" + WAITING

    assert run(program, tell=told.append, is_wanted=lambda: not told) is None
    assert children[0].returncode == -signal.SIGKILL


def test_child_gets_no_secrets_and_lower_priority(run, monkeypatch):
    for name in ("DATABASE_URL", "SECRET_KEY", "EMAIL_URL", "A_SECRET_OF_LATER"):
        monkeypatch.setenv(name, "mysql://user:password@host/name")
    told = run("""
import json, os
print(json.dumps({"nice": os.nice(0), "group": os.getpgid(0) == os.getpid(),
                  "secrets": [n for n in os.environ if "password" in os.environ[n]]}))
""")

    assert told == {"nice": min(19, os.nice(0) + 10), "group": True, "secrets": []}
