"""Starts a training so that it cannot outlive its worker: `python training_child.py PARENT ...`.

This small program ties itself to the worker, lowers its priority and becomes the command it was
given. It imports nothing of the project. The same between fork and exec, in a process with
threads, could hang.
"""

import ctypes
import os
import signal
import sys

# Of prctl(2), Linux only; kept when the process becomes another program.
_PR_SET_PDEATHSIG = 1
_NICENESS = 10


def main() -> None:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # The worker may have died before the line above.
    if os.getppid() != parent:
        sys.exit(1)
    os.nice(_NICENESS)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
