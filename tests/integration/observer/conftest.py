"""A home that an agent writes to, a plane that records, and the observer as its own process."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

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

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(patience(20))
        self.process = None
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
