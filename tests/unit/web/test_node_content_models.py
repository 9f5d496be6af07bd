"""What the pages of a node's content make of the API: trees, differences, empty places."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from msgspec.structs import replace

from holdfast.web.pages import node_memory
from holdfast.web.pages.node_memory import Versions, shown_version
from holdfast.web.pages.node_sessions import as_tree
from holdfast.web.parts.difference import Piece
from holdfast.web.parts.observed import why_empty
from holdfast.wire.api.content import (
    MemoryVersion,
    NodeDetail,
    RefusedCount,
    SealedCount,
    SessionView,
)
from tests.support.patience import patience
from tests.support.samples import sample


def session(key: str, parent: str = "") -> SessionView:
    found: SessionView = sample(SessionView)
    return replace(found, name=f"of {key}", key=key, parent=parent)


def test_each_session_stands_once_below_the_one_that_started_it() -> None:
    found = [session("c", "b"), session("a"), session("b", "a"), session("x", "not here")]
    assert [(one.key, depth) for one, depth in as_tree(found)] == [
        ("a", 0), ("b", 1), ("c", 2), ("x", 0),
    ]  # fmt: skip


def test_sessions_that_say_they_started_each_other_are_all_shown() -> None:
    found = [session("a", "b"), session("b", "a"), session("c", "c")]
    assert sorted((one.key, depth) for one, depth in as_tree(found)) == [
        ("a", 0), ("b", 0), ("c", 0),
    ]  # fmt: skip
    alike = [replace(session("k"), name=f"n{at}") for at in range(3)]
    assert [one.name for one, _ in as_tree(alike)] == ["n0", "n1", "n2"]


def version(content: str) -> MemoryVersion:
    return MemoryVersion(at="2026-11-30T10:00:00.000Z", content=content, sealed=False)


async def test_a_version_is_shown_by_what_it_changed_of_the_one_before() -> None:
    found, kept = [version("one two"), version("one")], Versions()
    shown = await shown_version(kept, found, 0, more=False)
    assert [(piece.kind, piece.text.strip()) for piece in shown.pieces] == [
        ("same", "one"), ("added", "two"),
    ]  # fmt: skip
    assert (shown.first, shown.is_partial) == (False, False)
    assert (await shown_version(kept, found, 0, more=False)).pieces is shown.pieces
    oldest = await shown_version(kept, found, 1, more=False)
    assert (oldest.first, [piece.kind for piece in oldest.pieces]) == (True, ["same"])
    assert (await shown_version(kept, found, 1, more=True)).is_partial


async def test_the_loop_is_not_held_while_two_versions_are_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared = threading.Event()

    def difference(*_: str) -> tuple[Piece, ...]:
        assert compared.wait(patience(10)), "the loop did not go on meanwhile"
        return ()

    monkeypatch.setattr(node_memory, "difference", difference)
    shown = asyncio.create_task(
        shown_version(Versions(), [version("b"), version("a")], 0, more=False)
    )
    await asyncio.sleep(0)
    compared.set()
    assert (await shown).pieces == ()


def detail(**fields: Any) -> NodeDetail:
    node = {"classes": ("logs",), "heard_at": "2026-11-30T10:00:00.000Z", "online": True}
    node |= {"sender_silent": False}
    node |= {name: fields.pop(name) for name in [*node] if name in fields}
    found: NodeDetail = sample(NodeDetail)
    return replace(found, node=replace(found.node, **node), **fields)


def test_an_empty_place_says_what_it_waits_for() -> None:
    refused = replace(sample(RefusedCount), of="logs", why="consent", bytes=2_000)
    sealed = replace(sample(SealedCount), of="logs")
    assert "has not let logs out." in why_empty(detail(classes=()), "logs")
    assert "2.0 kB were refused" in why_empty(detail(classes=(), refused=(refused,)), "logs")
    assert "sealed" in why_empty(detail(sealed=(sealed,)), "logs")
    assert "first heartbeat" in why_empty(detail(heard_at=None), "logs")
    assert "silent" in why_empty(detail(online=False), "logs")
    assert "was chosen to send it is silent" in why_empty(detail(sender_silent=True), "logs")
    assert "none has come yet" in why_empty(detail(), "logs")
