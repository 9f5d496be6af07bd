"""Every store of a town's texts and settings keeps to the same words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest
from msgspec.structs import replace

from holdfast.kernel.clock import DAY_MS
from holdfast.stores.memory.towns import MemoryTownRecords
from holdfast.stores.sqlite.towns import TownsSqlite, open_towns
from holdfast.towns.records import (
    NOTICES_KEPT,
    GateSetting,
    Notice,
    RigSettings,
    Text,
    TownRecords,
)

NOW = 20_000 * DAY_MS


@pytest.fixture(params=["memory", "sqlite"])
async def records(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TownRecords]:
    if request.param == "memory":
        yield MemoryTownRecords()
        return
    made = open_towns(tmp_path / "towns.db", now_ms=NOW)
    yield made
    await made.close()


def text(number: int, title: str = "Mend it") -> Text:
    body = "a «line»\n" * number + "\x00 😀"
    return Text(id=f"bead-{number}", kind="bead", title=title, body=body, made_ms=NOW)


RIG = RigSettings(
    rig="web", repository="https://forge.test/web.git", branch="trunk", forge="github",
    token="hf1.sealed", gates=(GateSetting(name="test", command=("make", "test")),),
    commands={"polecat": ("agent", "{prompt}")},
)  # fmt: skip


async def test_a_text_is_kept_as_it_was_and_the_first_of_an_id_stays(records: TownRecords) -> None:
    await records.put_text("t1", text(1))
    await records.put_text("t1", text(1, "Another"))
    assert await records.text("t1", "bead-1") == text(1)
    assert await records.text("t2", "bead-1") is None
    await records.put_text("t1", text(2))
    assert await records.texts("t1", ("bead-2", "bead-1", "bead-3")) == {
        "bead-1": text(1), "bead-2": text(2),
    }  # fmt: skip
    assert await records.texts("t1", ()) == {}


async def test_an_erased_text_is_gone_and_may_come_anew(records: TownRecords) -> None:
    await records.put_text("t1", text(1))
    await records.drop_text("t1", "bead-1")
    await records.drop_text("t1", "bead-1")
    assert await records.text("t1", "bead-1") is None
    await records.put_text("t1", text(1, "Another"))
    assert await records.text("t1", "bead-1") == text(1, "Another")


async def test_settings_of_rigs_replace_those_before(records: TownRecords) -> None:
    await records.put_rig("t1", RIG)
    assert (await records.rig("t1", "web"), await records.rig("t2", "web")) == (RIG, None)
    later = RigSettings(rig="web", repository="/srv/web")
    await records.put_rig("t1", later)
    await records.put_rig("t1", RigSettings(rig="api", repository="/srv/api"))
    assert [one.rig for one in await records.rigs("t1")] == ["api", "web"]
    assert await records.rig("t1", "web") == later
    await records.drop_rig("t1", "web")
    await records.drop_rig("t1", "web")
    assert [one.rig for one in await records.rigs("t1")] == ["api"]


async def test_a_credential_is_resealed_unless_it_is_another_by_now(records: TownRecords) -> None:
    await records.put_rig("t2", RIG)
    await records.put_rig("t1", RIG)
    await records.put_rig("t1", RigSettings(rig="api", repository="/srv/api"))
    assert await records.sealed() == (("t1", RIG), ("t2", RIG))
    assert await records.reseal("t1", "web", RIG.token, "hf1.newer")
    assert not await records.reseal("t1", "web", RIG.token, "hf1.other")
    assert not await records.reseal("t1", "nowhere", RIG.token, "hf1.other")
    assert await records.rig("t1", "web") == replace(RIG, token="hf1.newer")
    assert await records.rig("t2", "web") == RIG


async def test_a_notice_replaces_the_one_about_the_same_and_the_oldest_go(
    records: TownRecords,
) -> None:
    for number in range(NOTICES_KEPT + 3):
        await records.put_notice("t1", Notice(code="stuck", about=f"b/{number}", at_ms=number))
    await records.put_notice("t1", Notice(code="stuck", about="b/10", severity="high", at_ms=NOW))
    found = await records.notices("t1")
    assert found[0] == Notice(code="stuck", about="b/10", severity="high", at_ms=NOW)
    assert len({one.about for one in found}) == len(found) == NOTICES_KEPT
    assert found[-1].about == "b/3"
    assert await records.notices("t2") == ()


async def test_erasing_a_town_leaves_the_others(records: TownRecords) -> None:
    for town in ("t1", "t2"):
        await records.put_text(town, text(1))
        await records.put_rig(town, RIG)
        await records.put_notice(town, Notice(code="stuck"))
    assert await records.erase("t1") == 3
    assert await records.erase("t1") == 0
    assert (await records.text("t1", "bead-1"), await records.rigs("t1")) == (None, ())
    assert await records.notices("t1") == ()
    assert await records.text("t2", "bead-1") == text(1)
    assert (await records.rigs("t2"), len(await records.notices("t2"))) == ((RIG,), 1)


async def test_what_is_erased_is_in_none_of_the_files(tmp_path: Path) -> None:
    store = open_towns(tmp_path / "towns.db", now_ms=NOW)
    marker = "a-text-that-is-erased"
    await store.put_text("t1", Text(id="one", kind="mail", body=marker * 400))
    await store.put_rig("t1", RigSettings(rig="web", repository="/srv/web", token=marker))
    assert marker.encode() in written(tmp_path)
    await store.drop_text("t1", "one")
    await store.put_rig("t1", RigSettings(rig="web", repository="/srv/web"))
    await store.close()
    assert marker.encode() not in written(tmp_path)
    assert (tmp_path / "towns.db").stat().st_mode & 0o777 == 0o600


def written(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


async def test_damaged_rows_spoil_no_other_row(tmp_path: Path) -> None:
    path = tmp_path / "towns.db"
    store = open_towns(path, now_ms=NOW)
    await fill(store)
    await store.close()
    other = apsw.Connection(str(path))
    other.execute("UPDATE rigs SET body = '{' WHERE name = 'api'")
    other.execute("UPDATE texts SET kind = 'of newer code', body = CAST(x'ff' AS TEXT)")
    other.close()
    store = open_towns(path, now_ms=NOW)
    try:
        assert (await store.rig("t1", "api"), await store.rigs("t1")) == (None, (RIG,))
        found = await store.text("t1", "bead-1")
        assert found is not None
        assert (found.kind, found.body) == ("bead", "\ufffd")
    finally:
        await store.close()


async def fill(store: TownsSqlite) -> None:
    await store.put_rig("t1", RigSettings(rig="api", repository="/srv/api"))
    await store.put_rig("t1", RIG)
    await store.put_text("t1", text(1))
