"""A plane of one node for tests of the observer: it signs grants and records every byte it gets."""

from __future__ import annotations

import io
import json
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from holdfast.machine.content_key import key_of
from holdfast.machine.observer import limits
from holdfast.machine.observer.sealing import Sealer
from holdfast.wire.consent import CLASSES, ContentClass, SignedDocument
from tests.support.consent_signer import NODE, Signer, to_json
from tests.support.patience import patience

QUESTIONS = frozenset({"/ingest/heartbeat", "/ingest/wake", "/api/register", "/auth"})
API_KEY = "cm_" + "0" * 32


HOLD_S = limits.WAKE_RETRY_MS / 1_000 + 1
"""How long a poll is held: after one that came back sooner the observer pauses."""
_LOOK_S = 0.05
HANG_UP = 0
"""A status of a fault: the connection is closed without an answer."""


class Request(NamedTuple):
    """One request: its path, its body, how many bytes it took at the socket, and when.

    `proof` is its header Authorization.
    """

    path: str
    body: dict[str, Any]
    size: int
    at_s: float
    proof: str = ""


def _hung_up(client: socket.socket) -> bool:
    """Return whether the other side is gone; a client that waits for an answer sends nothing."""
    # Not by MSG_DONTWAIT: Python first waits for as long as the timeout of the socket.
    ready, _, _ = select.select([client], [], [], 0)
    try:
        return bool(ready) and client.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True


class _Recorder(io.RawIOBase):
    """Counts what is read of a socket."""

    def __init__(self, inner: Any, plane: RecordingPlane) -> None:
        self._inner = inner
        self._plane = plane
        self.taken = 0

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        raw = self._inner.recv(len(into))
        into[: len(raw)] = raw
        self.taken += len(raw)
        with self._plane.lock:
            self._plane.socket_bytes += len(raw)
            self._plane.wire.append(raw)
        return len(raw)


