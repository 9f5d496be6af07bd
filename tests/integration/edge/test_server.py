"""The edge and the client over real sockets, and accounts shared by two processes."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import apsw
import msgspec
import pytest
import uvicorn

from holdfast.accounts import audit
from holdfast.accounts.records import Account, AuditEntry, AuditRow
from holdfast.cli.client import ApiError, Client, UnreachableError
from holdfast.stores.migrate import MigrationError
from holdfast.stores.sqlite.accounts import open_accounts
from holdfast.wire.api.instances import InstanceCreate, InstanceList, InstanceView
from tests.support.patience import patience
from tests.support.ports import free_port
from tests.support.stub_plane import StubPlane
from tests.support.walk import Tokens

DEADLINE_S = 10.0


@pytest.fixture
def served() -> Iterator[tuple[str, Tokens]]:
    plane = StubPlane()
    tokens: list[Tokens] = []
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(plane.edge, log_level="error", lifespan="on", proxy_headers=False)
    )

    async def serve() -> None:
        tokens.append(await plane.prepare())
        await server.serve(sockets=[listener])

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    began = time.monotonic()
    while not server.started and time.monotonic() - began < patience(DEADLINE_S):
        time.sleep(0.005)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", tokens[0]
    server.should_exit = True
    thread.join(patience(DEADLINE_S))
    listener.close()
    assert not thread.is_alive()


def test_the_client_and_the_edge_understand_each_other(served: tuple[str, Tokens]) -> None:
    url, tokens = served
    with Client(url, tokens.owner) as client:
        assert isinstance(client.call("instance.list", query={"limit": "5"}), InstanceList)
        made = client.call("instance.create", body=InstanceCreate(name="a1"), idempotency_key="k")
        assert isinstance(made, InstanceView)
        with pytest.raises(ApiError, match="403 scope_too_narrow"):
            client.call("plane.doctor")
        assert msgspec.json.decode(client.call("plane.openapi"))["openapi"] == "3.1.0"
    with Client(url) as stranger, pytest.raises(ApiError, match="401"):
        stranger.call("instance.list")


def test_nobody_at_the_address_is_an_error_that_says_what_to_do() -> None:
    client = Client(f"http://127.0.0.1:{free_port()}", timeout_s=2)
    with pytest.raises(UnreachableError, match="no answer from") as caught:
        client.call("plane.health")
    assert "holdfast up" in caught.value.problem.fix
    with pytest.raises(ValueError, match="want a URL"):
        Client("127.0.0.1:8700")


def test_a_body_larger_than_declared_never_reaches_a_handler(served: tuple[str, Tokens]) -> None:
    url, tokens = served
    host, port = url.removeprefix("http://").split(":")
    head = (
        f"POST /api/instances HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {tokens.owner}\r\n"
        "content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=patience(DEADLINE_S)) as raw:
        raw.sendall(head.encode())
        answered = b""
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        try:
            for _ in range(40):
                raw.sendall(chunk)
        except OSError:
            pass  # the server has hung up on us, as it should
        raw.settimeout(DEADLINE_S)
        try:
            answered = raw.recv(4_096)
        except ConnectionResetError:
            answered = b"HTTP/1.1 413 (reset before it could be read)"
    assert answered.startswith(b"HTTP/1.1 413")


WRITER = """
import asyncio, sys
from pathlib import Path
from holdfast.accounts.records import AuditEntry
from holdfast.stores.sqlite.accounts import open_accounts

async def main():
    store = open_accounts(Path(sys.argv[1]), now_ms=2)
    for n in range(50):
        await store.append_audit(AuditEntry(at_ms=n, phase="begin", who=sys.argv[2]))
    await store.close()

asyncio.run(main())
"""


def test_two_processes_write_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "home" / "accounts.db"
    command = [sys.executable, "-c", WRITER, str(path)]
    both = [subprocess.Popen([*command, who]) for who in ("one", "two")]  # also races the making
    assert [process.wait(patience(30)) for process in both] == [0, 0]

    async def read() -> Sequence[AuditRow]:
        store = open_accounts(path, now_ms=3)
        rows = await store.audit_chain(0, 1_000)
        await store.close()
        return rows

    rows = asyncio.run(read())
    assert len(rows) == 100
    assert audit.first_broken(rows) is None
    assert {row.entry.who for row in rows} == {"one", "two"}
    assert path.stat().st_mode & 0o777 == 0o600


async def test_the_file_refuses_to_forget_and_shows_what_was_forged(tmp_path: Path) -> None:
    path = tmp_path / "accounts.db"
    store = open_accounts(path, now_ms=1)
    for n in range(3):
        await store.append_audit(AuditEntry(at_ms=n, phase="begin", who="ada"))
    forger = apsw.Connection(str(path))
    for statement in ("DELETE FROM audit", "UPDATE audit SET who = 'eve'"):
        with pytest.raises(apsw.ConstraintError, match="append-only"):
            forger.execute(statement)
    forger.execute("DROP TRIGGER audit_keeps_values")
    forger.execute("UPDATE audit SET who = 'eve' WHERE seq = 2")
    forger.close()
    assert audit.first_broken(await store.audit_chain(0, 10)) == 2
    await store.close()


def test_what_was_answered_is_there_after_the_power_fails(tmp_path: Path) -> None:
    code = (
        "import asyncio, os, sys; from pathlib import Path\n"
        "from holdfast.accounts.records import Account\n"
        "from holdfast.stores.sqlite.accounts import open_accounts\n"
        "async def main():\n"
        "    store = open_accounts(Path(sys.argv[1]), now_ms=1)\n"
        "    await asyncio.gather(*(store.add_account(Account(name=f'a{n:02}', created_at_ms=1))"
        " for n in range(20)))\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    path = tmp_path / "accounts.db"
    command = [sys.executable, "-c", code, str(path)]
    killed = subprocess.run(command, timeout=patience(30), check=False)
    assert killed.returncode == -9

    async def read() -> list[str]:
        store = open_accounts(path, now_ms=2)
        names = [account.name for account in await store.accounts()]
        await store.close()
        return names

    assert asyncio.run(read()) == [f"a{n:02}" for n in range(20)]


async def test_a_file_of_newer_code_and_a_closed_store_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "accounts.db"
    store = open_accounts(path, now_ms=1)
    await store.close()
    with pytest.raises(RuntimeError, match="closed"):
        await store.add_account(Account(name="late", created_at_ms=1))
    newer = apsw.Connection(str(path))
    newer.execute(
        "INSERT INTO migrations SELECT max(number) + 1, '9999_pre_more.sql', 'x', 1 FROM migrations"
    )
    newer.close()
    with pytest.raises(MigrationError):
        open_accounts(path, now_ms=2)
