"""Prepare, run deploy/supervisord.conf, and say where the pages are once they answer."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import BinaryIO
from urllib.error import HTTPError
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parent.parent
DEMO_SIGN_IN = """
  Demonstration accounts: radiologist, lead, admin1, admin2
  Password of each:       demo-kidney-2026
"""


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        # A port that was left a moment ago is free: gunicorn takes it in the same way.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def is_answering(address: str) -> bool:
    try:
        urlopen(f"{address}healthz", timeout=2).close()
    except HTTPError:
        # It answers, if only to say what is missing; the pages say it too.
        return True
    except OSError:
        return False
    return True


def announce(address: str) -> None:
    demo = DEMO_SIGN_IN if os.environ.get("KIDNEYWEB_DEMO") == "1" else ""
    print(f"\n  The reading room is open: {address}\n{demo}\n  Ctrl-C stops it.\n", flush=True)


def pass_on(log: BinaryIO) -> None:
    # The log comes through a pipe. A program cannot open /dev/stdout again where that is a socket,
    # and several writers of one file would overwrite each other.
    for line in log:
        try:
            sys.stdout.buffer.write(line)
            sys.stdout.flush()
        except OSError:
            # The terminal was closed. The programs must be able to write until they have ended.
            continue


def main() -> int:
    port = int(os.environ.get("PORT", "8000"))
    if not port_is_free(port):
        print(
            f"Port {port} of 127.0.0.1 is taken by another program: stop that one, or choose "
            f"another port with PORT={port + 1}.",
            file=sys.stderr,
        )
        return 1
    prepared = subprocess.run([sys.executable, "-m", "scripts.prepare"], cwd=ROOT, check=False)
    if prepared.returncode != 0:
        return prepared.returncode
    command = [
        str(ROOT / ".venv/bin/supervisord"),
        "--nodaemon",
        f"--configuration={ROOT / 'deploy/supervisord.conf'}",
    ]
    if os.getuid() == 0:
        command.append("--user=root")
    # supervisord runs outside the group of the terminal, whose end would make it start all again.
    # Ctrl-C is passed on below, once.
    supervisor = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    log = threading.Thread(target=pass_on, args=(supervisor.stdout,), daemon=True)
    log.start()

    def stop(number: int, frame: FrameType | None) -> None:
        supervisor.terminate()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)

    address = f"http://127.0.0.1:{port}/"
    deadline = time.monotonic() + 60
    while supervisor.poll() is None and time.monotonic() < deadline:
        if is_answering(address):
            announce(address)
            break
        time.sleep(0.2)
    else:
        if supervisor.poll() is None:
            print("The pages do not answer yet; what is wrong stands above.", file=sys.stderr)
    status = supervisor.wait()
    log.join(timeout=5)
    return status


if __name__ == "__main__":
    sys.exit(main())
