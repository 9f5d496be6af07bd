"""An instance is observed from its start, and its content leaves after its owner's yes alone."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.wire.api.consent import ConsentGrant, ConsentRevoke, KeyRotate
from holdfast.wire.consent import INTENT_CLASSES, TEXT_VERSION, ContentClass
from tests.support.observed import Observed, ask
from tests.support.planes import PlaneProcess, plane_at, until


@pytest.fixture(scope="module")
def watching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlaneProcess]:
    """A plane whose machines have observers."""
    with plane_at(tmp_path_factory.mktemp("observers") / "home", HOLDFAST_OBSERVERS="true") as own:
        yield own


def look(one: Observed) -> None:
    """Have somebody look at the node, so that its observer hears of consent at once."""
    with one.plane.client() as client:
        client.call("content.node", path={"id": one.node.id})


def grant(one: Observed, *classes: ContentClass) -> None:
    with one.plane.client() as client:
        body = ConsentGrant(classes=classes, text_version=TEXT_VERSION, backfill="everything")
        client.call("consent.grant", path={"id": one.node.id}, body=body)
    look(one)


def revoke(one: Observed, *classes: ContentClass) -> None:
    closed = len(one.told("gate.closed"))
    with one.plane.client() as client:
        body = ConsentRevoke(classes=classes)
        client.call("consent.revoke", path={"id": one.node.id}, body=body)
    look(one)
    until("the gate is closed", lambda: len(one.told("gate.closed")) > closed, seconds=15)


def test_nothing_leaves_before_yes_and_nothing_after_no(watching: PlaneProcess) -> None:
    one = Observed.created(watching, "quiet")
    one.say("MARKER-before")
    one.remember("MARKER-memory-before")

    # Registered as an instance's node, by files that the real daemon starts from too.
    config, url = (one.home / ".clawmetry" / name for name in ("config.json", "dashboard-url.txt"))
    assert list(one.registration) == [
        "api_key", "node_id", "platform", "connected_at", "encryption_key"
    ]  # fmt: skip
    assert [stat.S_IMODE(path.stat().st_mode) for path in (config, url)] == [0o600, 0o600]
    assert url.read_text().strip() == f"{watching.url}/nodes/{one.node.id}/sessions"
    assert one.registration["encryption_key"] not in url.read_text()
    assert (one.folder / "state/observer/gate.json").is_file(), "where no agent can write"
    assert one.node.source == "auto"

    # Whatever happens to the observer, before a yes nothing of content is sent.
    agent, first = one.agent().pid, one.running()
    first.kill()
    until("another runs", lambda: (found := one.observer()) and found.pid != first.pid, seconds=15)
    assert one.agent().pid == agent, "the agent does not notice"
    until("it is heard again", lambda: len(one.told("sync.deferred")) == 2, seconds=30)
    assert [row["reason"] for row in one.log("observer.failed")] == ["it was ended by SIGKILL"]
    assert not one.told("registration.done")[1:], "it goes on with the registration that is there"
    assert one.sizes() == (0, 0)

    grant(one, "transcripts")
    until("the marker arrives", lambda: "MARKER-before" in one.arrived(), seconds=15)
    assert "MARKER-memory" not in one.arrived()
    assert one.sizes()[1] == 0

    revoke(one, "transcripts")
    one.say("MARKER-after")
    grant(one, "memory")
    until("only memory", lambda: "MARKER-memory-before" in one.arrived(), seconds=15)
    assert "MARKER-after" not in one.arrived()
    assert one.sizes()[1] == 0, "and nothing was tried"

    assert one.agent().pid == agent
    with watching.client() as client:
        view = watching.view("quiet")
        assert view is not None
        shown = client.call("instance.get", path={"id": view.id}).observer
    assert shown is not None
    assert view.restarts == 0


def secrets_of_the_agent(one: Observed) -> set[str]:
    """Return every text that an agent has in its variables, and in files of its home."""
    found = set(one.agent().environ().values())
    for path in one.home.rglob("*"):
        if path.is_file() and not path.is_symlink():
            text = path.read_text(errors="replace")
            found |= {text.strip(), *text.replace('"', " ").replace(",", " ").split()}
    return {text for text in found if text.isascii() and 8 <= len(text) <= 256 and "\n" not in text}


def test_only_the_controllers_token_speaks_for_the_owner(watching: PlaneProcess) -> None:
    one = Observed.created(watching, "mine")
    known = secrets_of_the_agent(one)
    ours = one.running().environ()
    key, token = ours["HOLDFAST_API_KEY"], ours["HOLDFAST_GATEWAY_TOKEN"]
    sandbox = ours["HOLDFAST_SANDBOX_ID"]
    node_key = one.registration["api_key"]
    tried = (node_key, one.registration["encryption_key"], one.agent().environ()["DEMO_TOKEN"])
    assert known.issuperset(tried)
    assert not known & {key, token}, "what proves a machine is not where its agent can read"
    port = json.loads((one.folder / "state/run/controller.json").read_text())["port"]
    controller = f"http://127.0.0.1:{port}"
    routes = (("POST", "clawmetry-start-sync"), ("GET", "clawmetry-dashboard-url"))
    for method, route in routes:
        for text in (*tried, key):
            status, _ = ask(controller, f"/_kilo/{route}", text, method=method)
            assert status == 401
    body = {"sandboxId": sandbox}
    for text in (*tried, key):
        for gateway in (text, node_key):
            status, answer = ask(
                watching.url, "/api/controller/intent", text, method="POST", body=body,
                x_holdfast_gateway_token=gateway,
            )  # fmt: skip
            assert status == 403, answer
    status, answer = ask(watching.url, "/api/cloud/intent-start", node_key, method="POST", body={})
    assert (status, json.loads(answer)["ok"]) == (403, False)
    assert one.node.state == "waiting"

    status, answer = ask(controller, "/_kilo/clawmetry-dashboard-url", token)
    assert (status, json.loads(answer)) == (
        200, {"url": f"{watching.url}/nodes/{one.node.id}/sessions"}
    )  # fmt: skip
    answers = [
        ask(controller, f"/{prefix}/clawmetry-start-sync", token, method="POST")
        for prefix in ("_kilo", "_holdfast")
    ]
    assert [(status, json.loads(text)) for status, text in answers] == [
        (200, {"ok": True, "alreadyStarted": False}),
        (200, {"ok": True, "alreadyStarted": True}),
    ]
    until("it is granted", lambda: set(one.node.classes) == set(INTENT_CLASSES), seconds=10)
    with watching.client() as client:
        receipts = client.call("consent.receipts", path={"id": one.node.id}).items
    assert receipts[-1].credential == f"controller:{sandbox}"


def test_a_key_that_is_rotated_is_followed_and_later_machines_pin_the_present_one(
    watching: PlaneProcess,
) -> None:
    old = Observed.created(watching, "old")
    before = old.running().environ()["HOLDFAST_CONSENT_KEY"]
    old.running().suspend()
    with watching.client() as client:
        client.call("consent.rotate-key", body=KeyRotate())
    # It ends before it has heard of the next key, and the plane launches its machine anew.
    view = watching.ready("old")
    old.running().kill()
    watching.cli("instance", "restart", "old")
    until(
        "the machine is launched anew",
        lambda: (now := watching.view("old")) and now.epoch > view.epoch and now.agent_ready,
        seconds=30,
    )
    old.say("MARKER-old")
    grant(old, "transcripts")
    until("the old one follows", lambda: "MARKER-old" in old.arrived(), seconds=30)

    new = Observed.created(watching, "new")
    pinned = new.running().environ()["HOLDFAST_CONSENT_KEY"]
    assert pinned != before
    assert json.loads((new.folder / "state/observer/gate.json").read_text())["keys"] == [pinned]
    new.say("MARKER-new")
    grant(new, "transcripts")
    until("the new one needs no successor", lambda: "MARKER-new" in new.arrived(), seconds=15)


def test_a_link_in_an_agents_home_leads_nowhere(watching: PlaneProcess, tmp_path: Path) -> None:
    """The observer could read what the agent's sandbox hides: a neighbour's memory, for one."""
    one = Observed.created(watching, "curious")
    hidden = tmp_path / "neighbour"
    for folder in ("workspace", "projects/p", "logs"):
        (hidden / folder).mkdir(parents=True)
    (hidden / "workspace/MEMORY.md").write_text("MARKER-neighbour")
    (hidden / "projects/p/s.jsonl").write_text('{"type":"user","uuid":"1","x":"MARKER-claude"}\n')
    (hidden / "logs/openclaw-1.log").write_text('{"0":"MARKER-log"}\n')
    (one.home / ".openclaw").symlink_to(hidden)
    (one.home / ".claude").symlink_to(hidden)
    grant(one, "memory", "transcripts", "logs")
    until("the gate is open", lambda: one.told("gate.opened"), seconds=15)
    # What comes after is read, in the same round as what must not be.
    own = one.home / ".codex/sessions/1"
    own.mkdir(parents=True)
    (own / "s.jsonl").write_text('{"type":"event","id":"1","text":"MARKER-own"}\n')
    until("its own arrives", lambda: "MARKER-own" in one.arrived(), seconds=15)
    (own / "t.jsonl").write_text('{"type":"event","id":"2","text":"MARKER-next"}\n')
    until("and the next round's", lambda: "MARKER-next" in one.arrived(), seconds=15)
    arrived = one.arrived()
    assert not [name for name in ("neighbour", "claude", "log") if f"MARKER-{name}" in arrived]


def test_a_plane_without_observers_says_so(shared: PlaneProcess) -> None:
    view = shared.ready("demo")
    with shared.client() as client:
        told = until(
            "its machine tells",
            lambda: client.call("instance.get", path={"id": view.id}).observer,
            seconds=30,
        )
    assert (told.state, told.reason) == ("off", "HOLDFAST_OBSERVER=false turns it off")
    assert not client_nodes(shared, view.id)


def client_nodes(plane: PlaneProcess, instance: str) -> list[str]:
    """Return the nodes of an instance."""
    with plane.client() as client:
        items = client.call("consent.list", query={"instance": instance}).items
    return [one.id for one in items]
