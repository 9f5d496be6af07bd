"""What leaves an observer, recorded at the socket: nothing before yes, each marker once after."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter

import pytest

from tests.integration.observer.conftest import Home, Running
from tests.support.recording_plane import QUESTIONS, RecordingPlane


def markers(plane: RecordingPlane, key: str) -> Counter[str]:
    """Return how often each marker was delivered, events with the same id counted once."""
    found: Counter[str] = Counter()
    for _, plain in plane.opened(key):
        for word in json.dumps(plain).replace('"', " ").split():
            if word.startswith("MARKER-"):
                found[word] += 1
    return found


def heard(plane: RecordingPlane) -> float:
    """Wait for two further heartbeats; return when the first one came.

    A request that was under way when the observer took in a change has been recorded by then.
    """
    before = plane.count("/ingest/heartbeat")
    plane.woken.set()
    plane.wait(lambda: plane.count("/ingest/heartbeat") > before)
    first_s = time.monotonic()
    plane.woken.set()
    plane.wait(lambda: plane.count("/ingest/heartbeat") > before + 1)
    return first_s


def assert_nothing_left(plane: RecordingPlane) -> None:
    assert plane.content() == []
    with plane.lock:
        answered = sum(request.size for request in plane.requests)
        told = b"".join(plane.wire)
        # A poll that is held has not been answered yet; it is all that may be on its way.
        assert plane.socket_bytes - answered < 1_024
    assert b"MARKER" not in told
    assert {request.path for request in plane.requests} <= QUESTIONS


@pytest.mark.timeout(240)
def test_nothing_leaves_before_yes_whatever_happens(
    home: Home, plane: RecordingPlane, observer: Running, key: str
) -> None:
    for number in range(20):
        home.say("s1", f"MARKER-{number}")
        home.log(f"MARKER-log-{number}")
        home.remember("MEMORY.md", f"MARKER-memory-{number}")
    observer.start()
    for turn in range(4):
        home.say("s1", f"MARKER-later-{turn}")
        before = plane.count("/ingest/heartbeat")
        if turn % 2:
            observer.kill()
            observer.start()
        else:
            # An old server's word alone, and one that says nothing of it, open nothing.
            plane.said = {"sync_allowed": True, "reason": "intent_started"} if turn else {}
            plane.woken.set()
            plane.wait(lambda before=before: plane.count("/ingest/heartbeat") > before)  # type: ignore[misc]
    assert_nothing_left(plane)
    assert observer.stop() == 0
    assert_nothing_left(plane)
    # The files were looked at all the same: what is allowed now comes, and nothing came before.
    observer.start()
    allowed_s = time.monotonic()
    plane.allow()
    plane.wait(lambda: len(markers(plane, key)) == 45)
    assert min(one.at_s for one in plane.content()) > allowed_s


@pytest.mark.timeout(240)
def test_yes_sends_what_was_deferred_and_no_stops_it(
    home: Home, plane: RecordingPlane, observer: Running, key: str
) -> None:
    for number in range(250):
        home.say("s1", f"MARKER-{number}")
    home.log("MARKER-log")
    home.remember("MEMORY.md", "MARKER-memory")
    observer.start()
    assert_nothing_left(plane)
    plane.allow(("transcripts",))
    plane.wait(lambda: len(markers(plane, key)) == 250)
    assert {content for content, _ in plane.opened(key)} == {"transcripts"}
    plane.allow(("transcripts", "logs", "memory"))
    plane.wait(lambda: len(markers(plane, key)) == 252)
    assert set(markers(plane, key).values()) == {1}
    plane.allow(("counters",))
    plane.wait(lambda: plane.count("/ingest/autonomy") > 0)
    plane.refuse()
    plane.wait(lambda: "sync.deferred" in observer.log().partition("sync.activated")[2])
    closed_s = heard(plane)
    home.say("s1", "MARKER-after-no")
    heard(plane)
    allowed_s = time.monotonic()
    plane.allow(("transcripts",))
    plane.wait(lambda: "MARKER-after-no" in markers(plane, key))
    assert [one for one in plane.content() if closed_s < one.at_s < allowed_s] == []
    assert b"MARKER" not in b"".join(plane.wire)


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_every_marker_is_delivered_once_through_flips_and_kills(
    home: Home, plane: RecordingPlane, observer: Running, key: str
) -> None:
    observer.start()
    stop = threading.Event()
    written: list[str] = []

    def write() -> None:
        number = 0
        while not stop.wait(0.02):
            marker = f"MARKER-{number}"
            if number % 3:
                home.say(f"s{number % 2}", marker)
            else:
                home.log(marker)
            written.append(marker)
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    closed_at: int | None = None
    try:
        for flip in range(20):
            if closed_at is not None:
                assert len(plane.content()) == closed_at, "content after no"
                closed_at = None
            before = plane.count("/ingest/heartbeat")
            if flip % 2 == 0:
                plane.allow()
            else:
                plane.refuse()
            plane.wait(lambda before=before: plane.count("/ingest/heartbeat") > before, 30)  # type: ignore[misc]
            if flip % 4 == 3:
                observer.kill()
                closed_at = len(plane.content())
                observer.start()
            elif flip % 4 == 2:
                observer.kill()
                observer.start()
            stop.wait(0.3)
    finally:
        stop.set()
        writer.join()
    plane.allow()
    plane.wait(lambda: len(markers(plane, key)) == len(written), 60)
    assert markers(plane, key) == Counter(written)
    assert b"MARKER" not in b"".join(plane.wire), "something was not sealed"
