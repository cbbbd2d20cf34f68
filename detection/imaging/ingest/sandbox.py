"""Does jobs on untrusted files in a child process with limits of its own."""

import errno
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from detection.imaging.errors import Code, ImageError
from detection.imaging.limits import LIMITS, Limits

_START_SECONDS = 60.0
# Enough for the facts of a multi-frame image of a thousand slices.
_MAX_ANSWER_BYTES = 2**23
_MAX_SENTENCE = 255
_PROJECT_ROOT = Path(__file__).resolve().parents[3]
_AGAIN = "It may be damaged. Please export it again."


class _ChildDied(Exception):
    """The child ended before it answered."""


class _ChildHangs(Exception):
    """The child did not answer in time."""


class JobDied(ImageError):
    """The decoding process died or hung over a job; `at` is the last step it told of."""

    def __init__(self, sentence: str, *, code: Code, at: int) -> None:
        super().__init__(sentence, code=code)
        self.at = at


class Sandbox:
    """A limited child process that does jobs; a new one follows whenever one has died.

    It is a context manager, and starts the child with the first job. At the end it kills the child
    and deletes its scratch folder.
    """

    def __init__(self, *, limits: Limits = LIMITS) -> None:
        self._limits = limits
        self._child: _Child | None = None
        # What a dying child leaves behind is deleted with this folder.
        self._scratch = tempfile.TemporaryDirectory(prefix="decoding-")

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_: object) -> None:
        if self._child is not None:
            self._child.end()
        self._scratch.cleanup()

    def run(
        self,
        job: dict[str, Any],
        *,
        timeout_seconds: float,
        progress: Callable[[int], None] | None = None,
    ) -> dict[str, Any]:
        """Do one job of `jobs` in the child.

        Parameters
        ----------
        timeout_seconds : float
            Limit for each step of the job.
        progress : callable, optional
            Called with the number of each step that the child tells of.

        Raises
        ------
        ImageError
            If the file cannot be used.
        JobDied
            If the child died or hung over it.
        OSError
            If not the file but the installation failed: no space, a read-only disk, an error of
            the disk.
        ChildProcessError
            If the child does not start: a fault of the installation too.
        """
        child = self._ready_child()
        at = 0
        try:
            child.send(job)
            while "at" in (answer := child.receive(timeout_seconds=timeout_seconds)):
                at = int(answer["at"])
                if progress:
                    progress(at)
        except _ChildHangs as error:
            child.end()
            raise JobDied(
                f"The file could not be read within {timeout_seconds:g} seconds. {_AGAIN}",
                code=Code.TIMED_OUT,
                at=at,
            ) from error
        except (_ChildDied, ValueError, TypeError, OverflowError) as error:
            took_too_long = child.end() == -signal.SIGXCPU
            raise JobDied(
                f"The file took too long to be read. {_AGAIN}"
                if took_too_long
                else f"The file could not be read: decoding it failed. {_AGAIN}",
                code=Code.TIMED_OUT if took_too_long else Code.DECODER_DIED,
                at=at,
            ) from error
        # A file that has taken the child over can make its own upload wait by this, and no more.
        fault = answer.get("fault")
        if type(fault) is int and fault in errno.errorcode:
            raise OSError(fault, os.strerror(fault))
        # A file may have taken the child over: only a known code and a short sentence pass.
        sentence = answer.get("error")
        if isinstance(sentence, str) and sentence:
            known = {code.value for code in Code}
            code = answer.get("code")
            raise ImageError(
                sentence[:_MAX_SENTENCE], code=Code(code) if code in known else Code.DAMAGED
            )
        return answer

    def _ready_child(self) -> "_Child":
        if self._child is None or not self._child.is_alive():
            if self._child is not None:
                self._child.end()
            self._child = _Child(limits=self._limits, scratch=self._scratch.name)
        return self._child


class _Child:
    """One decoding process and the pipes to it."""

    def __init__(self, *, limits: Limits, scratch: str) -> None:
        self._pending = b""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "detection.imaging.ingest.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Warnings of the libraries may quote the file.
            stderr=subprocess.DEVNULL,
            cwd=_PROJECT_ROOT,
            env=_environment(scratch),
        )
        try:
            self.send(asdict(limits))
            self.receive(timeout_seconds=_START_SECONDS)
        except (_ChildDied, _ChildHangs) as error:
            code = self.end()
            raise ChildProcessError(
                f"The decoding process does not start (exit code {code})."
            ) from error
        except BaseException:
            self.end()
            raise

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise _ChildDied from error

    def receive(self, *, timeout_seconds: float) -> dict[str, Any]:
        """Wait for one line and return its object. Raises _ChildDied or _ChildHangs."""
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        deadline = time.monotonic() + timeout_seconds
        while b"\n" not in self._pending:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([pipe], [], [], left)[0]:
                raise _ChildHangs
            piece = os.read(pipe, 2**16)
            if not piece or len(self._pending) > _MAX_ANSWER_BYTES:
                raise _ChildDied
            self._pending += piece
        line, _, self._pending = self._pending.partition(b"\n")
        try:
            answer = json.loads(line)
        except ValueError as error:
            raise _ChildDied from error
        return answer if isinstance(answer, dict) else {}

    def end(self) -> int:
        """Kill the child if it lives, close the pipes, and return its exit code."""
        if self._process.poll() is None:
            self._process.kill()
        code = self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None and not pipe.closed:
                try:
                    pipe.close()
                except OSError:
                    # Closing flushes what was not sent, and nobody reads it any more.
                    continue
        return code


def _environment(scratch: str) -> dict[str, str]:
    """Return the variables that Python needs, without the secrets of the worker's environment."""
    kept = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONDONTWRITEBYTECODE", "SYSTEMROOT")
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "HOME": scratch,
        "TMPDIR": scratch,
        "PYTHONUTF8": "1",
        # Each thread reserves address space, which is limited, and one file needs one thread.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
    }
