"""The demo agent's work: its gateway is handed a prompt and runs the scripted agent.

`demo agent` stands for the command by which a real agent's gateway is handed a turn: it asks the
gateway, prints what the work prints, and ends with its exit code. When it goes away, the work is
ended. Standard library only; loaded by path, as its caller runs without the package.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

_SCRIPTED: Final = str(Path(__file__).with_name("scripted.py"))
_GRACE_S: Final = 2.0
_CHUNK_BYTES: Final = 65_536
_CODE: Final = b"\0exit "
"""Before the exit code, after everything that was printed."""


def serve(connection: socket.socket, asked: dict[str, Any]) -> None:
    """Run the work that a request names, and answer with what it prints."""
    connection.settimeout(None)
    connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    variables = json.loads(Path(asked["env"]).read_text(encoding="utf-8"))
    work = subprocess.Popen(
        (sys.executable, "-I", "-S", _SCRIPTED, "--prompt", asked["prompt"]),
        cwd=asked["folder"], env={**os.environ, **variables}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    assert work.stdout is not None, "it was opened as a pipe"
    try:
        while True:
            watched: list[Any] = [work.stdout, connection]
            ready, _, _ = select.select(watched, [], [])
            if connection in ready and not connection.recv(1):
                return
            if work.stdout in ready:
                data = os.read(work.stdout.fileno(), _CHUNK_BYTES)
                if not data:
                    break
                connection.sendall(data)
        connection.sendall(_CODE + str(work.wait()).encode())
    finally:
        _end(work)


def _end(work: subprocess.Popen[bytes]) -> None:
    """End the work with all its processes."""
    with suppress(ProcessLookupError):
        if work.poll() is None:
            os.killpg(work.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                work.wait(_GRACE_S)
        os.killpg(work.pid, signal.SIGKILL)
    work.wait()


def ask(arguments: list[str], token: str) -> int:
    """Hand work to the gateway; return its exit code, 1 where the gateway went away."""
    given = dict(zip(arguments[::2], arguments[1::2], strict=True))
    asked = {"prompt": given["--message-file"], "folder": given["--folder"], "env": given["--env"]}
    body = json.dumps(asked).encode()
    head = f"POST /agent HTTP/1.1\r\nAuthorization: Bearer {token}\r\nContent-Length: {len(body)}"
    with socket.create_connection(("127.0.0.1", int(given["--port"]))) as connection:
        connection.sendall(head.encode() + b"\r\n\r\n" + body)
        answer = connection.makefile("rb")
        status = answer.readline().split()
        while answer.readline().strip():
            pass
        if status[1:2] != [b"200"]:
            sys.stderr.write(f"the gateway answered {status[1:2]}\n")
            return 1
        return _copy(connection, answer.peek())


def _copy(connection: socket.socket, read: bytes) -> int:
    """Print what comes, and return the code at its end."""
    held = b""
    data = read or connection.recv(_CHUNK_BYTES)
    while data:
        held += data
        printed, found, rest = held.partition(_CODE)
        sys.stdout.buffer.write(printed)
        sys.stdout.flush()
        held = found + rest
        data = connection.recv(_CHUNK_BYTES)
    code = held.removeprefix(_CODE)
    if not held:
        sys.stderr.write("the gateway went away\n")
        return 1
    return _as_exit(int(code))


def _as_exit(code: int) -> int:
    """Return an exit code; end by the signal that the work ended by."""
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
        os.kill(os.getpid(), -code)
    return code
