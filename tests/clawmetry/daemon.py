"""The real ClawMetry daemon in a home of its own, with an agent that never stops writing.

Every private text begins with MARKER-, a phase and a number, so that what leaves the home can be
found wherever it is kept.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import threading
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.house.sources import ROOT

KEY: Final = base64.b64encode(bytes(range(32))).decode()
EVERY_S: Final = 2.0


def python_of(version: str) -> Path:
    """Return the interpreter that has this version (make test-clawmetry installs it)."""
    return ROOT / f".venv-clawmetry-{version}" / "bin" / "python"


def opened(blob: str) -> Any:
    """Return what a sealed body holds."""
    raw = base64.urlsafe_b64decode(blob)
    return json.loads(AESGCM(bytes(range(32))).decrypt(raw[:12], raw[12:], None))


class Agent:
    """Writes a session and a log, a line each time, from a thread."""

    def __init__(self, home: Path) -> None:
        sessions = home / ".openclaw" / "agents" / "main" / "sessions"
        self.logs = home / ".openclaw" / "logs"
        workspace = home / ".openclaw" / "workspace"
        for folder in (sessions, self.logs, workspace):
            folder.mkdir(parents=True, exist_ok=True)
        self.session = str(uuid.uuid4())
        self._session = sessions / f"{self.session}.jsonl"
        self._log = self.logs / f"openclaw-{datetime.now(UTC):%Y-%m-%d}.log"
        (workspace / "MEMORY.md").write_text("MARKER-memory-0 is remembered\n")
        (sessions / "sessions.json").write_text(
            json.dumps(
                {
                    f"agent:main:{self.session}": {
                        "sessionId": self.session, "subject": "MARKER-title-0",
                        "updatedAt": int(datetime.now(UTC).timestamp() * 1000), "model": "m-1",
                    }
                }
            )
        )  # fmt: skip
        self.phase = "a"
        self.written: dict[str, list[str]] = {}
        self._number = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._write({"type": "session", "id": self.session, "version": 3})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            self.say()
            self._stop.wait(EVERY_S)

    def say(self) -> None:
        """Write one message and one log line, each with a marker of its own."""
        self._number += 1
        marker, logged = (f"MARKER-{self.phase}-{of}-{self._number}-" for of in ("said", "log"))
        self.written.setdefault(self.phase, []).extend((marker, logged))
        self._write(
            {
                "type": "message", "id": f"m{self._number}", "timestamp": _now(),
                "message": {"role": "user", "content": [{"type": "text", "text": marker}]},
            }
        )  # fmt: skip
        with self._log.open("a") as log:
            log.write(json.dumps({"time": _now(), "level": "info", "message": logged}) + "\n")

    def _write(self, line: dict[str, Any]) -> None:
        with self._session.open("a") as file:
            file.write(json.dumps(line) + "\n")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Daemon:
    """One daemon process; everything it writes to is in its home."""

    def __init__(
        self, version: str, home: Path, url: str, *, key: str, node: str, seal: str
    ) -> None:
        """Seal with `seal`; an empty one sends in the clear."""
        self._python = python_of(version)
        self._home = home
        self._url = url
        folder = home / ".clawmetry"
        folder.mkdir(parents=True)
        config = {
            "api_key": key, "node_id": node, "platform": "Linux", "connected_at": _now(),
            "encryption_key": seal,
        }  # fmt: skip
        (folder / "config.json").write_text(json.dumps(config))
        self.output = home / "daemon.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; its own left-over lock is removed, as after a reboot."""
        (self._home / ".clawmetry" / "sync.pid").unlink(missing_ok=True)
        environment = {
            "HOME": str(self._home),
            "PATH": "/usr/bin:/bin",
            "CLAWMETRY_INGEST_URL": self._url,
            "CLAWMETRY_ENDPOINT": self._url,
            "CLAWMETRY_APP_BASE": self._url,
            "CLAWMETRY_RELAY_URL": self._url.replace("http", "ws") + "/api/node/relay",
            "CLAWMETRY_NO_TELEMETRY": "1",
            "CLAWMETRY_AUTO_UPDATE": "0",
            "CLAWMETRY_OFFLINE": "1",
            "CLAWMETRY_ENABLE_WS_TAP": "0",
        }
        with self.output.open("ab") as out:
            self._process = subprocess.Popen(
                [*self._confined(), str(self._python), "-m", "clawmetry.sync"],
                env=environment, stdout=out, stderr=out, cwd=self._home, start_new_session=True,
            )  # fmt: skip

    def _confined(self) -> list[str]:
        """Return the words that give it a /tmp of its own: it looks for logs there first."""
        bwrap = shutil.which("bwrap")
        if bwrap is None:
            return []
        own = self._python.parent.parent
        return [
            bwrap, "--dev-bind", "/", "/", "--tmpfs", "/tmp", "--bind", str(self._home),
            str(self._home), "--ro-bind", str(own.resolve()), str(own.resolve()), "--ro-bind",
            str(own), str(own), "--die-with-parent", "--",
        ]  # fmt: skip

    def stop(self) -> None:
        """Kill it and what it started."""
        if self._process is None:
            return
        os.killpg(self._process.pid, 9)
        self._process.wait()
