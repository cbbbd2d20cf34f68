"""Says how far a long measurement is, and how long it will take."""

import time
from collections.abc import Callable

Report = Callable[[str], None]
_EVERY_SECONDS = 15.0


class Progress:
    """Reports the share of the readings that are done, at most every fifteen seconds.

    Parameters
    ----------
    what : str
        What is read.
    total : int
        Number of readings, or what they cost.
    """

    def __init__(self, what: str, *, total: float, report: Report) -> None:
        self._what = what
        self._total = total
        self._report = report
        self._done = 0.0
        self._started = time.monotonic()
        self._told = self._started

    def tick(self, count: float = 1) -> None:
        """Count readings that are done."""
        self._done += count
        now = time.monotonic()
        is_done = self._done >= self._total - 1e-6
        if not self._done or (now - self._told < _EVERY_SECONDS and not is_done):
            return
        self._told = now
        missing = max(0, self._total - self._done)
        left = time.gmtime((now - self._started) / self._done * missing)
        share = min(1.0, self._done / self._total)
        self._report(f"{self._what}: {100 * share:.0f} %, {time.strftime('%H:%M:%S', left)} left")
