"""Callers of the demo agent that go away or stall: no fault of its own, so nothing is logged."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

import pytest

from holdfast.machine.agents import demo


@pytest.mark.parametrize(
    "said",
    [b"POST /say HTTP/1.1\r\nContent-Length: 9\r\n\r\nsend",
     b"GET /echo HTTP/1.1\r\nSec-WebSocket-Key: a\r\n\r\n\x81\x85\x00"],
)  # fmt: skip
def test_a_caller_of_the_demo_who_goes_or_stalls_is_no_fault(
    said: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo.Exchange, "timeout", 0.1)
    server = demo.Server(demo.Demo(demo.read_options(["--port", "0"], tmp_path, {})))
    with socket.create_connection(("127.0.0.1", server.server_address[1])) as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        caller.sendall(said)
        if b"echo" in said:
            caller.close()  # with a reset
        server.daemon_threads = False
        server.handle_request()
        server.server_close()  # which waits for the exchange
    assert "Traceback" not in capsys.readouterr().err
