"""Processes that tests start: waiting for them, finding them, asking whether they live."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

# So long may a busy machine take for what takes a second on an idle one. How quick things are is
# measured by `make bench`; a test says only what happens.
PATIENCE_SECONDS = 180.0


def wait_for(condition: Callable[[], T]) -> T:
    """Wait until other processes have brought something about, and return what it is."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, "It did not happen in time."
        time.sleep(0.05)
    return found


def children_of(parent: int) -> list[int]:
    """The child processes of `parent`, by the table that the kernel keeps."""
    children = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent and fields[0] != "Z":
            children.append(int(stat.parent.name))
    return children


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