class RecordingPlane:
    """Its answers are set by the test; `fault` may answer in its stead."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.signer = Signer()
        self.grant: SignedDocument | None = None
        self.number = 0
        self.said: dict[str, Any] = {"sync_allowed": False, "reason": "intent_pending"}
        self.requests: list[Request] = []
        self.connections = 0
        self.socket_bytes = 0
        self.wire: list[bytes] = []
        self.woken = threading.Event()
        self.fault: Callable[[str], tuple[int, bytes] | None] = lambda _path: None
        plane = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60
            disable_nagle_algorithm = True  # head and body are two writes: 40 ms for each answer

            def setup(self) -> None:
                super().setup()
                with plane.lock:
                    plane.connections += 1
                self.recorder = _Recorder(self.connection, plane)
                self.rfile = io.BufferedReader(self.recorder)

            def finish(self) -> None:
                super().finish()
                with plane.lock:
                    plane.connections -= 1

            def do_GET(self) -> None:
                self._answer()

            def do_POST(self) -> None:
                self._answer()

            def _answer(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                size, self.recorder.taken = self.recorder.taken, 0
                path = urlsplit(self.path).path
                proof = self.headers.get("Authorization", "")
                if path == "/ingest/wake":
                    status, body = plane.hold(self.connection, size, proof)
                else:
                    status, body = plane.answer(path, raw, size, proof)
                if status == HANG_UP:
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  its name there
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def hold(self, client: socket.socket, size: int, proof: str) -> tuple[int, bytes]:
        """Answer a long poll once `woken` is set; whoever hung up meanwhile leaves it set."""
        path = "/ingest/wake"
        fault = self.fault(path)
        if fault is not None:
            return fault
        end_s = time.monotonic() + HOLD_S
        while not self.woken.wait(_LOOK_S) and time.monotonic() < end_s:
            if _hung_up(client):
                return HANG_UP, b""
        with self.lock:
            if _hung_up(client):
                return HANG_UP, b""
            work = self.woken.is_set()
            self.woken.clear()
            self.requests.append(Request(path, {}, size, time.monotonic(), proof))
        return 200, json.dumps({"ok": True, "work": work, "viewer_active": False}).encode()

    def answer(self, path: str, raw: bytes, size: int, proof: str) -> tuple[int, bytes]:
        fault = self.fault(path)
        with self.lock:
            body = json.loads(raw) if raw else {}
            if fault is not None:
                self.requests.append(Request(f"fault:{path}", body, size, time.monotonic(), proof))
                return fault
            self.requests.append(Request(path, body, size, time.monotonic(), proof))
            return 200, json.dumps(self._said(path)).encode()

    def _said(self, path: str) -> dict[str, Any]:
        said: dict[str, Any] = {"ok": True, **self.said}
        match path:
            case "/api/register":
                said |= {"api_key": API_KEY, "node_id": "host", "plane_key": self.signer.public}
                said |= {"node": NODE}
            case "/auth":
                said |= {"valid": True, "node": NODE, "plane_key": self.signer.public}
            case "/ingest/heartbeat" if self.grant is not None:
                said["grant"] = to_json(self.grant)
            case _:
                pass
        return said

    # ------------------------------------------------------------------ what the owner does

    def allow(
        self, classes: Sequence[ContentClass] = CLASSES, *, backfill_from_ms: int = 0
    ) -> None:
        with self.lock:
            self.number += 1
            self.grant = self.signer.grant(self.number, classes, backfill_from_ms=backfill_from_ms)
            allowed = bool(classes)
            reason = "intent_started" if allowed else "intent_pending"
            self.said = {"sync_allowed": allowed, "reason": reason}
            self.woken.set()

    def refuse(self) -> None:
        self.allow(())

    # ------------------------------------------------------------------ what came

    def count(self, path: str) -> int:
        with self.lock:
            return sum(1 for request in self.requests if request.path == path)

    def content(self) -> list[Request]:
        """Return every request that was no question, also those that a fault answered."""
        with self.lock:
            return [request for request in self.requests if request.path not in QUESTIONS]

    def wait(self, until: Callable[[], bool], seconds: float = 15) -> None:
        end_s = time.monotonic() + patience(seconds)
        while not until():
            assert time.monotonic() < end_s, self.counts()
            threading.Event().wait(0.02)

    def counts(self) -> Counter[str]:
        with self.lock:
            return Counter(request.path for request in self.requests)

    def opened(self, key: str) -> list[tuple[str, dict[str, Any]]]:
        """Return each sealed upload that was taken once, by its event ids, with what it has."""
        sealer = Sealer(key_of(key), draw=bytes)
        seen: set[str] = set()
        found = []
        for request in self.content():
            ids = tuple(request.body.get("event_ids", ()))
            if request.path.startswith("fault:") or "blob" not in request.body or set(ids) <= seen:
                continue
            plain = json.loads(sealer.unseal(request.body["blob"]))
            found.append((request.body["class"], _unseen(plain, ids, seen)))
            seen.update(ids)
        return found

    def drain(self) -> None:
        """Wait until all that was sent before its client ended has been recorded."""
        self.wait(lambda: self.connections == 0)

    def close(self) -> None:
        self.woken.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _unseen(plain: dict[str, Any], ids: Sequence[str], seen: set[str]) -> dict[str, Any]:
    """Leave out what came before, as a plane does that knows events by their ids."""
    for name in ("events", "lines"):
        if name in plain and len(plain[name]) == len(ids):
            pairs = zip(plain[name], ids, strict=True)
            plain[name] = [value for value, event_id in pairs if event_id not in seen]
    return plain


def register_home(home: Path, key: str) -> None:
    """Write the registration that a provisioner would have written."""
    folder = home / ".clawmetry"
    folder.mkdir(mode=0o700)
    (folder / "config.json").write_text(
        json.dumps(
            {
                "api_key": API_KEY,
                "node_id": "host",
                "platform": "Linux",
                "connected_at": "2026-11-30T00:00:00+00:00",
                "encryption_key": key,
            }
        )
    )
    (folder / "config.json").chmod(0o600)
