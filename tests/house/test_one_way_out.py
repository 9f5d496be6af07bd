"""Nothing of the observer but `upload` can open a connection: not by import, not by a call.

`readers/queries` starts one program, in `confine.sandbox.isolated`, where no socket can be made.
"""

from __future__ import annotations

import ast
from pathlib import Path

from tests.house.sources import PACKAGE, imports, nodes, python_files, shown, uses

OBSERVER = "src/holdfast/machine/observer"
WAY_OUT = PACKAGE / "machine" / "observer" / "upload.py"
STARTS = PACKAGE / "machine" / "observer" / "readers" / "queries.py"

ABLE = {
    "_socket", "aiohttp", "asyncio", "concurrent", "ctypes", "ftplib", "http", "httptools",
    "httpx", "imaplib", "importlib", "multiprocessing", "nntplib", "poplib", "requests", "smtplib",
    "socket", "socketserver", "ssl", "subprocess", "telnetlib", "urllib.request", "webbrowser",
    "xmlrpc", "holdfast.outbox.http_connection", "holdfast.outbox.http_sender", "holdfast.relay",
}  # fmt: skip
"""Modules that can reach the network, or start a program or import that can."""

CALLS = ("os.system", "os.popen", "os.exec", "os.spawn", "os.posix_spawn", "os.fork", "os.mkfifo")
BUILTINS = ("__import__", "eval", "exec", "compile")


def ways_out(path: Path) -> list[tuple[int, str]]:
    """Return each line that imports or calls what could reach the network."""
    found = [
        (line, imported)
        for line, imported in imports(path)
        if any(imported == name or imported.startswith(f"{name}.") for name in ABLE)
    ]
    found += [(line, name) for line, name in uses(path) if name.startswith(CALLS)]
    return found + [
        (node.lineno, node.id)
        for node in nodes(path)
        if isinstance(node, ast.Name) and node.id in BUILTINS
    ]


def test_only_upload_can_open_a_connection() -> None:
    files = [path for path in python_files(OBSERVER) if path not in {WAY_OUT, STARTS}]
    assert len(files) > 12
    found = [f"{shown(path)}:{line} {name}" for path in files for line, name in ways_out(path)]
    assert not found, "everything leaves through observer/upload.py:\n" + "\n".join(found)


def test_the_one_program_that_is_started_can_make_no_socket() -> None:
    assert {name for _, name in ways_out(STARTS)} == {"subprocess"}
    started = [node for node in nodes(STARTS) if isinstance(node, ast.Call)]
    (popen,) = (node for node in started if ast.unparse(node.func).startswith("subprocess."))
    assert ast.unparse(popen.args[0]) == "launch.argv"
    assert "launch = isolated(" in STARTS.read_text()


def test_upload_opens_them_with_the_queues_own_client() -> None:
    found = {name for _, name in ways_out(WAY_OUT)}
    allowed = ("holdfast.outbox.http_connection", "holdfast.outbox.http_sender")
    assert found
    assert all(name.startswith(allowed) for name in found), found


def test_a_way_out_would_be_found(tmp_path: Path) -> None:
    guilty = tmp_path / "guilty.py"
    guilty.write_text(
        "import os\nfrom urllib import request\n\n\ndef f():\n    import socket\n"
        "    os.system('x')\n    __import__('ssl')\n"
    )
    found = {name for _, name in ways_out(guilty)}
    assert {"urllib.request", "socket", "os.system", "__import__"} <= found
