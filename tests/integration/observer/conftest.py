"""A home that an agent writes to, a plane that records, and the observer as its own process."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.kernel.clock import SystemClock
from holdfast.kernel.log import NoLog
from holdfast.machine.observer import cursors
from holdfast.machine.observer.cursors import Cursor
from holdfast.machine.observer.gate_file import Gate
from holdfast.machine.observer.heartbeat import Heart
from holdfast.machine.observer.questions import Register
from holdfast.machine.observer.registration import Registration
from holdfast.machine.observer.sealing import Name
from holdfast.machine.observer.upload import Destination, Envelope, Uploader
from holdfast.wire.consent import ContentClass
from tests.support.consent_signer import answer
from tests.support.patience import patience
from tests.support.recording_plane import RecordingPlane, register_home

KEY = base64.b64encode(bytes(range(32))).decode()


class Running:
    """The observer of one home; `start` after `kill` goes on in the same folder."""

    def __init__(self, home: Path, plane: RecordingPlane) -> None:
        self.home = home
        self.plane = plane
        self.process: subprocess.Popen[bytes] | None = None
        self.log_path = home.parent / "observer.log"

    def environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.home),
            "PATH": os.environ["PATH"],
            "HOLDFAST_PLANE_URL": self.plane.url,
            "TMPDIR": str(self.home / "tmp"),
            "PYTHONPATH": os.pathsep.join(sys.path),
        }

    def start(self, **more: str) -> None:
        before = self.plane.count("/ingest/heartbeat")
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "holdfast.machine.observer"],
                env=self.environment() | more,
                stdout=log,
                stderr=log,
            )
        self.plane.wait(lambda: self.plane.count("/ingest/heartbeat") > before, 30)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(patience(10))
        self.process = None
        self.plane.drain()

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(patience(20))
        self.process = None
        self.plane.drain()
        return code

    def log(self) -> str:
        return self.log_path.read_text() if self.log_path.exists() else ""

    def close(self) -> None:
        if self.process is not None:
            self.kill()


class Home:
    """Files as OpenClaw writes them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sessions = path / ".openclaw/agents/main/sessions"
        self.workspace = path / ".openclaw/workspace"
        self.logs = path / "tmp/openclaw"
        for folder in (self.sessions, self.workspace / "memory", self.logs):
            folder.mkdir(parents=True)

    def say(self, session: str, text: str, *, at: str = "2026-11-30T10:00:00Z") -> None:
        line = (
            f'{{"type":"message","id":"{abs(hash(text)):x}","timestamp":"{at}",'
            f'"message":{{"role":"user","content":[{{"type":"text","text":"{text}"}}]}}}}\n'
        )
        with (self.sessions / f"{session}.jsonl").open("a") as file:
            file.write(line)

    def log(self, text: str) -> None:
        with (self.logs / "openclaw-2026-11-30.log").open("a") as file:
            file.write(f'{{"0":"{text}","time":"2026-11-30T10:00:00.000Z"}}\n')

    def remember(self, name: str, text: str) -> None:
        (self.workspace / name).write_text(text)


@pytest.fixture
def plane() -> Iterator[RecordingPlane]:
    made = RecordingPlane()
    yield made
    made.close()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    path = tmp_path / "home"
    path.mkdir()
    return Home(path)


@pytest.fixture
def observer(home: Home, plane: RecordingPlane) -> Iterator[Running]:
    register_home(home.path, KEY)
    running = Running(home.path, plane)
    yield running
    running.close()


@pytest.fixture
def key() -> Any:
    return KEY


REGISTER = Register(hostname="host", machine_id="m1", platform="Linux", source="test", sandbox="sb")


class Node:
    """The parts of an observer that speak, in this process."""

    def __init__(self, folder: Path, plane: RecordingPlane) -> None:
        self.folder = folder
        self.plane = plane
        self.clock = SystemClock()
        self.home = folder / "home"
        self.home.mkdir()
        (folder / "queue").mkdir()
        self.gate = Gate(folder / "queue", clock=self.clock, log=NoLog())
        self.registration = Registration(self.home, draw=os.urandom, clock=self.clock, log=NoLog())
        self.uploader = self.opened()
        self.number = 0

    def opened(self) -> Uploader:
        return Uploader(
            self.folder / "queue",
            gate_of_node=self.gate,
            destination=lambda: Destination(self.plane.url, self.registration.key(), "host"),
            clock=self.clock,
            log=NoLog(),
            agent="test",
            credentials={"Authorization": "Bearer machine"},
        )

    def restart(self) -> None:
        self.uploader.close()
        self.uploader = self.opened()

    def registered(self) -> Node:
        register_home(self.home, KEY)
        assert self.ensure()
        return self

    def ensure(self) -> bool:
        return self.registration.ensure(self.uploader, self.gate, lambda: REGISTER)

    def allow(self, *classes: ContentClass, sync_allowed: bool = True, since_ms: int = 0) -> None:
        self.number += 1
        grant = self.plane.signer.grant(self.number, classes, backfill_from_ms=since_ms)
        self.plane.said = {"sync_allowed": sync_allowed, "reason": "intent_started"}
        self.gate.heard(200, answer(grant, **self.plane.said))

    def send(
        self, content: ContentClass = "logs", name: str = "a", start: int = 0, since_ms: int = 0
    ) -> str:
        cursor = Cursor(content, "5" * 16, name, 1, start + 10, "", 0)
        return self.uploader.send(
            Envelope(
                content=content,
                endpoint="logs" if content == "logs" else "events",
                stream="5" * 16,
                start=start,
                event_ids=(Name(f"{name}-{start}"),),
                body=json.dumps({"event_ids": [f"{name}-{start}"], "class": content}),
                since_ms=since_ms,
            ),
            cursor,
        )

    def cursor(self, content: ContentClass = "logs", name: str = "a") -> Cursor | None:
        return cursors.CursorReader(self.uploader.outbox.read).of_name(content, name)

    def heart(self) -> Heart:
        return Heart(
            uploader=self.uploader,
            gate_of_node=self.gate,
            registration=self.registration,
            register=self.ensure,
            heard=lambda _answer: None,
            version="1",
            clock=self.clock,
            log=NoLog(),
        )


@pytest.fixture
def node(tmp_path: Path, plane: RecordingPlane) -> Iterator[Node]:
    folder = tmp_path / "node"
    folder.mkdir()
    made = Node(folder, plane)
    yield made
    made.uploader.close()
