"""The decoding process: it limits itself, then does one job for each line it reads.

`sandbox` starts it and exchanges JSON objects with it, one a line: first the limits, then the jobs
of `jobs`. The answer to a job is any number of {"at": step}, then its result or {"error", "code"},
or {"fault": errno} if not the file but the installation failed.
"""

import ctypes
import json
import os
import resource
import signal
import sys
from functools import partial
from typing import Any, TextIO

from detection.imaging.limits import Limits

# Of prctl(2), Linux only.
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38


def main() -> int:
    answers = _take_standard_output()
    first = sys.stdin.readline()
    if not first:
        return 0
    limits = Limits(**json.loads(first))
    _limit_process(limits)
    # `python -m` has imported the package and its decoders before `main`; SimpleITK is imported by
    # the job that needs it. RLIMIT_AS counts what they reserve both before and after it is set.
    from detection.imaging.errors import ImageError
    from detection.imaging.ingest.jobs import do_job, refusal_of

    _answer(answers, {"ready": True})
    for line in sys.stdin:
        job = json.loads(line)
        is_long = job["do"] in ("unpack", "nifti")
        seconds = limits.cpu_seconds_per_job if is_long else limits.cpu_seconds_per_file
        _limit_cpu(seconds)
        tell = partial(_tell, answers, None if is_long else seconds)
        try:
            _answer(answers, do_job(job, limits=limits, tell=tell))
        except ImageError as error:
            _answer(answers, {"error": str(error), "code": error.code})
        except (MemoryError, OSError) as error:
            refusal = refusal_of(error, job)
            if refusal is not None:
                _answer(answers, {"error": str(refusal), "code": refusal.code})
            elif isinstance(error, OSError):
                _answer(answers, {"fault": error.errno})
    return 0


def _tell(answers: TextIO, cpu_seconds: int | None, step: int) -> None:
    # Each slice of a series is a file of its own and gets the time of a file.
    if cpu_seconds is not None:
        _limit_cpu(cpu_seconds)
    _answer(answers, {"at": step})


def _take_standard_output() -> TextIO:
    """Take over the pipe of the answers; what libraries print goes to standard error instead."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _answer(answers: TextIO, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def _limit_process(limits: Limits) -> None:
    # Ctrl-C in a terminal reaches this process too; the worker handles it and ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        # This process ends with the worker, even if the worker is killed.
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        _lower(resource.RLIMIT_AS, limits.memory_bytes)
    _lower(resource.RLIMIT_FSIZE, limits.max_written_bytes)
    # A core dump would hold pixels.
    _lower(resource.RLIMIT_CORE, 0)


def _lower(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(kind, (value, value))


def _limit_cpu(seconds: int) -> None:
    """Allow `seconds` of processor time from now on; RLIMIT_CPU counts from the process's start."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    allowed = int(usage.ru_utime + usage.ru_stime) + 1 + seconds
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if hard != resource.RLIM_INFINITY:
        allowed = min(allowed, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (allowed, hard))


if __name__ == "__main__":
    sys.exit(main())
