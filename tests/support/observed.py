"""A machine of a real plane with its observer: its files, its processes, and what of it arrived."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from holdfast.machine.content_key import key_of
from holdfast.machine.controller.observing.process import MODULE
from holdfast.machine.observer.sealing import Sealer
from holdfast.wire.api.consent import NodeConsent
from tests.support.patience import patience
from tests.support.planes import PlaneProcess, cmdline, processes_of, until


class Observed:
    """One instance; make it with `created`."""

    def __init__(self, plane: PlaneProcess, name: str, folder: Path) -> None:
        self.plane = plane
        self.name = name
        self.folder = folder
        self.home = folder / "home"
        self.sessions = self.home / ".openclaw/agents/main/sessions"
        self.workspace = self.home / ".openclaw/workspace"

    @classmethod
    def created(cls, plane: PlaneProcess, name: str) -> Observed:
        """Create an instance, and return once its agent is ready and its node is heard."""
        plane.cli("instance", "create", name)
        view = plane.ready(name)
        with plane.client() as client:
            sandbox = client.call("instance.get", path={"id": view.id}).sandbox_id
        made = cls(plane, name, plane.home / "machines" / sandbox)
        until("its node is heard", made.online, seconds=30)
        return made

    # -- its files, as its agent writes them

    def say(self, text: str) -> None:
        """Add a turn to a session."""
        self.sessions.mkdir(parents=True, exist_ok=True)
        message = {"role": "user", "content": [{"type": "text", "text": text}]}
        row = {"type": "message", "id": text, "timestamp": "2026-11-30T10:00:00Z"}
        with (self.sessions / "s1.jsonl").open("a") as file:
            file.write(json.dumps({**row, "message": message}) + "\n")

    def spend(self, amount: float, model: str = "m1") -> None:
        """Add a turn that cost so much, now."""
        self.sessions.mkdir(parents=True, exist_ok=True)
        usage = {"input": 1_000, "output": 500, "cost": {"total": amount}}
        message = {"role": "assistant", "content": [], "model": model, "usage": usage}
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        row = {"type": "message", "id": at, "timestamp": at, "message": message}
        with (self.sessions / "s1.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")

    def remember(self, text: str) -> None:
        """Write a memory file."""
        self.workspace.mkdir(parents=True, exist_ok=True)
        (self.workspace / "MEMORY.md").write_text(text)

    @property
    def registration(self) -> dict[str, str]:
        """Return what `config.json` says."""
        found: dict[str, str] = json.loads((self.home / ".clawmetry/config.json").read_text())
        return found

    # -- its processes

    def observer(self) -> psutil.Process | None:
        """Return its observer, if one runs."""
        for process in processes_of(self.folder):
            if MODULE in cmdline(process).split():
                return process
        return None

    def running(self) -> psutil.Process:
        """Return its observer once one runs."""
        found: psutil.Process = until("its observer runs", self.observer, seconds=15)
        return found

    def agent(self) -> psutil.Process:
        """Return its agent."""
        return next(p for p in processes_of(self.folder) if "agents/demo.py" in cmdline(p))

    def log(self, event: str) -> list[dict[str, Any]]:
        """Return the rows of its controller's log with this event."""
        lines = (self.folder / "log/machine.log").read_text().splitlines()
        rows = [json.loads(line) for line in lines if line.startswith("{")]
        return [row for row in rows if row["event"] == event]

    def told(self, event: str) -> list[dict[str, Any]]:
        """Return the observer's own lines with this event."""
        lines = [row["line"] for row in self.log("observer.line")]
        return [row for line in lines if (row := json.loads(line))["event"] == event]

    # -- what the plane has of it

    @property
    def node(self) -> NodeConsent:
        """Return its node."""
        with self.plane.client() as client:
            items = client.call("consent.list", query={"limit": "500"}).items
        view = self.plane.view(self.name)
        assert view is not None
        found: NodeConsent = next(one for one in items if one.instance == view.id)
        return found

    def online(self) -> bool:
        """Return whether its node was heard lately."""
        view = self.plane.view(self.name)
        with self.plane.client() as client:
            nodes = client.call("content.nodes", query={"limit": "500"}).items
        return any(view and one.instance == view.id and one.online for one in nodes)

    def sizes(self) -> tuple[int, int]:
        """Return the bytes of content that were stored and that were refused."""
        with self.plane.client() as client:
            nodes = client.call("content.nodes", query={"limit": "500"}).items
        found = next(one for one in nodes if one.id == self.node.id)
        return found.stored_bytes, found.refused_bytes

    def arrived(self) -> str:
        """Return all content that the plane has, opened with the key that stayed in the home."""
        sealer = Sealer(key_of(self.registration["encryption_key"]), draw=bytes)
        status, lines = ask(self.plane.url, f"/api/nodes/{self.node.id}/export", self.plane.token())
        assert status == 200, lines
        opened = [
            sealer.unseal(blob).decode()
            for line in lines.splitlines()
            for blob in _blobs(json.loads(line))
        ]
        return "\n".join(opened)


def content_of(path: Path) -> bytes:
    """Return what is in a file, nothing where it was removed meanwhile."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _blobs(found: Any) -> list[str]:
    """Return each value called `blob` in a JSON value."""
    if isinstance(found, dict):
        mine = [value for name, value in found.items() if name == "blob" and value]
        return mine + [blob for value in found.values() for blob in _blobs(value)]
    if isinstance(found, list):
        return [blob for value in found for blob in _blobs(value)]
    return []


def ask(
    base: str, path: str, token: str, *, method: str = "GET", body: Any = None, **headers: str
) -> tuple[int, str]:
    """Return status and body of a request with a bearer token."""
    request = urllib.request.Request(
        base + path, method=method, data=None if body is None else json.dumps(body).encode()
    )
    request.add_header("Authorization", f"Bearer {token}")
    request.add_header("Content-Type", "application/json")
    for name, value in headers.items():
        request.add_header(name.replace("_", "-"), value)
    try:
        with urllib.request.urlopen(request, timeout=patience(10)) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
