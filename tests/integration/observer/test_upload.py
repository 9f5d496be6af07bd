"""The one way out against a plane that refuses, stumbles, hangs or lies; and registrations."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.kernel.clock import SystemClock
from holdfast.kernel.log import NoLog
from holdfast.machine.observer import cursors, limits
from holdfast.machine.observer.cursors import Cursor
from holdfast.machine.observer.gate_file import Gate
from holdfast.machine.observer.heartbeat import Heart
from holdfast.machine.observer.registration import Registration
from holdfast.machine.observer.upload import Destination, Envelope, Register, Uploader
from holdfast.wire.consent import CLASSES, ContentClass
from tests.integration.observer.conftest import KEY
from tests.support.consent_signer import NODE, answer
from tests.support.recording_plane import API_KEY, RecordingPlane, register_home

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
        self.uploader = Uploader(
            folder / "queue",
            gate_of_node=self.gate,
            destination=lambda: Destination(plane.url, self.registration.key(), "host"),
            clock=self.clock,
            log=NoLog(),
            agent="test",
            credentials={"Authorization": "Bearer machine"},
        )
        self.number = 0

    def registered(self) -> Node:
        register_home(self.home, KEY)
        assert self.ensure()
        return self

    def ensure(self) -> bool:
        return self.registration.ensure(self.uploader, self.gate, lambda: REGISTER)

    def allow(self, *classes: ContentClass, sync_allowed: bool = True) -> None:
        self.number += 1
        grant = self.plane.signer.grant(self.number, classes)
        self.plane.said = {"sync_allowed": sync_allowed, "reason": "intent_started"}
        self.gate.heard(200, answer(grant, **self.plane.said))

    def send(self, content: ContentClass = "logs", name: str = "a", start: int = 0) -> str:
        cursor = Cursor(content, "5" * 16, name, 1, start + 10, "", 0)
        return self.uploader.send(
            Envelope(
                content=content,
                endpoint="logs" if content == "logs" else "events",
                stream="5" * 16,
                start=start,
                event_ids=(f"{name}-{start}",),
                body=json.dumps({"event_ids": [f"{name}-{start}"], "class": content}),
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
    made = Node(tmp_path, plane)
    yield made
    made.uploader.close()


def test_a_closed_class_is_not_queued_and_its_cursor_stays(node: Node) -> None:
    node.registered().allow("transcripts")
    assert node.send("logs") == "closed"
    assert node.cursor() is None
    assert node.send("transcripts") == "queued"
    assert node.cursor("transcripts") is not None


def test_what_is_queued_is_not_sent_once_the_class_is_closed_and_goes_back(node: Node) -> None:
    node.registered()
    node.plane.fault = lambda path: (503, b"") if path == "/ingest/logs" else None
    node.allow("logs", "transcripts")
    for start in (0, 10, 20):
        assert node.send("logs", start=start) == "queued"
    node.plane.wait(lambda: node.plane.count("fault:/ingest/logs") > 0)
    node.allow("transcripts")
    assert node.uploader.purge_closed() == 3
    assert node.uploader.depth() == {}
    rewound = node.cursor()
    assert rewound is not None
    assert rewound.offset == 0
    tried = node.plane.count("fault:/ingest/logs")
    node.plane.fault = lambda _path: None
    node.send("transcripts", "t")
    node.plane.wait(lambda: node.plane.count("/ingest/events") == 1)
    assert node.plane.count("/ingest/logs") == 0
    assert node.plane.count("fault:/ingest/logs") == tried


def test_a_purge_survives_the_end_of_the_process(node: Node, plane: RecordingPlane) -> None:
    node.registered()
    plane.fault = lambda path: (503, b"") if "logs" in path else None
    node.allow("logs")
    node.send("logs")
    node.allow()
    node.uploader.purge_closed()
    node.uploader.close()
    again = Uploader(
        node.folder / "queue",
        gate_of_node=node.gate,
        destination=lambda: Destination(plane.url, node.registration.key(), "host"),
        clock=node.clock,
        log=NoLog(),
        agent="test",
    )
    assert again.depth() == {}
    again.close()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b""),
        (404, b"{}"),
        (302, b""),
        (200, b"<html>a captive portal</html>"),
        (200, b"{}"),
        (200, b'{"ok":false}'),
        (200, b'{"ok":"yes"}'),
        (200, b'{"ok":true,"sync_allowed":false,"reason":"intent_pending"}'),
        (200, b'{"ok":true,"sync_allowed":true,"accepted":0}'),
        (403, b'{"ok":false,"sync_allowed":false}'),
        (429, b'{"ok":false}'),
    ],
)
def test_what_was_not_taken_stays_queued(node: Node, status: int, body: bytes) -> None:
    node.registered().allow("logs")
    node.plane.fault = lambda path: (status, body) if path == "/ingest/logs" else None
    node.send("logs")
    node.plane.wait(lambda: node.plane.count("fault:/ingest/logs") > 0)
    node.uploader.outbox.flush(0.5)
    assert node.uploader.depth() == {"logs": 1}


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_is_refused_for_good_becomes_a_dead_letter_and_the_rest_goes_on(
    node: Node, status: int
) -> None:
    node.registered().allow("logs", "transcripts")
    node.plane.fault = lambda path: (status, b"{}") if path == "/ingest/logs" else None
    node.send("logs")
    node.send("transcripts", "t")
    node.plane.wait(lambda: node.plane.count("/ingest/events") == 1)
    node.plane.wait(lambda: node.uploader.depth() == {})
    assert len(node.uploader.outbox.dead_letters()) == 1
    node.allow("transcripts")
    node.uploader.purge_closed()
    assert node.uploader.outbox.dead_letters() == []


def test_counters_go_where_the_server_allows_nothing_else(node: Node) -> None:
    node.registered().allow("counters", sync_allowed=False)
    node.send("counters")
    node.plane.wait(lambda: node.plane.count("/ingest/events") == 1)
    node.plane.wait(lambda: node.uploader.depth() == {})


def test_a_full_queue_takes_nothing_and_leaves_the_cursor(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.registered().allow("logs")
    node.plane.fault = lambda _path: (503, b"")
    assert node.send("logs", start=0) == "queued"
    monkeypatch.setattr("holdfast.outbox.limits.PENDING_ROWS_MAX", 1)
    assert node.send("logs", start=10) == "full"
    kept = node.cursor()
    assert kept is not None
    assert kept.offset == 10
    assert node.uploader.outbox.stats().dropped == 0


def test_an_endpoint_that_hangs_delays_no_heartbeat_and_no_other_endpoint(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "EXCHANGE_TIMEOUT_S", 3.0)
    node.registered()
    hold = threading.Event()

    def hang(path: str) -> None:
        if path == "/ingest/logs":
            hold.wait(30)

    node.plane.fault = hang
    node.plane.allow()
    heart = node.heart()
    try:
        heart.beat()
        node.send("logs")
        for _ in range(3):
            heart.beat()
        assert node.plane.count("/ingest/logs") == 0
        node.send("transcripts", "t")
        node.plane.wait(lambda: node.plane.count("/ingest/events") == 1)
        assert node.plane.count("/ingest/heartbeat") == 4
    finally:
        hold.set()


@pytest.mark.parametrize("left", ["transcripts", "counters", None])
def test_the_gate_is_asked_again_at_the_send(node: Node, left: ContentClass | None) -> None:
    node.registered().allow(*CLASSES)
    node.plane.fault = lambda path: (503, b"") if path != "/auth" else None
    for content in CLASSES:
        node.send(content, content)
    node.plane.wait(lambda: len(node.plane.content()) > 0)
    if left is None:
        node.allow()
    else:
        node.allow(left)
    node.plane.fault = lambda _path: None
    # Nothing is purged here: the rows are there, and the gate alone holds them.
    node.uploader.resume()
    if left is not None:
        node.plane.wait(lambda: left not in node.uploader.depth(), 30)
    node.uploader.outbox.flush(1)
    sent = [one for one in node.plane.content() if not one.path.startswith("fault:")]
    assert {one.body["class"] for one in sent} == ({left} if left else set())
    assert node.uploader.depth().keys() == set(CLASSES) - {left}


# ------------------------------------------------------------------ heartbeats and registration


def test_a_heartbeat_says_what_is_allowed_and_no_more(node: Node) -> None:
    node.registered()
    node.plane.allow(("logs",))
    node.heart().beat()
    (heartbeat,) = [one for one in node.plane.requests if one.path == "/ingest/heartbeat"]
    assert heartbeat.body.keys() == {
        "node_id", "ts", "platform", "version", "e2e", "seen_number", "queue", "client",
    }  # fmt: skip
    assert heartbeat.size < 700
    assert node.gate.open_classes() == {"logs"}
    node.heart().beat()
    assert node.plane.requests[-1].body["seen_number"] == 1


def test_heartbeats_quicken_while_somebody_looks(node: Node) -> None:
    node.registered()
    heart = node.heart()
    assert heart.beat() == limits.HEARTBEAT_MS
    node.plane.said = {"sync_allowed": False, "viewer_active": True}
    assert heart.beat() == limits.HEARTBEAT_VIEWED_MS
    node.plane.said = {"sync_allowed": False}
    assert heart.beat() == limits.HEARTBEAT_MS


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_server_without_long_polls_is_left_alone(
    node: Node, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.registered()
    monkeypatch.setattr(node.plane, "answer", lambda *_: (status, b""))
    assert node.heart().poll() == limits.WAKE_MUTED_MS


def test_a_machine_without_a_registration_gets_one_of_five_fields(node: Node) -> None:
    assert node.heart().beat() == limits.HEARTBEAT_MS
    path = node.home / ".clawmetry/config.json"
    config = json.loads(path.read_text())
    assert config.keys() == {"api_key", "node_id", "platform", "connected_at", "encryption_key"}
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert config["api_key"] == API_KEY
    assert node.gate.pinned
    assert node.plane.requests[0].body["source"] == "test"
    node.heart().beat()
    assert node.plane.count("/api/register") == 1


def test_a_registration_that_is_there_is_used_again_and_kept(node: Node) -> None:
    node.registered()
    before = (node.home / ".clawmetry/config.json").read_bytes()
    assert node.ensure()
    assert node.plane.count("/api/register") == 0
    assert (node.home / ".clawmetry/config.json").read_bytes() == before


def test_a_registration_without_a_key_to_seal_with_gets_one(node: Node) -> None:
    folder = node.home / ".clawmetry"
    folder.mkdir()
    (folder / "config.json").write_text('{"api_key":"cm_x","node_id":"n","extra":[1]}')
    assert node.ensure()
    config = json.loads((folder / "config.json").read_text())
    assert config["extra"] == [1]
    assert len(config["encryption_key"]) == 44


@pytest.mark.parametrize("text", ["", "{", "[]", '{"api_key":"x","node_id":"n"}', '{"api_key":5}'])
def test_a_damaged_registration_is_left_alone(node: Node, text: str) -> None:
    folder = node.home / ".clawmetry"
    folder.mkdir()
    (folder / "config.json").write_text(text)
    assert not node.ensure()
    assert node.plane.counts() == {}
    assert (folder / "config.json").read_text() == text


def test_a_plane_that_is_down_is_asked_again(node: Node) -> None:
    node.plane.fault = lambda _path: (503, b"")
    assert node.heart().beat() == limits.REGISTER_RETRY_MS
    node.plane.fault = lambda _path: None
    assert node.heart().beat() == limits.HEARTBEAT_MS


def test_the_machines_credentials_go_with_a_registration_alone(node: Node) -> None:
    node.heart().beat()
    node.plane.allow(("logs",))
    node.heart().beat()
    node.send("logs")
    node.plane.wait(lambda: node.plane.count("/ingest/logs") == 1)
    proven = {one.path for one in node.plane.requests if one.proof}
    assert proven == {"/api/register", "/auth"}


def test_the_node_of_the_plane_is_pinned_from_its_answer(node: Node) -> None:
    node.registered()
    state = json.loads((node.folder / "queue/gate.json").read_text())
    assert state["node"] == NODE
    assert state["keys"] == [node.plane.signer.public]
