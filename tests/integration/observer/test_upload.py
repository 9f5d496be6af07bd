"""The one way out against a plane that refuses, stumbles, hangs or lies; and registrations."""

from __future__ import annotations

import json
import threading

import pytest

from holdfast.machine.observer import limits
from holdfast.machine.observer.cursors import Cursor
from holdfast.machine.observer.questions import Question, WakePoll
from holdfast.machine.observer.upload import Reply
from holdfast.wire.consent import CLASSES, ContentClass
from holdfast.wire.limits import NODE_WAIT_S_MAX
from tests.integration.observer.conftest import Node
from tests.support.consent_signer import NODE
from tests.support.patience import patience
from tests.support.recording_plane import API_KEY, HANG_UP, RecordingPlane


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
    assert node.uploader.follow_gate() == 3
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
    node.uploader.follow_gate()
    node.restart()
    assert node.uploader.depth() == {}


def test_a_bound_that_rises_withdraws_what_is_queued_and_has_it_read_again(node: Node) -> None:
    node.registered()
    node.plane.fault = lambda path: (503, b"") if "logs" in path else None
    node.allow("logs", "transcripts")
    assert node.send("logs") == "queued"
    node.plane.wait(lambda: node.plane.count("fault:/ingest/logs") > 0)
    node.allow("logs", "transcripts", since_ms=50)
    node.plane.fault = lambda _path: None
    # It is held back at once, before anything was withdrawn.
    node.uploader.resume()
    node.uploader.outbox.flush(1)
    assert node.plane.count("/ingest/logs") == 0
    assert node.uploader.follow_gate() == 1
    assert node.uploader.follow_gate() is None
    rewound = node.cursor()
    assert rewound is not None
    assert rewound.offset == 0
    assert node.send("logs") == "closed"
    assert node.send("logs", since_ms=50) == "queued"
    node.plane.wait(lambda: node.plane.count("/ingest/logs") == 1)


def test_a_bound_that_rose_before_the_end_of_the_process_is_followed_after_it(node: Node) -> None:
    node.registered()
    node.plane.fault = lambda path: (503, b"") if "logs" in path else None
    node.allow("logs", since_ms=20)
    node.uploader.follow_gate()
    assert node.send("logs", since_ms=20) == "queued"
    node.allow("logs", since_ms=50)
    node.restart()
    assert node.uploader.depth() == {"logs": 1}
    assert node.uploader.follow_gate() == 1
    assert node.uploader.depth() == {}


def test_a_bound_that_falls_goes_back_to_what_was_passed_over(node: Node) -> None:
    node.registered().allow("logs", since_ms=50)
    node.uploader.follow_gate()
    passed = Cursor("logs", "5" * 16, "a", 1, 30, "", 0).passed_over(10, 50)
    assert node.uploader.pass_over(passed)
    node.restart()
    node.allow("logs", since_ms=20)
    assert node.uploader.follow_gate() == 0
    back = node.cursor()
    assert back is not None
    assert back.offset == 10


def test_the_gate_is_asked_again_before_a_request_is_repeated(node: Node) -> None:
    node.registered().allow("logs")
    node.send("logs", start=0)
    node.plane.wait(lambda: node.plane.count("/ingest/logs") == 1)

    def revoke_and_hang_up(path: str) -> tuple[int, bytes] | None:
        if path != "/ingest/logs":
            return None
        node.allow()
        return HANG_UP, b""

    # On the connection that was kept: a request that fails there is made again on a new one.
    node.plane.fault = revoke_and_hang_up
    node.send("logs", start=10)
    node.plane.wait(lambda: node.plane.count("fault:/ingest/logs") == 1)
    node.uploader.outbox.flush(1)
    assert node.plane.count("fault:/ingest/logs") == 1
    assert node.plane.count("/ingest/logs") == 1
    assert node.uploader.depth() == {"logs": 1}


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
        (200, b'{"ok":true,"sync_allowed":true,"accepted":0,"error":"quota_full"}'),
        (200, b'{"ok":true,"sync_allowed":false,"accepted":0,"error":"unreadable"}'),
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


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b"{}"),
        (413, b"{}"),
        (422, b"{}"),
        (200, b'{"ok":true,"sync_allowed":true,"accepted":0,"error":"unreadable"}'),
    ],
)
def test_what_is_refused_for_good_becomes_a_dead_letter_and_the_rest_goes_on(
    node: Node, status: int, body: bytes
) -> None:
    node.registered().allow("logs", "transcripts")
    node.plane.fault = lambda path: (status, body) if path == "/ingest/logs" else None
    node.send("logs")
    node.send("transcripts", "t")
    node.plane.wait(lambda: node.plane.count("/ingest/events") == 1)
    node.plane.wait(lambda: node.uploader.depth() == {})
    assert len(node.uploader.outbox.dead_letters()) == 1
    node.allow("transcripts")
    node.uploader.follow_gate()
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
    hold, hung = threading.Event(), threading.Event()

    def hang(path: str) -> None:
        if path == "/ingest/logs":
            hung.set()
            hold.wait(patience(30))

    node.plane.fault = hang
    node.plane.allow()
    heart = node.heart()
    try:
        heart.beat()
        node.send("logs")
        assert hung.wait(patience(15))
        for _ in range(3):
            heart.beat()
        assert node.uploader.depth() == {"logs": 1}
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
def test_a_server_without_long_polls_is_left_alone(node: Node, status: int) -> None:
    node.registered()
    node.plane.fault = lambda path: (status, b"") if path == "/ingest/wake" else None
    assert node.heart().poll() == limits.WAKE_MUTED_MS


def test_a_poll_asks_for_no_longer_than_the_plane_holds_one(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    ask = node.uploader.ask

    def noting(question: Question) -> Reply:
        asked.append(question)
        return ask(question)

    heart = node.registered().heart()
    node.plane.woken.set()
    monkeypatch.setattr(node.uploader, "ask", noting)
    heart.poll()
    assert asked == [WakePoll(wait=NODE_WAIT_S_MAX)]


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


@pytest.mark.parametrize("value", ["1" * 5_000, "[" * 995 + "]" * 995])
def test_a_registration_that_python_cannot_read_is_left_alone(node: Node, value: str) -> None:
    folder = node.home / ".clawmetry"
    folder.mkdir()
    (folder / "config.json").write_text(f'{{"api_key":"cm_x","node_id":"n","x":{value}}}')
    assert not node.registration.read()
    assert "want a JSON object" in node.registration.problem


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
