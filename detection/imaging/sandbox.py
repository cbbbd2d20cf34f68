"""Decodes files that nobody has looked at yet in a child process with limits of its own."""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from detection.imaging.limits import LIMITS, Limits

_START_SECONDS = 60.0
_MAX_ANSWER_BYTES = 2**16
_MAX_SENTENCE = 255
_HEADER_KEYS = frozenset(
    {"slices", "rows", "columns", "is_hu", "plane", "spacing_mm", "caveats", "colour_spread"}
)
_PROJECT_ROOT = Path(__file__).resolve().parents[2]
_AGAIN = "It may be damaged: please export it again."


@dataclass(frozen=True)
class Decoded:
    """What became of one job: the header of the volume that was written, or a sentence.

    Attributes
    ----------
    index : int
        Of the job, from 0.
    header : dict or None
        As `Volume.header` gives it.
    error : str or None
        Why there is no volume, for the user.
    """

    index: int
    header: dict[str, Any] | None = None
    error: str | None = None


class _ChildDied(Exception):
    """The child ended before it answered."""


class _ChildHangs(Exception):
    """The child did not answer in time."""


def decode_all(jobs: Sequence[tuple[Path, Path]], *, limits: Limits = LIMITS) -> Iterator[Decoded]:
    """Decode each source into its target volume file, one after the other, in a child process.

    Parameters
    ----------
    jobs : sequence of (Path, Path)
        Source file, and the volume file to be written, whose folder must exist.
    limits : Limits
        Bounds on the files, and on the memory and time of the child.

    Yields
    ------
    Decoded
        One for each job, in order, as soon as it is known. A file on which the child dies or
        hangs gets a sentence, and a new child goes on with the rest. Its target does not exist.

    Raises
    ------
    ChildProcessError
        If the child does not even start, which is a fault of the installation.
    """
    # Whatever a dying child leaves behind goes with this folder.
    with tempfile.TemporaryDirectory(prefix="decoding-") as scratch:
        child: _Child | None = None
        try:
            for index, (source, target) in enumerate(jobs):
                if child is None or not child.is_alive():
                    if child is not None:
                        child.end()
                    child = _Child(limits=limits, scratch=scratch)
                decoded = _decode_one(child, index, source, target, limits)
                if decoded.header is None:
                    target.unlink(missing_ok=True)
                yield decoded
        finally:
            if child is not None:
                child.end()


def _decode_one(child: "_Child", index: int, source: Path, target: Path, limits: Limits) -> Decoded:
    try:
        child.send({"source": str(source.resolve()), "target": str(target.resolve())})
        answer = child.receive(timeout_seconds=limits.seconds_per_file)
    except _ChildHangs:
        child.end()
        return Decoded(
            index=index,
            error=f"The file could not be read within {limits.seconds_per_file:g} seconds. "
            f"{_AGAIN}",
        )
    except _ChildDied:
        took_too_long = child.end() == -signal.SIGXCPU
        return Decoded(
            index=index,
            error=f"The file took too long to be read. {_AGAIN}"
            if took_too_long
            else f"The file could not be read: decoding it failed. {_AGAIN}",
        )
    # The child has read the file, and a file may have taken it over: believe only what fits.
    header, error = answer.get("header"), answer.get("error")
    if isinstance(header, dict) and header.keys() >= _HEADER_KEYS and target.is_file():
        return Decoded(index=index, header=header)
    if isinstance(error, str) and error:
        return Decoded(index=index, error=error[:_MAX_SENTENCE])
    child.end()
    return Decoded(index=index, error=f"The file could not be read: decoding it failed. {_AGAIN}")


class _Child:
    """One decoding process and the pipes to it."""

    def __init__(self, *, limits: Limits, scratch: str) -> None:
        self._pending = b""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "detection.imaging"],
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
        """Wait for one line. Raises _ChildDied or _ChildHangs."""
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        deadline = time.monotonic() + timeout_seconds
        while b"\n" not in self._pending:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([pipe], [], [], left)[0]:
                raise _ChildHangs
            piece = os.read(pipe, 2**14)
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
        """Kill the child if it lives, close the pipes, and return how it ended."""
        if self._process.poll() is None:
            self._process.kill()
        code = self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None and not pipe.closed:
                try:
                    pipe.close()
                except OSError:
                    # What was still to be sent has no reader any more.
                    continue
        return code


def _environment(scratch: str) -> dict[str, str]:
    """Only what Python needs: the secrets of the worker's environment stay with the worker."""
    kept = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONDONTWRITEBYTECODE", "SYSTEMROOT")
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "HOME": scratch,
        "TMPDIR": scratch,
        "PYTHONUTF8": "1",
        # Each thread reserves address space, of which there is little, and one file needs one.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
    }
