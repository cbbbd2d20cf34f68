"""Measures the memory that a process takes to serve a bundle."""

import multiprocessing
import re
import resource
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from detection.ml.bundle import Bundle, load_bundle
from detection.ml.serving.ensemble import open_served


def peak_memory(bundle: Bundle, *, threads: int) -> int:
    """Return the bytes of a fresh process at its peak: it opens the bundle and reads one canvas.

    The peak counts the interpreter and the libraries too, as a worker has them.
    """
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn) as pool:
        return pool.submit(_peak, bundle.path, threads).result()


def _peak(path: Path, threads: int) -> int:
    network = open_served(load_bundle(path), threads=threads)
    spec = network.preprocessing
    network.map_logits(np.zeros((1, spec.height, spec.width), np.uint8))
    try:
        # `ru_maxrss` of Linux also counts what the parent held when it started this process.
        status = Path("/proc/self/status").read_text("ascii")
    except OSError:
        # Not Linux: macOS counts in bytes.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (told,) = re.findall(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return 1024 * int(told)
