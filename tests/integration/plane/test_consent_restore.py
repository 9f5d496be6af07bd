"""A plane restored from an older backup never opens what was closed since, once nodes report."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from holdfast.consent import events
from holdfast.consent.definition import KIND, arrival
from holdfast.consent.handlers import Nodes
from holdfast.kernel.clock import SystemClock
from holdfast.kernel.ids import address
from holdfast.plane.consent_key import (
    CONSENT_KEY_FILE,
    key_ids,
    rotate_consent_key,
    trusted_keys,
    verify,
)
from holdfast.plane.settings import Settings, load_settings
from holdfast.plane.wiring.backup import make_backup
from holdfast.plane.wiring.consent import ConsentMade
from holdfast.plane.wiring.plane import Plane, make_plane
from holdfast.plane.wiring.restore import RestoreOrder, restore_backup
from holdfast.wire.consent import ContentClass, Grant
from tests.support.gates import heard, opened, pinned
from tests.support.nodes import register_nodes
from tests.support.patience import until
from tests.support.real_plane import Log

OWNER: dict[str, Any] = {"by": "ann", "credential": "session:ann"}


def settings_of(home: Path) -> Settings:
    return load_settings({}, home=str(home), public_url="http://plane.test", accept_unconfined=True)


@asynccontextmanager
async def running(home: Path) -> AsyncIterator[Plane]:
    log = Log()
    plane = await make_plane(
        settings_of(home), clock=SystemClock(), log=log, url="http://plane.test"
    )
    try:
        await plane.start()
        yield plane
    finally:
        await plane.stop()
    assert log.at_least("error", "critical") == []


async def decide(plane: Plane, node: str, event: events.Event, number: int) -> None:
    """Have a decision taken, and its documents signed."""
    row = arrival(event, dedupe=f"test:{number}", source="api")
    answer = await plane.core.mailbox.ask(address(KIND, node), row, wait_ms=60_000)
    assert answer.stamp is not None
    assert answer.stamp.outcome == "applied", answer.stamp
    index = plane.subjects.consent.index
    await until(lambda: (found := index.of(node)) is not None and not found.unsigned)


def grant(*classes: ContentClass) -> events.ConsentGranted:
    return events.ConsentGranted(classes=classes, **OWNER)


def parts(plane: Plane) -> tuple[ConsentMade, Nodes]:
    return plane.subjects.consent, plane.subjects.consent.nodes


async def signed_grant(plane: Plane, node: str) -> Grant:
    """Return the newest grant, once everything is signed."""
    consent, _ = parts(plane)
    await until(lambda: (found := consent.index.of(node)) is not None and not found.unsigned)
    document = consent.index.standing(node).grant
    assert document is not None
    said = verify(document, plane.core.consent_key.public_key)
    assert isinstance(said, Grant)
    return said


async def decide_since(home: Path, node: str) -> Grant:
    """Revoke transcripts and grant counters; return the newest grant, which the node has seen."""
    async with running(home) as plane:
        await decide(plane, node, events.ConsentRevoked(classes=("transcripts",), **OWNER), 2)
        await decide(plane, node, grant("counters"), 3)
        newest = await signed_grant(plane, node)
        assert newest.classes == ("counters",)
        return newest


async def test_a_restored_plane_revokes_everything_before_any_node_reports(tmp_path: Path) -> None:
    home, archive = tmp_path / "home", tmp_path / "backup.tar.gz"
    granted, pending = await register_nodes(home, ("laptop", "desk"))
    async with running(home) as plane:
        await decide(plane, granted, grant("transcripts"), 1)
    await asyncio.to_thread(
        make_backup, settings_of(home), archive, with_keys=True, clock=SystemClock(),
        tell=lambda _: None,
    )  # fmt: skip
    newest = await decide_since(home, granted)
    await asyncio.to_thread(
        restore_backup, settings_of(home), archive, RestoreOrder(replace=True),
        clock=SystemClock(), tell=lambda _: None,
    )  # fmt: skip
    async with running(home) as plane:
        consent, nodes = parts(plane)
        every = (granted, pending)
        await until(lambda: {consent.index.standing(one).reason for one in every} == {"revoked"})
        for node in every:
            shut = await signed_grant(plane, node)
            assert (shut.classes, shut.number > newest.number) == ((), True)
        await decide(plane, granted, grant("logs"), 4)
        nodes.numbers_seen(granted, newest.number)
        await decide(plane, granted, grant("memory"), 5)
        assert (await signed_grant(plane, granted)).classes == ("logs", "memory")
    async with running(home) as plane:  # only the first start after a restore
        consent, _ = parts(plane)
        assert consent.index.standing(granted).classes == {"logs", "memory"}
        await decide(plane, granted, grant("counters"), 6)
        assert consent.index.standing(granted).classes == {"counters", "logs", "memory"}


async def test_a_data_folder_that_was_put_back_is_corrected_by_its_nodes(tmp_path: Path) -> None:
    """Copied by hand it leaves no note of a restore: only the nodes know better."""
    home, aside = tmp_path / "home", tmp_path / "aside"
    (node,) = await register_nodes(home, ("laptop",))
    async with running(home) as plane:
        await decide(plane, node, grant("transcripts"), 1)
    await asyncio.to_thread(shutil.copytree, home, aside)
    newest = await decide_since(home, node)
    await asyncio.to_thread(shutil.rmtree, home)
    await asyncio.to_thread(shutil.copytree, aside, home)
    async with running(home) as plane:
        consent, nodes = parts(plane)
        assert consent.index.standing(node).number < newest.number
        nodes.numbers_seen(node, newest.number)
        await until(lambda: not consent.index.standing(node).classes)
        shut = await signed_grant(plane, node)
        assert consent.index.standing(node).reason == "revoked"
        assert (shut.classes, shut.number > newest.number) == ((), True)
        await decide(plane, node, grant("logs"), 4)
        assert (await signed_grant(plane, node)).number > shut.number


@pytest.mark.parametrize("keys", ["kept", "lost"])
async def test_a_restore_closes_gates_that_followed_a_rotation(tmp_path: Path, keys: str) -> None:
    """Where the newest key is lost with the folder, the gate closes, and has to be pinned anew."""
    home, archive = tmp_path / "home", tmp_path / "backup.tar.gz"
    (node,) = await register_nodes(home, ("laptop",))
    async with running(home) as plane:
        await decide(plane, node, grant("transcripts", "logs"), 1)
        state = heard(plane, node, pinned(plane, node))
        assert opened(state) == {"transcripts", "logs"}
    await asyncio.to_thread(
        make_backup, settings_of(home), archive, with_keys=True, clock=SystemClock(),
        tell=lambda _: None,
    )  # fmt: skip
    folder = settings_of(home).keys_folder
    async with running(home) as plane:
        plane.core.consent_key.follow(await asyncio.to_thread(rotate_consent_key, folder, now_ms=5))
        await plane.subjects.consent.renewal.run()
        await decide(plane, node, events.ConsentRevoked(classes=("logs",), **OWNER), 2)
        state = heard(plane, node, state)
        assert (opened(state), len(state.keys)) == ({"transcripts"}, 2)
    if keys == "lost":
        shutil.rmtree(folder)
    await asyncio.to_thread(
        restore_backup, settings_of(home), archive, RestoreOrder(replace=True),
        clock=SystemClock(), tell=lambda _: None,
    )  # fmt: skip
    async with running(home) as plane:
        consent = plane.subjects.consent
        await until(lambda: consent.index.standing(node).reason == "revoked")
        await until(lambda: (found := consent.index.of(node)) is not None and not found.unsigned)
        state = heard(plane, node, state)
        assert opened(state) == set()
        await plane.subjects.consent.renewal.run()
        assert opened(heard(plane, node, state)) == set(), "a renewal opened what a restore closed"
        await decide(plane, node, grant("memory"), 3)
        anew = pinned(plane, node)
        assert opened(heard(plane, node, anew)) == {"memory"}
        assert opened(heard(plane, node, state)) == ({"memory"} if keys == "kept" else set())


@pytest.mark.parametrize("rotated", [True, False], ids=["rotated since", "lost"])
async def test_the_signing_key_comes_back_with_a_backup(tmp_path: Path, *, rotated: bool) -> None:
    home, archive = tmp_path / "home", tmp_path / "backup.tar.gz"
    await register_nodes(home, ())
    settings = settings_of(home)
    path = settings.keys_folder / CONSENT_KEY_FILE
    before = key_ids(path.read_bytes())
    made = await asyncio.to_thread(
        make_backup, settings, archive, with_keys=True, clock=SystemClock(), tell=lambda _: None
    )
    assert made.keys.consent == before
    async with running(home) as plane:
        if rotated:
            keys = plane.core.settings.keys_folder
            plane.core.consent_key.follow(rotate_consent_key(keys, now_ms=5))
        key = plane.core.consent_key
        assert len(trusted_keys((key.keys[0].public_key,), key.successors)) == 1 + rotated
    if not rotated:
        path.unlink()
    order = RestoreOrder(replace=True)
    done = await asyncio.to_thread(
        restore_backup, settings, archive, order, clock=SystemClock(), tell=lambda _: None
    )
    assert key_ids(path.read_bytes())[: len(before)] == before
    assert len(key_ids(path.read_bytes())) == 1 + rotated
    assert not any("consent" in note for note in done.notes)


async def test_a_restore_without_keys_says_that_gates_stay_closed(tmp_path: Path) -> None:
    home, archive = tmp_path / "home", tmp_path / "backup.tar.gz"
    await register_nodes(home, ())
    settings = settings_of(home)
    await asyncio.to_thread(
        make_backup, settings, archive, with_keys=False, clock=SystemClock(), tell=lambda _: None
    )
    (settings.keys_folder / CONSENT_KEY_FILE).unlink()
    order = RestoreOrder(replace=True)
    done = await asyncio.to_thread(
        restore_backup, settings, archive, order, clock=SystemClock(), tell=lambda _: None
    )
    assert any("the key that signs consent is another" in note for note in done.notes)
