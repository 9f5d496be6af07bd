"""`holdfast nodes` against a real plane: what agents did, and who sends it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.support.planes import PlaneProcess, plane_at
from tests.support.sending_node import DAEMON, SendingNode


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlaneProcess]:
    with plane_at(tmp_path_factory.mktemp("clinodes") / "home") as made:
        yield made


def test_what_an_agent_did_is_read_from_the_command_line(plane: PlaneProcess) -> None:
    node = SendingNode.granted(plane, "laptop")
    node.beat()
    node.tell("send", int(time.time() * 1_000))
    assert "laptop" in plane.cli("nodes", "list").stdout
    logs = plane.cli("nodes", "logs", "laptop", "--level", "error").stdout.splitlines()
    assert len(logs) == 3
    assert all("could not reach" in line for line in logs)
    found = plane.cli("nodes", "logs", "laptop", "--text", "round 9", "-n", "1")
    assert "tool finished, round 9" in found.stdout
    assert plane.cli("nodes", "logs", "laptop", "--level", "loud", code=2).stderr
    assert "MEMORY.md" in plane.cli("nodes", "memory", "laptop").stdout
    assert "likes coffee" in plane.cli("nodes", "memory", "laptop", "MEMORY.md").stdout
    assert "daily report" in plane.cli("nodes", "cron", "laptop").stdout
    sessions = plane.cli("nodes", "sessions", "laptop").stdout
    assert "agent:main:subagent:a" in sessions
    turns = plane.cli("nodes", "sessions", "laptop", "s0").stdout
    assert "[exec 2.5 s]" in turns
    assert plane.cli("nodes", "logs", "nobody", code=4).stderr

    node.seal("/ingest/logs", lines=["SECRET"])
    said = plane.cli("nodes", "logs", "laptop")
    assert "sealed uploads of logs: 1" in said.stderr
    assert "SECRET" not in said.stdout

    node.beat(agent=DAEMON, version="0.12.937")
    shown = plane.cli("nodes", "show", "laptop")
    assert "Two programs send for it" in shown.stderr
    (sender,) = [one["id"] for one in node.about()["senders"] if one["state"] == "refused"]
    plane.cli("nodes", "sender", "laptop", sender)
    assert [one["state"] for one in node.about()["senders"]] == ["refused", "sends"]
