"""Pairing through a real plane, a real controller and the demo agent: seen, decided, answered."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.cli.client import ApiError
from holdfast.wire.api.pairing import (
    PairingApprove,
    PairingDismiss,
    PairingPolicySet,
    PairingRequest,
    PairingRule,
)
from tests.support.planes import PlaneProcess, plane_at, until


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlaneProcess]:
    with plane_at(tmp_path_factory.mktemp("pairing") / "home") as made:
        yield made


@pytest.fixture
def agent(plane: PlaneProcess, request: pytest.FixtureRequest) -> Iterator[Agent]:
    name = "p" + "".join(letter for letter in request.node.name if letter.isalnum())[-40:].lower()
    made = Agent(plane, name)
    yield made
    plane.cli("instance", "destroy", name, "--yes")


class Agent:
    """A running demo agent, and people who write to it."""

    def __init__(self, plane: PlaneProcess, name: str) -> None:
        plane.cli("instance", "create", name)
        self.plane = plane
        self.name = name
        self.id = plane.ready(name).id

    def home(self) -> Path:
        with self.plane.client() as client:
            sandbox: str = client.call("instance.get", path={"id": self.id}).sandbox_id
        return self.plane.home / "machines" / sandbox

    def port(self) -> int:
        found: int = json.loads(next(self.home().rglob("controller.json")).read_text())["agentPort"]
        return found

    def say(self, sender: str, text: str = "hi") -> str:
        data = urllib.parse.urlencode({"sender": sender, "text": text}).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port()}/say", data) as answer:
            return str(answer.read().decode())

    def ask(self, endpoint: str, body: Any = None, **query: str) -> Any:
        with self.plane.client() as client:
            return client.call(endpoint, path={"id": self.id}, query=query, body=body)

    def waiting(self) -> list[PairingRequest]:
        """What the inbox shows of this instance, without asking its machine."""
        with self.plane.client() as client:
            inbox = client.call("pairing.inbox", query={"limit": "500"})
        return [one for one in inbox.items if one.instance == self.id]

    def seen(self, sender: str) -> PairingRequest:
        def look() -> PairingRequest | None:
            return next((one for one in self.waiting() if one.sender == sender), None)

        found: PairingRequest = until(f"{sender} is in the inbox", look)
        return found


def test_a_request_shows_by_itself_and_is_let_in(agent: Agent) -> None:
    assert "I do not know you yet" in agent.say("ada")
    request = agent.seen("ada")
    assert (request.channel, request.kind, request.instance_name) == ("chat", "channel", agent.name)
    assert request.created_at
    assert request.expires_at
    assert request.fingerprint
    with pytest.raises(ApiError) as changed:
        agent.ask(
            "pairing.approve", PairingApprove(request_id=request.request_id, fingerprint="0" * 16)
        )
    assert (changed.value.status, changed.value.problem.code) == (409, "pairing_changed")
    body = PairingApprove(channel="chat", code=request.code, fingerprint=request.fingerprint)
    outcome = agent.ask("pairing.approve", body)
    assert (outcome.decision, outcome.request_id, outcome.via) == (
        "approve", request.request_id, "controller",
    )  # fmt: skip
    assert agent.waiting() == []
    assert agent.ask("pairing.list").items == ()
    assert agent.ask("pairing.list", refresh="true").items == ()
    assert "pong: hi" in agent.say("ada")
    with pytest.raises(ApiError) as refused:
        agent.ask("pairing.approve", body)
    assert (refused.value.status, refused.value.problem.code) == (409, "pairing_already")
    entries = agent.ask("pairing.history").entries
    assert [one.what for one in entries] == ["approved", "approve"]
    assert entries[1].sender == "ada"


def test_a_dismissed_request_is_not_seen_again(agent: Agent) -> None:
    agent.say("bob")
    request = agent.seen("bob")
    outcome = agent.ask("pairing.dismiss", PairingDismiss(request_id=request.request_id))
    assert outcome.decision == "dismiss"
    assert agent.waiting() == []
    assert agent.ask("pairing.list", refresh="true").items == ()
    assert "pong" not in agent.say("bob")


def test_a_rule_lets_in_and_is_audited_and_survives_the_plane(agent: Agent) -> None:
    rule = PairingRule(kind="channel", channel="chat", sender="carl")
    body = PairingPolicySet(mode="rules", rules=(rule,))
    policy = agent.ask("pairing.set-policy", body)
    assert (policy.mode, policy.version, len(policy.rules)) == ("rules", 1, 1)
    agent.say("carl")
    agent.say("dora")
    agent.seen("dora")
    until("carl is let in", lambda: "pong: hi" in agent.say("carl"))
    entries = until("it is in the history", lambda: agent.ask("pairing.history").entries)
    assert {one.what for one in entries} >= {"approve", "policy"}
    until("only dora waits", lambda: [one.sender for one in agent.waiting()] == ["dora"])
    agent.plane.kill()
    agent.plane.start()
    assert agent.seen("dora").deciding is None
    assert agent.ask("pairing.policy").rules == policy.rules
    approvals = [one for one in agent.ask("pairing.history").entries if one.what == "approved"]
    assert len(approvals) == 1


def test_approve_and_remember_adds_a_rule(agent: Agent) -> None:
    agent.say("eve")
    request = agent.seen("eve")
    body = PairingApprove(request_id=request.request_id, remember=True)
    outcome = agent.ask("pairing.approve", body)
    policy = agent.ask("pairing.policy")
    assert [(one.id, one.sender, one.channel) for one in policy.rules] == [
        (outcome.remembered, "eve", "chat")
    ]
    assert policy.mode == "rules"


def test_who_does_not_run_lists_nothing_and_refuses(agent: Agent) -> None:
    agent.say("finn")
    request = agent.seen("finn")
    agent.plane.cli("instance", "stop", agent.name, "--wait", "20")
    listed = agent.ask("pairing.list", refresh="true")
    assert (listed.items, listed.via, listed.complete) == ((), "none", True)
    assert "not running" in listed.note
    assert agent.waiting() == []
    with pytest.raises(ApiError) as refused:
        agent.ask("pairing.approve", PairingApprove(request_id=request.request_id))
    assert (refused.value.status, refused.value.problem.code) == (409, "instance_not_running")
