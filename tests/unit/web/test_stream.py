"""The newest state always arrives, and nobody hears of another account's things."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.letters.topics import CONTACT, INSTANCE
from holdfast.web.hub import Change, Hub, Pending, may_know, message, signal
from holdfast.wire.api.call import Principal

OPERATOR = Principal("operator", "operator", None, "session")
OWNER = Principal("olga", "owner", "local", "session")

keys = st.sampled_from([f"in-{n}" for n in range(12)])
steps = st.lists(st.one_of(keys, st.none()), max_size=80)  # None: the reader takes


@given(steps, st.integers(1, 14))
def test_the_newest_state_of_each_key_always_arrives(steps: list[str | None], most: int) -> None:
    pending = Pending(keys_max=most)
    newest: dict[str, int] = {}
    seen: dict[str, int] = {}
    offered = taken = dropped = 0

    def take() -> None:
        nonlocal taken, dropped
        batch = pending.take()
        if batch is None:
            return
        taken += len(batch.changes)
        dropped += batch.dropped
        seen.update(newest if batch.all_stale else {c.key: c.seq for c in batch.changes})
        assert len(batch.changes) <= most

    for seq, step in enumerate(steps):
        if step is None:
            take()
            continue
        offered += 1
        newest[step] = seq
        pending.offer(Change(INSTANCE, step, "local", seq))
    take()
    assert seen == newest
    assert taken + dropped == offered
    assert pending.take() is None


@given(st.one_of(st.none(), st.sampled_from(["local", "other"])))
def test_an_owner_is_told_of_their_own_only(account: str | None) -> None:
    change = Change(INSTANCE, "in-1", account, 1)
    assert may_know("local", change, operator=False) == (account == "local")
    assert may_know(None, change, operator=True)
    assert not may_know(None, change, operator=False)


async def test_a_subscription_hears_its_topics_and_account() -> None:
    hub = Hub()
    with hub.subscribe(OWNER, {INSTANCE}) as mine, hub.subscribe(OPERATOR, {INSTANCE}) as all_:
        hub.publish(INSTANCE, "theirs", "other")
        hub.publish(INSTANCE, "ours", "local")
        hub.publish(CONTACT, "ours", "local")
        hub.publish(INSTANCE, "nobody", None)
        heard = await mine.next(1, coalesce_s=0)
        everything = await all_.next(1, coalesce_s=0)
    assert heard is not None
    assert [change.key for change in heard.changes] == ["ours"]
    assert everything is not None
    assert [change.key for change in everything.changes] == ["theirs", "ours", "nobody"]
    assert hub.readers == 0


async def test_a_burst_arrives_as_one_and_says_what_was_overtaken() -> None:
    hub = Hub()
    with hub.subscribe(OPERATOR, {INSTANCE}) as mine:
        waiting = asyncio.create_task(mine.next(5, coalesce_s=0.01))
        await asyncio.sleep(0)
        for _ in range(10):
            hub.publish(INSTANCE, "in-1", "local")
        batch = await waiting
        assert batch is not None
        assert ([c.seq for c in batch.changes], batch.dropped) == ([10], 9)
        assert await mine.next(0.01) is None
    assert hub.dropped == 9


def read_event(sent: bytes) -> str:
    """Return the data of an event as a browser reads it."""
    lines = sent.decode().replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(line[6:] for line in lines if line.startswith("data: "))


@pytest.mark.parametrize("text", ["def f():\n    if x:\n\n        return 1\n", "a\x0bb", "  a"])
def test_a_message_carries_html_as_it_is(text: str) -> None:
    assert read_event(message(f"<pre>{text}</pre>", seq=7)) == f"<pre>{text}</pre>"


def test_a_message_has_no_line_of_its_own() -> None:
    sent = message("<p>\n  a\r\n\r b</p>", seq=7)
    assert sent == b"id: 7\ndata: <p>\ndata:   a\ndata: \ndata:  b</p>\n\n"
    assert signal("gone", seq=7) == b"id: 7\nevent: gone\ndata: gone\n\n"
