# ruff: noqa: ASYNC240  nothing else runs in its loop
"""Everything that an agent might attack, in real processes, and the agent among them.

    python stage.py KIND FOLDER

It builds a data folder, a neighbour that listens in every way, and runs the attempts as the agent
of a controller, which is this process. It prints what they print. Standard library and
`holdfast.machine` alone, so that it runs as any user that can read them.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import pty
import socket
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, cast

from holdfast.machine import confine
from holdfast.machine.confine.probing import Kind
from holdfast.machine.confine.sandbox import Confinement, Order
from holdfast.machine.controller.process.children import ChildProcesses

SECRET = "the-plane's-secret"
ATTEMPTS = Path(__file__).with_name("attempts.py")
PORTS = 4


def write(path: Path, text: str = SECRET) -> str:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_text(text)
    return str(path)


def free_range(ranges: int) -> int:
    """Return the first port of some ranges of four, none of which is in use."""
    for first in range(20_000 + os.getpid() % 2_000 * 4, 31_900, PORTS):
        with contextlib.ExitStack() as held:
            try:
                for port in range(first, first + ranges * PORTS):
                    held.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            return first
    raise AssertionError("no free ports")


def greet(listener: socket.socket) -> None:
    """Send a text to every connection."""
    listener.listen()

    def answer() -> None:
        while True:
            connection, _ = listener.accept()
            with contextlib.suppress(OSError):
                connection.sendall(b"neighbour")
            connection.close()

    threading.Thread(target=answer, daemon=True).start()


def listen(family: socket.AddressFamily, address: Any) -> None:
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(address)
    greet(listener)


def handle_of(path: str) -> str:
    """Return the kernel's handle of a file, which an unprivileged caller cannot easily guess."""
    libc = ctypes.CDLL(None, use_errno=True)
    left = 128
    handle = ctypes.create_string_buffer(left.to_bytes(4, sys.byteorder) + bytes(4 + left))
    mount = ctypes.c_int()
    libc.name_to_handle_at(-100, path.encode(), handle, ctypes.byref(mount), 0)
    return handle.raw.hex()


async def main(kind: Kind, folder: Path) -> None:
    first = free_range(2)
    plane = free_port()
    home = folder / "home"
    machines = home / "machines"
    own = machines / "own"
    for name in ("home", "tmp", "state"):
        (own / name).mkdir(parents=True, mode=0o700)
    shared = Path("/dev/shm", f"holdfast-{os.getpid()}")
    shared.write_text(SECRET)
    run = Path(tempfile.mkdtemp(dir="/run" if os.access("/run", os.W_OK) else "/var/tmp"))
    sockets = Path(tempfile.mkdtemp(dir="/tmp"))
    _, terminal = pty.openpty()
    neighbour_memory = ctypes.create_string_buffer(b"neighbour")
    at: dict[str, Any] = {
        "home": str(own / "home"),
        "machines": str(machines),
        "keyring": write(home / "keyring"),
        "store": write(home / "stores" / "journal.db"),
        "settings": write(home / "config.toml"),
        "token": write(home / "operator.token"),
        "record": write(own / "machine.json"),
        "state": write(own / "state" / "run" / "agent.token"),
        "log": write(own / "log" / "machine.log"),
        "neighbour_file": write(machines / "other" / "home" / "notes"),
        "neighbour_record": write(machines / "other" / "machine.json"),
        "ssh": write(folder / "user" / ".ssh" / "id_ed25519"),
        "package": confine.__file__,
        "installation": write(home / "agents" / "openclaw-1" / "openclaw.mjs", "// program"),
        "shared_memory": str(shared),
        "controller": os.getpid(),
        "plane": os.getpid(),
        "neighbour": os.getpid(),
        "address": ctypes.addressof(neighbour_memory),
        "own_controller": first,
        "neighbour_controller": first + PORTS,
        "neighbour_port": first + PORTS + 1,
        "neighbour_free_port": first + PORTS + 2,
        "plane_port": plane,
        "abstract": f"holdfast-{os.getpid()}",
        "run_socket": str(run / "bus"),
        "tmp_socket": str(sockets / "tmux"),
        "terminal": os.ttyname(terminal),
    }
    at["handle"] = handle_of(at["keyring"])
    for port in (first, first + PORTS, first + PORTS + 1):
        listen(socket.AF_INET, ("127.0.0.1", port))
    for path in ("\0" + at["abstract"], at["run_socket"], at["tmp_socket"]):
        listen(socket.AF_UNIX, path)
    try:
        await attack(kind, own, at, (first, first + 2 * PORTS - 1))
    finally:
        shared.unlink()
        for path in (Path(at["run_socket"]), Path(at["tmp_socket"])):
            path.unlink()
            path.parent.rmdir()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


async def attack(kind: Kind, own: Path, at: dict[str, Any], ports: tuple[int, int]) -> None:
    order = Order(
        kind=kind, hidden=(str(own.parents[1]),), write=(str(own / "home"), str(own / "tmp")),
        path=os.environ["PATH"], ports=ports, plane=at["plane_port"],
    )  # fmt: skip
    program = own / "home" / "attempts.py"
    program.write_text(ATTEMPTS.read_text())
    (own / "home" / "at.json").write_text(json.dumps(at))
    child_processes = ChildProcesses(Confinement(order, confine.probe(), agent_port=ports[0] + 1))
    child_processes.open()
    done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    child_processes.launch(
        (sys.executable, "-I", "-S", str(program), str(own / "home" / "at.json")),
        env={"PATH": os.environ["PATH"], "HOME": str(own / "home")},
        cwd=str(own / "home"),
        on_line=lambda stream, line: print(line, file=getattr(sys, stream), flush=True),
        on_exit=done.set_result,
        read=(str(Path(at["installation"]).parent),),
    )
    sys.exit(await done)


if __name__ == "__main__":
    asyncio.run(main(cast("Kind", sys.argv[1]), Path(sys.argv[2])))
