"""The real ClawMetry daemon against a real plane: nothing before yes, everything after, once.

Opt-in (make test-clawmetry): each case runs for some minutes, because the daemon's heartbeats are
a minute apart and a deferral has to be watched for longer than that.
"""

from __future__ import annotations

import json
import sqlite3
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from holdfast.wire.api.consent import ConsentGrant, ConsentRevoke
from holdfast.wire.consent import INTENT_CLASSES, TEXT_VERSION, ContentClass
from tests.clawmetry.daemon import KEY, Agent, Daemon, opened, python_of
from tests.support.observed import content_of
from tests.support.patience import patience
from tests.support.planes import PlaneProcess, until

pytestmark = [pytest.mark.clawmetry, pytest.mark.slow]

DEFERRED_S = 100.0
REVOKED_S = 30.0
CASES = [("0.12.937", KEY), ("0.12.170", KEY), ("0.12.170", "")]


@dataclass
class Stage:
    """A plane, a daemon and an agent, and what the owner sees."""

    plane: PlaneProcess
    agent: Agent
    daemon: Daemon
    node: str
    name: str
    sealed: bool
    seconds: dict[str, float] = field(default_factory=dict)

    def ask(self, path: str) -> bytes:
        """Return what the owner's question is answered with."""
        request = urllib.request.Request(
            self.plane.url + path, headers={"authorization": f"Bearer {self.plane.token()}"}
        )
        with urllib.request.urlopen(request, timeout=patience(20)) as answer:
            body: bytes = answer.read()
            return body

    def about(self) -> dict[str, Any]:
        """Return the node as its owner sees it; asking counts as looking."""
        found: dict[str, Any] = json.loads(self.ask(f"/api/nodes/{self.node}"))
        return found

    def rows(self) -> list[dict[str, Any]]:
        """Return everything that is stored."""
        return [
            json.loads(line) for line in self.ask(f"/api/nodes/{self.node}/export").splitlines()
        ]

    def grant(self, *classes: ContentClass) -> None:
        """Let these classes out, with all that is there."""
        with self.plane.client() as client:
            body = ConsentGrant(classes=classes, backfill="everything", text_version=TEXT_VERSION)
            client.call("consent.grant", path={"id": self.node}, body=body)

    def revoke(self, *classes: ContentClass) -> None:
        """Let these classes out no longer, and keep what is stored."""
        with self.plane.client() as client:
            body = ConsentRevoke(classes=classes)
            client.call("consent.revoke", path={"id": self.node}, body=body)

    def stored_items(self) -> int:
        """Return how many rows of content the file has, read beside the plane."""
        with sqlite3.connect(f"file:{self.plane.home}/content.db?mode=ro", uri=True) as file:
            return int(file.execute("SELECT count(*) FROM items").fetchone()[0])

    def files_with(self, marker: bytes) -> list[str]:
        """Return the files of the plane that have a text anywhere."""
        return [
            path.name
            for folder in (self.plane.home, self.plane.keys)
            for path in folder.rglob("*")
            if path.is_file() and marker in content_of(path)
        ]


def register(url: str) -> dict[str, Any]:
    """Return a new observer's key and node, as a provisioner gets them."""
    body = json.dumps({"hostname": "box", "machine_id": "0" * 32, "source": "kiloclaw"}).encode()
    request = urllib.request.Request(
        f"{url}/api/register", data=body, headers={"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=patience(20)) as answer:
        made: dict[str, Any] = json.loads(answer.read())
    return made


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{'sealed' if case[1] else 'clear'}")
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    version, seal = request.param
    if not python_of(version).exists():
        pytest.skip(f"clawmetry {version} is not installed: make test-clawmetry")
    temporary = tmp_path / "plane" / "tmp"
    temporary.mkdir(parents=True)
    left: object = None
    with ExitStack() as closing:
        plane = PlaneProcess(tmp_path / "plane", TMPDIR=str(temporary))

        def close() -> None:
            nonlocal left
            left = plane.close()

        closing.callback(close)
        made = register(plane.start().url)
        home = tmp_path / "home"
        daemon = Daemon(
            version, home, plane.url, key=made["api_key"], node=made["node_id"], seal=seal
        )
        closing.callback(daemon.stop)
        agent = closing.enter_context(Agent(home))
        daemon.start()
        yield Stage(plane, agent, daemon, made["node"], made["node_id"], bool(seal))
    assert not left


def texts(rows: list[dict[str, Any]]) -> str:
    """Return everything stored as one text, what is sealed opened with the owner's key."""
    return "\n".join(
        json.dumps(opened(row["blob"]) if row["blob"] else row["body"]) for row in rows
    )


def missing(stage: Stage, phases: str) -> list[str]:
    """Return the markers that were written and are not stored."""
    said = texts(stage.rows())
    return [one for phase in phases for one in stage.agent.written[phase] if one not in said]


@pytest.mark.timeout(1_200)
def test_nothing_before_yes_everything_after_nothing_after_no(stage: Stage) -> None:
    until("the node is online", lambda: stage.about()["node"]["online"], seconds=60)
    began = time.monotonic()
    while time.monotonic() - began < DEFERRED_S:
        assert stage.stored_items() == 0
        assert not stage.files_with(b"MARKER-")
        time.sleep(5)
    about = stage.about()
    refused = {one["of"]: one for one in about["refused"] if one["why"] == "consent"}
    assert {"transcripts", "logs"} <= refused.keys(), about["refused"]
    assert about["node"]["online"]
    assert not about["node"]["sync_allowed"]
    stage.plane.kill()  # what was only in memory, or in a file that a stop removes, would show now
    assert not stage.files_with(b"MARKER-")
    stage.plane.start()

    stage.agent.phase = "b"
    granted = time.monotonic()
    stage.grant(*INTENT_CLASSES)
    until("content arrives", lambda: stage.about()["stored"], seconds=75)
    stage.seconds["first content"] = time.monotonic() - granted
    until("ten lines are said", lambda: len(stage.agent.written.get("b", ())) > 20, seconds=60)
    stage.agent.phase = "quiet"
    until("everything is stored", lambda: stage.about() and not missing(stage, "ab"), seconds=180)
    stage.seconds["everything"] = time.monotonic() - granted
    stage.seconds["answers to questions"] = sum(
        row["name"].startswith("session:") and bool(row["blob"]) for row in stage.rows()
    )
    clear = [row for row in stage.rows() if row["of"] == "transcripts" and row["body"]]
    ids = Counter(row["body"].get("id") for row in clear)
    assert not stage.sealed or not clear
    assert max(ids.values(), default=1) == 1, ids.most_common(3)

    stage.revoke(*INTENT_CLASSES)
    stage.agent.phase = "c"
    until("five lines are said", lambda: len(stage.agent.written.get("c", ())) > 10, seconds=60)
    before = stage.stored_items()
    began = time.monotonic()
    while time.monotonic() - began < REVOKED_S:
        assert stage.stored_items() == before
        assert not stage.files_with(b"MARKER-c-")
        time.sleep(2)
    assert "MARKER-c-" not in texts(stage.rows())
    print(f"{stage.seconds}; {len(stage.rows())} rows; refused {stage.about()['refused']}")  # noqa: T201  figures for docs
