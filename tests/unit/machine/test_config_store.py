"""The configuration on disk: compare-and-set, versions, verdicts, restoring."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from holdfast.kernel.clock import ManualClock
from holdfast.machine.controller.agent.recovery import AgentRepairs
from holdfast.machine.controller.config.document import Config
from holdfast.machine.controller.config.store import WOULD_NOT_BOOT, Change, ConfigStore
from holdfast.machine.controller.errors import RefusedError
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.process import atomic_file

FIRST = b'{"first": true}\n'

NO_UPGRADE = cast("Any", SimpleNamespace(trial=""))
"""No version is on trial."""


def fault(config: Config) -> str:
    return "it says so" if config.get("blocks") else ""


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    path = tmp_path / "log"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    yield descriptor, path
    os.close(descriptor)


@pytest.fixture
def store(tmp_path: Path, log_file: tuple[int, Path]) -> ConfigStore:
    return make(tmp_path, log_file[0])


def make(home: Path, descriptor: int = 1) -> ConfigStore:
    clock = ManualClock(1_000)
    return ConfigStore(
        home / "agent" / "openclaw.json", home / "shelf",
        first=lambda: FIRST, fault=fault, clock=clock, log=Log(clock, descriptor),
    )  # fmt: skip


def write(store: ConfigStore, config: Any) -> bytes:
    raw = config if isinstance(config, bytes) else json.dumps(config).encode()
    store.path.parent.mkdir(exist_ok=True)
    store.path.write_bytes(raw)
    return bytes(raw)


async def refused(work: Any) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        await work
    return caught.value


async def test_a_patch_changes_deletes_and_is_written_for_the_owner_only(
    store: ConfigStore, log_file: tuple[int, Path]
) -> None:
    write(store, {"keep": 1, "gone": 2, "deep": {"a": 1, "b": 2}})
    change = await store.patch({"gone": None, "deep": {"a": None, "c": "hunter2"}})
    found = await store.read()
    assert found.config == {"keep": 1, "deep": {"b": 2, "c": "hunter2"}}
    assert found.etag == change.etag
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert list(store.path.parent.iterdir()) == [store.path]
    log = log_file[1].read_text()
    assert "deep.c" in log
    assert "hunter2" not in log


async def test_a_change_names_the_text_it_was_made_from(store: ConfigStore) -> None:
    write(store, {"a": 1})
    etag = (await store.read()).etag
    await store.replace({"a": 2}, etag=etag)
    for work in (store.replace({"a": 3}, etag=etag), store.patch({"a": 3}, etag=etag)):
        assert (await refused(work)).code == "config_etag_conflict"
    assert (await store.read()).config == {"a": 2}


async def test_of_many_that_start_from_one_text_one_wins(store: ConfigStore) -> None:
    write(store, {"n": -1})
    etag = (await store.read()).etag
    done = await asyncio.gather(
        *(store.replace({"n": n}, etag=etag) for n in range(20)), return_exceptions=True
    )
    winners = [n for n, change in enumerate(done) if isinstance(change, Change)]
    assert len(winners) == 1
    assert (await store.read()).config == {"n": winners[0]}


async def test_patches_without_an_etag_lose_none_of_each_other(store: ConfigStore) -> None:
    write(store, {})
    await asyncio.gather(*(store.patch({f"k{n}": n}) for n in range(30)))
    assert (await store.read()).config == {f"k{n}": n for n in range(30)}


def test_another_program_that_writes_in_between_loses_nothing(tmp_path: Path) -> None:
    # Without our lock, as the agent does: its last text must be there, or be the one we report to
    # have overwritten.
    path = tmp_path / "f"
    path.write_bytes(b"a-0")
    stop = threading.Event()
    wrote: list[bytes] = []

    def agent() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            fresh = tmp_path / "agent.tmp"
            fresh.write_bytes(f"a-{number}".encode())
            fresh.replace(path)
            wrote.append(f"a-{number}".encode())

    other = threading.Thread(target=agent)
    other.start()
    lost = []
    try:
        with atomic_file.open_folder(tmp_path) as folder:
            for number in range(400):
                over = atomic_file.read(folder, "f", 100)
                if atomic_file.put(folder, "f", f"us-{number}".encode(), over=over):
                    continue
                seen = atomic_file.read(folder, "f", 100)
                if seen == f"us-{number}".encode():
                    lost.append(number)  # refused, and yet in force
    finally:
        stop.set()
        other.join()
    assert not lost
    assert path.read_bytes() in {wrote[-1], b"us-399"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f"]


def test_a_write_in_the_last_instant_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    rename = atomic_file._rename

    def late(folder: int, old: str, new: str, how: int) -> None:
        if path.read_bytes() == b"old":
            path.write_bytes(b"agent's")
        rename(folder, old, new, how)

    monkeypatch.setattr(atomic_file, "_rename", late)
    with atomic_file.open_folder(tmp_path) as folder:
        assert not atomic_file.put(folder, "f", b"ours", over=b"old")
    assert path.read_bytes() == b"agent's"
    assert list(tmp_path.iterdir()) == [path]


async def test_what_is_no_configuration_cannot_be_read_or_patched_but_replaced(
    store: ConfigStore,
) -> None:
    assert (await refused(store.read())).code == "config_read_failed"
    for raw in (b"{broken", b"[]"):
        write(store, raw)
        assert (await refused(store.read())).status == 500
        assert (await refused(store.patch({"a": 1}))).code == "config_read_failed"
        assert store.path.read_bytes() == raw
    await store.replace({"whole": True})
    assert (await store.read()).config == {"whole": True}


async def test_a_symbolic_link_is_not_written_through(store: ConfigStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"{}")
    store.path.parent.mkdir()
    store.path.symlink_to(outside)
    assert (await refused(store.replace({"a": 1}))).status == 500
    assert outside.read_bytes() == b"{}"


async def test_comments_are_not_lost_unless_forced(store: ConfigStore) -> None:
    raw = write(store, b"{ // why\n a: 1 }")
    assert (await refused(store.patch({"b": 2}))).code == "config_not_plain_json"
    assert store.path.read_bytes() == raw
    await store.patch({"b": 2}, force=True)
    assert (await store.read()).config == {"a": 1, "b": 2}


async def test_a_bad_one_is_rolled_back_and_not_taken_again(
    store: ConfigStore, tmp_path: Path
) -> None:
    write(store, {"good": 1})
    assert await store.mark_healthy(await store.observe())
    heard: list[Change] = []
    store.listen(heard.append)
    bad = await store.patch({"bad": True})
    back = await store.roll_back("it crashed 3 times")
    assert back is not None
    assert (await store.read()).config == {"good": 1}
    assert [change.origin for change in heard] == ["patch", "rollback"]
    # Recognised by another controller of the same machine, in any layout, on every route.
    again = make(tmp_path)
    for work in (
        again.patch({"bad": True}),
        again.replace({"bad": True, "good": 1}),
        again.write(b"{bad: true, good: 1}"),
        again.restore(bad.etag),
    ):
        refusal = await refused(work)
        assert (refusal.status, refusal.code) == (422, WOULD_NOT_BOOT)
        assert refusal.facts == {
            "reason": "it crashed 3 times",
            "since": "1970-01-01T00:00:01.000Z",
        }
    assert (await again.read()).config == {"good": 1}
    forced = await again.patch({"bad": True}, force=True)
    assert await again.mark_healthy(forced.etag)
    await again.restore("base")
    await again.patch({"bad": True, "good": 1, "first": None})
    verdict = await again.verdict(forced.etag)
    assert verdict is not None
    assert verdict.healthy


async def test_a_text_that_nobody_can_read_is_rolled_back_too(store: ConfigStore) -> None:
    write(store, {"good": 1})
    await store.mark_healthy(await store.observe())
    write(store, b"{broken")
    change = await store.roll_back("exit code 78")
    assert change is not None
    assert (await store.read()).config == {"good": 1}
    versions = await store.versions()
    assert [(version.origin, verdict and verdict.healthy) for version, verdict in versions] == [
        ("rollback", True), ("found", False),
    ]  # fmt: skip


async def test_there_is_no_way_back_from_the_healthy_one_nor_without_one(
    store: ConfigStore,
) -> None:
    write(store, {"only": 1})
    assert await store.roll_back("x") is None
    etag = await store.observe()
    assert await store.verdict(etag) is None
    await store.mark_healthy(etag)
    assert await store.roll_back("x") is None
    verdict = await store.verdict(etag)
    assert verdict is not None
    assert verdict.healthy


async def test_a_change_by_the_agent_itself_is_a_version_too(store: ConfigStore) -> None:
    write(store, {"a": 1})
    first = await store.observe()
    heard: list[Change] = []
    store.listen(heard.append)
    write(store, {"a": 1, "meta": {}})
    second = await store.observe()
    assert heard == [Change(second, first, "found")]
    await store.observe()
    assert len(heard) == 1
    await store.restore(first[:12])
    assert (await store.read()).config == {"a": 1}
    assert not await store.mark_healthy("f" * 64)


async def test_a_certain_fault_is_refused_when_the_change_brings_it(store: ConfigStore) -> None:
    write(store, {"a": 1})
    assert (await refused(store.patch({"blocks": True}))).code == WOULD_NOT_BOOT
    write(store, {"blocks": True})
    await store.patch({"a": 2})  # no worse than before
    await store.patch({"blocks": None})
    assert (await refused(store.replace({"blocks": True}))).status == 422
    await store.replace({"blocks": True}, force=True)


async def test_restoring(store: ConfigStore) -> None:
    await store.restore("base")
    assert store.path.read_bytes() == FIRST
    assert (await refused(store.restore("last-healthy"))).code == "config_version_not_found"
    assert (await refused(store.restore("0" * 12))).status == 404
    await store.mark_healthy(await store.observe())
    await store.patch({"b": 1})
    await store.restore("last-healthy")
    assert store.path.read_bytes() == FIRST


async def test_a_damaged_ledger_is_set_aside_and_told(
    store: ConfigStore, tmp_path: Path, log_file: tuple[int, Path]
) -> None:
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf" / "ledger.json").write_text("{")
    write(store, {"a": 1})
    await store.patch({"a": 2})
    assert (tmp_path / "shelf" / "ledger.damaged").read_text() == "{"
    assert "config.ledger_damaged" in log_file[1].read_text()
    assert (await store.read()).config == {"a": 2}


async def test_kept_texts_are_for_the_owner_only_and_have_an_end(
    store: ConfigStore, tmp_path: Path
) -> None:
    write(store, {})
    for number in range(30):
        await store.patch({"n": number})
    texts = [path for path in (tmp_path / "shelf").iterdir() if path.name != "ledger.json"]
    assert len(texts) == 20
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in texts)
    assert stat.S_IMODE((tmp_path / "shelf").stat().st_mode) == 0o700


async def test_whoever_asked_may_go_away_and_the_next_still_waits_for_the_end(
    store: ConfigStore,
) -> None:
    write(store, {})
    first = asyncio.create_task(store.patch({"a": 1}))
    await asyncio.sleep(0)
    first.cancel()
    await store.patch({"b": 2})
    assert (await store.read()).config == {"a": 1, "b": 2}


async def test_a_change_that_somebody_made_before_the_roll_back_is_left(
    store: ConfigStore,
) -> None:
    write(store, {"good": 1})
    assert await store.mark_healthy(await store.observe())
    bad = await store.patch({"bad": True})
    repairs = AgentRepairs(cast("Any", None), store, cast("Any", None), NO_UPGRADE)
    fixing = asyncio.create_task(store.replace({"fixed": 1}))
    await asyncio.sleep(0)
    rolling = asyncio.create_task(repairs.repair("roll_back", "exit code 1", trial=bad.etag))
    await asyncio.sleep(0)
    rolling.cancel()  # as the fix has it cancelled; it is done all the same
    fix = await fixing
    assert (await store.read()).config == {"fixed": 1}
    assert await store.verdict(fix.etag) is None
    again = await repairs.repair("roll_back", "exit code 1", trial=bad.etag)
    assert not again.done
    assert (await store.read()).config == {"fixed": 1}
    verdict = await store.verdict(bad.etag)
    assert verdict is not None
    assert not verdict.healthy, "it failed, whatever came after it"
    assert await store.roll_back("exit code 1", trial=fix.etag) is not None
    assert (await store.read()).config == {"good": 1}


async def test_a_rung_outside_a_trial_leaves_a_fix_that_was_never_started(
    store: ConfigStore,
) -> None:
    write(store, {"good": 1})
    assert await store.mark_healthy(await store.observe())
    failing = write(store, {"good": 1, "wrong": True})
    repairs = AgentRepairs(cast("Any", None), store, cast("Any", None), NO_UPGRADE)
    await repairs.started()
    fix = await store.replace({"fixed": 1})
    found = await repairs.repair("last_healthy_config", "exit code 1", trial="")
    assert not found.done
    assert (await store.read()).config == {"fixed": 1}
    assert await store.verdict(fix.etag) is None, "nothing is known of the fix"
    refusal = await refused(store.write(failing))
    assert (refusal.code, refusal.facts["reason"]) == (WOULD_NOT_BOOT, "exit code 1")
    await repairs.started()
    assert (await repairs.repair("last_healthy_config", "exit code 1", trial="")).done
    assert (await store.read()).config == {"good": 1}, "it was started, and failed"


async def test_what_the_agent_wrote_since_its_start_does_not_keep_the_rung_from_being_taken(
    store: ConfigStore,
) -> None:
    write(store, {"good": 1})
    assert await store.mark_healthy(await store.observe())
    write(store, {"wrong": 1})
    repairs = AgentRepairs(cast("Any", None), store, cast("Any", None), NO_UPGRADE)
    await repairs.started()
    write(store, {"wrong": 1, "meta": {}})
    assert (await repairs.repair("last_healthy_config", "exit code 1", trial="")).done
    assert (await store.read()).config == {"good": 1}


async def test_what_the_agent_made_of_the_one_on_trial_is_rolled_back(
    store: ConfigStore,
) -> None:
    write(store, {"good": 1})
    assert await store.mark_healthy(await store.observe())
    bad = await store.patch({"bad": True})
    write(store, {"good": 1, "bad": True, "meta": {}})
    assert await store.roll_back("exit code 1", trial=bad.etag) is not None
    assert (await store.read()).config == {"good": 1}
