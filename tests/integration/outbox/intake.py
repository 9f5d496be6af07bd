"""An intake over real HTTP, and programs that use an outbox in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support.patience import patience

SRC = Path(__file__).resolve().parents[3] / "src"
PATIENCE_S = 20.0
PREFACE = """
import os, signal, sys, time
from holdfast.wire.api.call import Handler
from holdfast.kernel.clock import SystemClock
from holdfast.kernel.secret import Secret
from holdfast.outbox import HttpSender, Target, open_outbox
folder, url = sys.argv[1:3]
def sender(key="hfm_key"):
    return HttpSender(lambda: Target(url, Secret(key)), clock=SystemClock())
def say(*words):
    print(*words, flush=True)
"""


class HttpIntake:
    """Stores each event id once; `answer` may replace its answer."""

    def __init__(self) -> None:
        self.stored: dict[str, Any] = {}
        self.requests: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.connections = 0
        self.questions: list[dict[str, Any]] = []
        self.verdicts: Callable[[dict[str, Any]], dict[str, Any] | None] = lambda _body: None
        self.answer: Callable[[dict[str, Any]], tuple[int, dict[str, str], bytes] | None] = (
            lambda _body: None
        )
        self.lock = threading.Lock()
        intake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                intake.connections += 1

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path.partition("?")[0].endswith("/verdicts"):
                    status, headers, body = intake.tell(json.loads(raw))
                else:
                    status, headers, body = intake.take(dict(self.headers), json.loads(raw))
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base's name
                return

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """Ignore clients killed while they wait, which these tests cause on purpose."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/api/v1/ingest?a=1"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def tell(self, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        """Answer a request for verdicts, as a plane that has none unless configured."""
        with self.lock:
            self.questions.append(body)
            said = self.verdicts(body)
        return (404, {}, b"{}") if said is None else (200, {}, json.dumps(said).encode())

    def take(
        self, headers: dict[str, str], body: dict[str, Any]
    ) -> tuple[int, dict[str, str], bytes]:
        with self.lock:
            self.requests.append((headers, body))
            said = self.answer(body)
            if said is not None:
                return said
            before = len(self.stored)
            for row in body["rows"]:
                self.stored.setdefault(row["event_id"], row)
            new = len(self.stored) - before
            known = len(body["rows"]) - new
        answer = {"accepted": new, "deduplicated": known, "refused": [], "high_water": 0}
        return 200, {}, json.dumps(answer).encode()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Programs:
    """Starts programs, and ends what is left of them."""

    def __init__(self) -> None:
        self.started: list[subprocess.Popen[str]] = []

    def start(self, body: str, *arguments: object, **environment: str) -> subprocess.Popen[str]:
        program = subprocess.Popen(
            [sys.executable, "-c", PREFACE + body, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(SRC), **environment},
        )
        self.started.append(program)
        return program

    def close(self) -> None:
        for program in self.started:
            if program.poll() is None:
                program.kill()
            program.communicate()


def until(condition: Callable[[], object], what: str = "it") -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < patience(PATIENCE_S), f"{what} did not happen"
        time.sleep(0.01)
