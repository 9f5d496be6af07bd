"""A machine's program for the tests of clouds: its behaviour is set by STUB in its environment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Print our identity, do what STUB says, then wait for a signal."""
    orders = os.environ.get("STUB", "").split()
    if "deaf" in orders:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if "child" in orders:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    if "stray" in orders:  # leaves the session, as a daemon does
        subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True
        )
    if "env" in orders:
        for name in sorted(os.environ):
            say(f"env {name}={os.environ[name]}")
    say(f"up {os.getpid()} {os.environ['HOLDFAST_MACHINE_ID']}")
    if "exit" in orders:
        sys.exit(7)
    if "noise" in orders:
        for number in range(20_000):
            sys.stdout.write(f"noise {number}\n")
    while "noise" in orders:  # again and again: what is said while a log is rotated may be lost
        say("noise over")
        time.sleep(0.2)
    time.sleep(86_400)


main()
