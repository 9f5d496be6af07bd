"""Writes content and consent of nodes for `power.py`, and reads what a power cut left of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from holdfast.actors.dispatch import Provider
from holdfast.actors.kinds import make_kinds
from holdfast.actors.limiter import Limiter
from holdfast.actors.ports import Reader
from holdfast.consent import events
from holdfast.consent.actions import DELETER, SIGNER
from holdfast.consent.definition import KIND, arrival
from holdfast.consent.effects import ConsentCalls
from holdfast.consent.index import NodeIndex
from holdfast.consent.state import STATE_VERSION, Node, decode_kept, decode_state, granted
from holdfast.consent.views import NODE_VIEW, RECEIPT_VIEW
from holdfast.content.gate import Admitted
from holdfast.content.records import Keep, NodeKey, Row, Usage
from holdfast.content.records import Node as Observed
from holdfast.kernel.clock import DAY_MS, SystemClock
from holdfast.kernel.ids import address
from holdfast.kernel.metrics import NoMeter
from holdfast.plane.consent_key import make_consent_key, verify
from holdfast.plane.wiring import files
from holdfast.plane.wiring.consent import node_kind
from holdfast.plane.wiring.engine import make_engine
from holdfast.plane.wiring.holder import CONTENT_FILE, JOURNAL_FILE
from holdfast.stores.sqlite import content
from holdfast.stores.sqlite.journal_reader import SqliteReader
from holdfast.wire.consent import CLASSES, ContentClass, Receipt, node_of_name
from holdfast.wire.times import time_text
from tests.integration.stores.power_work import NOW, Work, open_journal, say, select
from tests.support.logs import Lines
from tests.support.patience import patience

# ------------------------------------------------------------------------------------ content

BODY_BYTES: Final = 3_000


def open_content(path: Path) -> content.ContentSqlite:
    """Open it as the plane does."""
    return files.open_kept(path, lambda kept: content.open_content(kept, now_ms=NOW))


def _row(stream: str, keep: Keep, name: str, usage: Sequence[Usage] = ()) -> Row:
    body = name.encode() * (BODY_BYTES // len(name))
    return Row(stream, keep, name.encode(), NOW, sealed=True, body=body, usage=usage)


async def use_content(path: Path, work: Work) -> None:
    """Keep keys, nodes and content of each class; revoke a key, and delete what was stored."""
    store = open_content(path)

    async def write(node: int, of: ContentClass, *rows: Row) -> None:
        written = await store.write(Admitted(node, of, rows, NOW))
        assert written.stored == len(rows)

    async def one(name: str) -> None:
        opening, count = map(int, name.split("-"))
        node = opening * work.rounds + count + 1
        key = NodeKey(id=f"nk-{name}", hash=f"hash-{name}", name="k", account="local")
        await store.add_key(key)
        say(f"key:{key.id}")
        await store.put_nodes(
            [Observed(no=node, id=f"nd-{name}", account="local", name=name, key=key.id)]
        )
        say(f"node:nd-{name}")
        said = [f"said-{name}-{each}" for each in range(3)]
        await write(node, "transcripts", *(_row("session:s", "once", each) for each in said))
        say(*(f"item:{each}" for each in said))
        await write(node, "memory", _row("file:m", "version", f"memory-{name}"))
        say(f"item:memory-{name}")
        day = time_text(NOW + node * DAY_MS)[:10]
        used = Usage(name, 1, 2, 3, 4, 5, 6, 7)
        await write(node, "counters", _row(f"day:{day}", "latest", f"day-{name}", (used,)))
        say(f"item:day-{name}", f"usage:{name}")
        await write(node, "logs", _row("log", "once", f"log-{name}"))
        await store.delete(node, ["logs"])
        say(f"gone:{name}")
        await store.revoke_key(key.id, NOW)
        say(f"revoked:{key.id}")

    await work.run(one)
    await store.close()


_CONTENT_FACTS: Final = f"""
    SELECT 'key:' || id FROM keys
    UNION ALL SELECT 'revoked:' || id FROM keys WHERE revoked_ms IS NOT NULL
    UNION ALL SELECT 'node:' || id FROM nodes
    UNION ALL SELECT 'item:' || CAST(CASE s.class
            WHEN 'memory' THEN substr(identity, 1, length(identity) - 8) ELSE identity END AS TEXT)
        FROM items JOIN streams s ON s.no = stream WHERE length(body) > {BODY_BYTES // 2}
    UNION ALL SELECT 'usage:' || model FROM usage
    UNION ALL SELECT 'gone:' || n.name FROM nodes n WHERE NOT EXISTS
        (SELECT 1 FROM streams s JOIN items i ON i.stream = s.no
         WHERE s.node = n.no AND s.class = 'logs')
"""


async def find_content(home: Path) -> set[str]:
    """Read it, as the directory loads it and as its counts have it."""
    path = home / CONTENT_FILE
    store = open_content(path)
    try:
        await store.load()
        uneven = "SELECT no FROM streams s WHERE items <> (SELECT count(*) FROM items i"
        assert not [*select(path, f"{uneven} WHERE i.stream = s.no)")], "counts of a stream differ"
        return set(select(path, _CONTENT_FACTS))
    finally:
        await store.close()


# ------------------------------------------------------------------------------------ consent

KEY: Final = make_consent_key(bytes(range(32)), now_ms=NOW)


class _Stored:
    """Content that is deleted at once."""

    async def delete(self, node: str, classes: Sequence[ContentClass]) -> dict[ContentClass, int]:
        del node
        return dict.fromkeys(classes, 1)


async def use_consent(path: Path, work: Work) -> None:
    """Have nodes register, and their owner grant, revoke and delete, each signed."""
    clock = SystemClock()
    store = open_journal(path, clock)
    provider = Provider(execute=ConsentCalls(KEY, _Stored()).execute, gate=Limiter(clock))
    engine = make_engine(
        store, make_kinds(node_kind()), providers={SIGNER: provider, DELETER: provider},
        lookouts={}, clock=clock, log=Lines(), meter=NoMeter(), holder="test", code="test",
    )  # fmt: skip
    index = NodeIndex(clock)
    engine.owner.listen(index.on_commit)
    await engine.start()

    async def decide(node: str, event: events.Event, name: str) -> None:
        row = arrival(event, dedupe=name, source="api", by="ann")
        answer = await engine.mailbox.ask(
            address(KIND, node), row, wait_ms=round(1_000 * patience(30))
        )
        assert answer.stamp is not None
        assert answer.stamp.outcome == "applied", answer.stamp

    async def settled(node: str) -> Node:
        async with asyncio.timeout(patience(10)):
            while (state := index.of(node)) is None or state.unsigned or state.deletions:  # noqa: ASYNC110
                await asyncio.sleep(0.002)
        return state

    owner: dict[str, Any] = {"by": "ann", "credential": "session:ann"}

    async def one(name: str) -> None:
        node = node_of_name("local", name)
        await decide(node, events.NodeRegistered(account="local", name=name, **owner), "made")
        say(f"registered:{node}")
        await decide(node, events.ConsentGranted(classes=CLASSES, **owner), "yes")
        say(f"number:{node}:2")
        state = await settled(node)
        say(f"signed:{node}:{state.grant_number}")
        say(f"receipt:{node}:1:granted")
        no = events.ConsentRevoked(classes=("transcripts", "logs"), delete=True, **owner)
        await decide(node, no, "no")
        say(f"revoked:{node}")
        state = await settled(node)
        say(f"signed:{node}:{state.grant_number}")
        say(f"receipt:{node}:3:revoked")
        say(f"receipt:{node}:5:deleted")

    await work.run(one)
    await engine.stop()
    await store.close()


async def find_consent(home: Path) -> set[str]:
    """Read the rows that the plane fills its memory from, and verify what is signed."""
    path = home / JOURNAL_FILE
    await open_journal(path).close()
    reader, found = SqliteReader(path), set[str]()
    try:
        for row in await _rows(reader, NODE_VIEW):
            state = decode_state(row, STATE_VERSION)
            found.add(f"registered:{state.node}")
            found.update(f"number:{state.node}:{each}" for each in range(1, state.number + 1))
            found.update(f"signed:{state.node}:{each}" for each in range(1, state.grant_number + 1))
            if state.number > 2 and "transcripts" not in granted(state):
                found.add(f"revoked:{state.node}")
            assert state.grant is None or verify(state.grant, KEY.public_key)
        for row in await _rows(reader, RECEIPT_VIEW):
            kept = decode_kept(row)
            receipt = verify(kept.document, KEY.public_key)
            assert isinstance(receipt, Receipt)
            found.add(f"receipt:{receipt.node}:{kept.number}:{receipt.act}")
    finally:
        await reader.close()
    return found


async def _rows(reader: Reader, view: str) -> list[bytes]:
    page = await reader.views(view, account=None, after="", limit=10_000)
    return [body for _key, body, _seq in page]
