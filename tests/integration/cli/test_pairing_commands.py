"""`holdfast pairing` and the secrets of an instance, against a real plane."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.plane.test_pairing import Agent
from tests.support.planes import PlaneProcess, plane_at


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlaneProcess]:
    with plane_at(tmp_path_factory.mktemp("clipairing") / "home") as made:
        yield made


@pytest.fixture(scope="module")
def agent(plane: PlaneProcess) -> Agent:
    return Agent(plane, "asked")


def test_somebody_is_let_in_from_the_command_line(plane: PlaneProcess, agent: Agent) -> None:
    agent.say("ada")
    request = agent.seen("ada")
    listed = plane.cli("pairing", "list").stdout
    assert request.request_id in listed
    assert "ada" in plane.cli("pairing", "list", "asked").stdout
    done = plane.cli("pairing", "approve", "asked", "chat", request.code, "--remember").stdout
    assert done.startswith(f"{request.request_id}: Pairing approved\nremembered by rule r")
    assert "pong: hi" in agent.say("ada")
    again = plane.cli("pairing", "approve", "asked", request.request_id, code=1)
    assert "approved already" in again.stderr
    assert "ada" in plane.cli("pairing", "policy", "asked").stdout
    assert "approved" in plane.cli("pairing", "history", "asked").stdout


def test_somebody_is_put_aside(plane: PlaneProcess, agent: Agent) -> None:
    agent.say("bob")
    request = agent.seen("bob")
    words = ("pairing", "dismiss", "asked", request.request_id)
    changed = plane.cli(*words, "--fingerprint", "0" * 16, code=1)
    assert "not what it was" in changed.stderr
    assert "chat: bob" in plane.cli(*words).stderr
    assert "bob" not in plane.cli("pairing", "list", "asked", "--refresh").stdout


def test_a_policy_is_set_rule_by_rule(plane: PlaneProcess, agent: Agent) -> None:
    words = ("pairing", "policy", "asked")
    policy = plane.json(*words, "--mode", "rules", "--allow", "telegram:7", "--days", "2")
    rules = {rule["channel"]: rule for rule in policy["rules"] if rule["sender"] == "7"}
    assert rules["telegram"]["expires_at"]
    policy = plane.json(*words, "--allow", "device:operator:operator.read,operator.write")
    assert policy["rules"][-1]["scopes"] == ["operator.read", "operator.write"]
    policy = plane.json(*words, "--mode", "manual", "--remove", rules["telegram"]["id"])
    assert policy["mode"] == "manual"
    refused = plane.cli(*words, "--allow", "telegram:8", code=1)
    assert "would switch on" in refused.stderr
    assert plane.cli(*words, "--remove", "nobody", code=4).stderr
    assert "want CHANNEL:SENDER" in plane.cli(*words, "--allow", "telegram", code=2).stderr


def test_secrets_go_in_and_never_come_out(plane: PlaneProcess, agent: Agent) -> None:
    words = ("instance", "secrets", "asked")
    token = "123456:never-to-be-seen-anywhere"
    told = plane.cli(*words, "--set", "telegramBotToken=-", given=f"{token}\n").stdout
    assert "telegramBotToken" in told
    assert "set" in plane.cli("instance", "channels", "asked").stdout
    wrong = plane.cli(*words, "--set", "slackBotToken=-", given="xoxb-1\n", code=1)
    assert "slackAppToken: Slack needs all of its tokens, or none" in wrong.stderr
    assert "belong on the command line" in plane.cli(*words, "--set", "X=plain", code=2).stderr
    found = plane.json(*words, "--unset", "telegramBotToken")
    assert found["configured"] == []
    assert found["restart_needed"]
    everything = b"".join(path.read_bytes() for path in plane.home.rglob("*") if path.is_file())
    assert token.encode() not in everything
