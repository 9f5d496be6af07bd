"""Writes texts and settings of towns for `power.py`, and reads what a power cut left of them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from holdfast.plane.wiring import files
from holdfast.plane.wiring.holder import TOWNS_FILE
from holdfast.stores.sqlite import towns
from holdfast.towns.records import Notice, RigSettings, Text
from tests.integration.stores.power_work import NOW, Work, say, select

BODY_BYTES: Final = 3_000


def open_towns(path: Path) -> towns.TownsSqlite:
    """Open it as the plane does."""
    return files.open_kept(path, lambda kept: towns.open_towns(kept, now_ms=NOW))


async def use_towns(path: Path, work: Work) -> None:
    """Keep texts, settings and notices; erase a text and a town."""
    store = open_towns(path)

    async def one(name: str) -> None:
        body = name * (BODY_BYTES // len(name))
        town, gone = f"t-{name}", f"gone-{name}"
        for text in (name, gone):
            await store.put_text(town, Text(id=text, kind="bead", body=body, made_ms=NOW))
        say(f"text:{name}")
        await store.put_rig(town, RigSettings(rig=name, repository=f"/srv/{name}"))
        say(f"rig:{name}")
        await store.put_notice(town, Notice(code="stuck", about=name, at_ms=NOW))
        say(f"notice:{name}")
        await store.drop_text(town, gone)
        say(f"erased:{name}")
        await store.put_rig(gone, RigSettings(rig="r", repository="/srv/r"))
        await store.put_text(gone, Text(id="e", kind="mail", body=body, made_ms=NOW))
        assert await store.erase(gone) == 2
        say(f"ended:{name}")

    await work.run(one)
    await store.close()


_FACTS: Final = f"""
    SELECT 'text:' || id FROM texts
        WHERE id NOT LIKE 'gone-%' AND id <> 'e' AND length(body) > {BODY_BYTES // 2}
    UNION ALL SELECT 'rig:' || name FROM rigs WHERE json_valid(body) AND name <> 'r'
    UNION ALL SELECT 'notice:' || about FROM notices
    UNION ALL SELECT 'erased:' || id FROM texts t WHERE id NOT LIKE 'gone-%' AND id <> 'e'
        AND NOT EXISTS (SELECT 1 FROM texts g WHERE g.id = 'gone-' || t.id)
    UNION ALL SELECT 'ended:' || name FROM rigs r WHERE name <> 'r'
        AND NOT EXISTS (SELECT 1 FROM texts WHERE town = 'gone-' || r.name)
        AND NOT EXISTS (SELECT 1 FROM rigs g WHERE g.town = 'gone-' || r.name)
"""


async def find_towns(home: Path) -> set[str]:
    """Read it, as handlers do."""
    path = home / TOWNS_FILE
    store = open_towns(path)
    try:
        found = set(select(path, _FACTS))
        for fact in found:
            kind, _, name = fact.partition(":")
            if kind == "rig":
                assert await store.rig(f"t-{name}", name) is not None
        return found
    finally:
        await store.close()
