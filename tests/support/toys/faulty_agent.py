"""An agent that fails at random: each start draws its fate from the seed and the start's number.

    python faulty_agent.py PORT SEED FOLDER

It answers /readyz like an agent does, unless its fate is another. Standard library only: it is
started thousands of times.
"""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

FATES = (
    "0", "1", "78", "killed", "oom", "segfault", "squats", "respawns", "daemons", "deaf",
    "hangs", "slow", "lasts",
)  # fmt: skip
READY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n"


def main() -> int:
    port, seed, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    number = count(folder)
    chance = random.Random(f"{seed}/{number}")
    fate = sys.argv[4] if len(sys.argv) > 4 else chance.choice(FATES)
    with Path(folder, "fates").open("a") as file:
        file.write(f"{fate}\n")
    if fate == "daemons":
        leave("import time; time.sleep(60)")
    if fate == "squats":
        leave(
            f"import socket, time; s = socket.create_server(('127.0.0.1', {port})); time.sleep(60)"
        )
        time.sleep(0.2)
        return 1
    if fate == "respawns":
        subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, *sys.argv[1:4], "lasts"], start_new_session=True
        )
        time.sleep(0.1)
        return 0
    if fate == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    lives_s = chance.choice((0.0, 0.05, 0.3, 0.8, 1.6))
    if fate in {"slow", "hangs", "lasts", "deaf", "daemons"}:
        serve(port, hangs_after_s=0.3 if fate == "hangs" else None, ready=fate != "slow")
    time.sleep(lives_s)
    if fate == "killed":
        os.kill(os.getpid(), signal.SIGTERM)
    elif fate == "oom":
        os.kill(os.getpid(), signal.SIGKILL)
    elif fate == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    return int(fate)


def count(folder: str) -> int:
    """Return how often it was started, this time included."""
    with Path(folder, "starts").open("a+") as file:
        file.write("started\n")
        file.flush()
        file.seek(0)
        return len(file.readlines())


def leave(program: str) -> None:
    """Leave a process behind that has left our session, as daemons do."""
    code = (
        "import subprocess, sys;"
        f"subprocess.Popen([sys.executable, '-I', '-S', '-c', {program!r}], start_new_session=True)"
    )
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)


def serve(port: int, *, hangs_after_s: float | None, ready: bool) -> None:
    """Answer probes for ever, or for a while and then nothing any more."""
    began = time.monotonic()
    with socket.create_server(("127.0.0.1", port)) as server:
        while True:
            connection, _ = server.accept()
            if hangs_after_s is not None and time.monotonic() - began > hangs_after_s:
                time.sleep(60)
            connection.recv(4_096)
            body = b'{"ready":true}' if ready else b'{"ready":fals}'
            head = READY if ready else READY.replace(b"200 OK", b"503 No")
            connection.sendall(head + body)
            connection.close()


if __name__ == "__main__":
    sys.exit(main())
