"""The process that trains: starting it, following it, and ending it with its worker."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any

from django.conf import settings
from django.utils import timezone

from detection.services import training_child

_POLL_SECONDS = 1.0
# A child that was asked to end is killed after this.
_GRACE_SECONDS = 15.0
_TOLD_NAMES = frozenset({"HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "TZ"})
_TOLD_PREFIXES = ("CUDA_", "KERAS_", "LC_", "MKL_", "NVIDIA_", "OMP_", "OPENBLAS_", "TF_", "XLA_")
# One report of the child, a JSON object a line.
News = dict[str, Any]
# None: the child has closed its output.
_Lines = SimpleQueue[News | None]


def child_run(
    command: Sequence[str],
    *,
    scratch: Path,
    log_path: Path,
    tell: Callable[[News], None],
    is_wanted: Callable[[], bool],
) -> News | None:
    """Run a command to its end and return its last report; None if it was ended early.

    Its temporary files go to `scratch`, its standard error and its messages to the log. At most
    once a second `tell` gets its progress, and `is_wanted` says whether it may go on. An error
    that either raises ends the child too. The report is {} if the child reports nothing, or fails
    after it has reported success.
    """
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, training_child.__file__, str(os.getpid()), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=settings.BASE_DIR,
            env=_environment(scratch),
            process_group=0,
        )
        lines: _Lines = SimpleQueue()
        reader = threading.Thread(target=_read, args=(child.stdout, lines, log), daemon=True)
        reader.start()
        try:
            last = _follow(child, lines, tell=tell, is_wanted=is_wanted)
        finally:
            _end(child)
            reader.join(timeout=_GRACE_SECONDS)
    if last is not None and child.returncode != 0 and last.get("stage") == "done":
        return {}
    return last


def _environment(scratch: Path) -> dict[str, str]:
    """Return the child's environment: where to work, and what Python and TensorFlow ask for.

    The names that pass are listed, so that a secret that is added one day stays with the worker.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _TOLD_NAMES or name.startswith(_TOLD_PREFIXES)
    }
    # Checkpoints lie in the folder and go with it, whatever becomes of the child.
    return {
        **kept,
        "TMPDIR": str(scratch),
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore",
    }


def _follow(
    child: subprocess.Popen[bytes],
    lines: _Lines,
    *,
    tell: Callable[[News], None],
    is_wanted: Callable[[], bool],
) -> News | None:
    last: News = {}
    while True:
        is_over, news = _drain(lines, seconds=_POLL_SECONDS)
        last = news or last
        if news and "fraction" in news:
            tell(news)
        if is_over:
            child.wait(timeout=_GRACE_SECONDS)
            return last
        if not is_wanted():
            return None


def _drain(lines: _Lines, *, seconds: float) -> tuple[bool, News | None]:
    """Wait `seconds`, or for the end of the child; return whether it ended and the latest news."""
    deadline = time.monotonic() + seconds
    news = None
    while (left := deadline - time.monotonic()) > 0:
        try:
            line = lines.get(timeout=left)
        except Empty:
            break
        if line is None:
            return True, news
        news = line
    return False, news


def _read(pipe: IO[bytes], lines: _Lines, log: IO[bytes]) -> None:
    """Pass on each JSON object that the child prints; log messages, epochs and other lines."""
    told = ""
    for line in pipe:
        try:
            news = json.loads(line)
        except ValueError:
            log.write(line)
            continue
        if not isinstance(news, dict):
            continue
        lines.put(news)
        text = news.get("message") or _epoch_text(news)
        if text and text != told:
            log.write(f"{timezone.now():%Y-%m-%d %H:%M:%S} {text}\n".encode())
            log.flush()
            told = text
    lines.put(None)


def _epoch_text(news: dict[str, Any]) -> str:
    if "epoch" not in news or news.get("step") != news.get("steps"):
        return ""
    return f"Epoch {news['epoch']} of {news['epochs']} ended, loss {news.get('loss')}."


def _end(child: subprocess.Popen[bytes]) -> None:
    """Ask the child and whatever it started to end; kill them if they do not."""
    if child.poll() is not None:
        return
    os.killpg(child.pid, signal.SIGTERM)
    try:
        child.wait(timeout=_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
