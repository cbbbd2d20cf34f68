"""Prints what a verb says on the way: progress for people and programs, and why it failed."""

import json
import sys
import time
from typing import Any


def json_line(progress: dict[str, Any]) -> None:
    """Print a report of a training as an object of JSON."""
    print(json.dumps(progress), flush=True)


def progress_line(progress: dict[str, Any]) -> None:
    """Tell a person how far a training or a search is."""
    percent = f"{100 * progress.get('fraction', 1):5.1f} %"
    if progress["stage"] not in ("train", "tune"):
        print(f"{percent} {progress.get('message') or json.dumps(progress)}", file=sys.stderr)
        return
    left = time.strftime("%H:%M:%S", time.gmtime(progress["seconds_left"]))
    # A terminal gets one line that is overwritten, a log one line an epoch or a trial.
    is_terminal = sys.stderr.isatty()
    if progress["stage"] == "train":
        text = (
            f"epoch {progress['epoch']}/{progress['epochs']} step {progress['step']}/"
            f"{progress['steps']} loss {progress['loss']} left {left}"
        )
        is_last = progress["step"] == progress["steps"]
    else:
        bar = "#" * round(20 * progress["fraction"])
        best = "none" if progress["best"] is None else f"{progress['best']:.4f}"
        text = (
            f"[{bar:<20}] {progress['done']}/{progress['trials']} trials, "
            f"{progress['sampler']:<6} best {best} left {left}"
        )
        is_last = not is_terminal or progress["done"] == progress["trials"]
    if is_terminal or is_last:
        print(f"\r{percent} {text}", end="\n" if is_last else "", file=sys.stderr, flush=True)


def say(message: str) -> None:
    """Tell a person something that is no result."""
    print(message, file=sys.stderr, flush=True)


def fail(error: Exception) -> int:
    """Tell a person why a verb failed; return its exit status."""
    say(str(error))
    return 1
