"""A program that writes to the plane's stores, and what a restart finds after a loss of power.

    python -m tests.integration.stores.power STORE HOME [--rounds N] [--together N]

It prints a line for each answer that the store gave; the words of a line are what the answer says
is stored, so that all of them, or none, must be found later (`power_loss.judge`).
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar
from unittest import mock

import apsw
import duckdb

from holdfast.accounts import audit
from holdfast.accounts.records import Account, AuditEntry, Person, Session, Token
from holdfast.actors.definition import Claim, ViewRow
from holdfast.corrections.records import Brain, Forgotten
from holdfast.kernel.ids import address
from holdfast.plane.settings import load_settings
from holdfast.plane.wiring import files
from holdfast.plane.wiring.holder import (
    ACCOUNTS_FILE,
    CONTENT_FILE,
    CORRECTIONS_FILE,
    JOURNAL_FILE,
    TOWNS_FILE,
    prepare_home,
)
from holdfast.stores.duckdb.telemetry import DuckdbAnalytics
from holdfast.stores.sqlite import (
    accounts,
    contact,
    content,
    corrections,
    database,
    journal,
    towns,
)
from holdfast.telemetry.contact import new_contact
from holdfast.telemetry.ports import CheckinPoint, LifecyclePoint
from tests.contract.journal import rows
from tests.integration.stores import power_nodes, power_towns
from tests.integration.stores.power_work import CLOCK, NOW, Work, open_journal, say, select
from tests.support import power_loss
from tests.support.logs import Lines
from tests.support.toys import brains

HOME: Final = "data/holdfast"
"""Below the watched folder, so that the names of the data folder itself count as well."""
DAMAGE_S: Final = 10.0
T = TypeVar("T")


# ------------------------------------------------------------------------------------ journal


async def use_journal(path: Path, work: Work) -> None:
    """Accept, tick, finish, answer probes, keep policies."""
    store = open_journal(path)
    epoch = await store.lease("me")
    say(f"lease:{epoch}")

    async def one(name: str) -> None:
        actor = address("instance", name)
        ids = await rows.accept(store, "a", "b", "c", to=actor)
        say(*(f"event:{event}" for event in ids))
        made = rows.effect(f"effect-{name}", actor=actor, cause=ids[0])
        at_ms = NOW + work.opening
        await store.commit(
            rows.commit(
                0, 1, epoch, actor=actor, stamps=rows.stamps(ids[:2], first=1, tick=1),
                claims=(Claim("name", name),), effects=(made,),
                probes=(rows.probe("p", actor=actor),),
                views=(ViewRow("list", name, "local", name.encode() * 400),),
                alarm_ms=at_ms, alarm_changed=True,
            )
        )  # fmt: skip
        say(
            f"tick:{actor}:1", f"seq:{ids[0]}:1", f"seq:{ids[1]}:2", f"claim:{name}",
            f"effect:{made.id}", f"probe:{actor}", f"view:{name}", f"alarm:{actor}:{at_ms}",
        )  # fmt: skip
        outcome = await store.finish_effect(
            made.id, "done", (actor, rows.arrival("outcome", source="effect"))
        )
        assert outcome is not None
        say(f"done:{made.id}", f"event:{outcome.id}")
        answer = await store.answer_probe(actor, "p", name, rows.arrival("seen", source="probe"))
        assert answer is not None
        say(f"answer:{actor}:{name}", f"event:{answer.id}")
        later = rows.stamps([ids[2], outcome.id, answer.id], first=3, tick=2)
        await store.commit(rows.commit(2, 2, epoch, actor=actor, stamps=later))
        say(f"tick:{actor}:2", f"seq:{ids[2]}:3", f"seq:{outcome.id}:4", f"seq:{answer.id}:5")
        await store.keep_policy(f"hash-{name}", b"policy")
        say(f"policy:hash-{name}")

    await work.run(one)
    await store.close()


_JOURNAL_FACTS: Final = """
    SELECT 'event:' || id FROM events
    UNION ALL SELECT 'seq:' || id || ':' || seq FROM events WHERE seq IS NOT NULL
    UNION ALL SELECT 'claim:' || key FROM claims
    UNION ALL SELECT 'effect:' || id FROM effects
    UNION ALL SELECT 'done:' || id FROM effects WHERE status = 'done'
    UNION ALL SELECT 'probe:' || actor FROM probes
    UNION ALL SELECT 'answer:' || actor || ':' || answer FROM probes
    UNION ALL SELECT 'view:' || key FROM view_rows
    UNION ALL SELECT 'policy:' || hash FROM policies
"""


async def find_journal(home: Path) -> set[str]:
    """Read it by its own calls where there is one, and by SQL."""
    path = home / JOURNAL_FILE
    store = open_journal(path)
    try:
        found = set(select(path, _JOURNAL_FACTS))
        for alarm in await store.alarms(NOW * 2, 10_000):
            found.add(f"alarm:{alarm.actor}:{alarm.at_ms}")
        for actor in await store.actors(10_000):
            loaded = await store.load(actor)
            assert loaded is not None
            found.update(f"tick:{actor}:{number}" for number in range(1, loaded.number + 1))
        epoch = await store.lease("after")
        found.update(f"lease:{number}" for number in range(1, epoch))
    finally:
        await store.close()
    return found


# ----------------------------------------------------------------------------------- accounts


def open_accounts(path: Path) -> accounts.AccountsSqlite:
    """Open it as the plane does."""
    return files.open_kept(path, lambda kept: accounts.open_accounts(kept, now_ms=NOW))


async def use_accounts(path: Path, work: Work) -> None:
    """Audit, add and revoke tokens, begin and end sessions."""
    store = open_accounts(path)
    person = Person(name="ada", scope="owner", account="local", created_at_ms=NOW)
    if await store.add_account(Account(name="local", created_at_ms=NOW)):
        await store.add_person(person)

    async def append(entry: AuditEntry) -> int:
        row = await store.append_audit(entry)
        say(f"audit:{row.seq}:{row.hash}")
        return row.seq

    async def one(name: str) -> None:
        begins = await append(AuditEntry(at_ms=NOW, phase="begin", who=name, key="k" * 900))
        token = Token(
            id=f"tok-{name}", hash=f"hash-{name}", name="ci", scope="owner", account="local",
            created_at_ms=NOW, created_by="ada",
        )  # fmt: skip
        assert await store.add_token(token)
        say(f"token:{token.id}")
        await store.add_session(
            Session(hash=name, person="ada", created_at_ms=NOW, expires_at_ms=NOW * 2)
        )
        say(f"session:{name}")
        assert await store.revoke_token(token.id, "local", NOW)
        say(f"revoked:{token.id}")
        await append(AuditEntry(at_ms=NOW, phase="end", begins=begins, status=200))

    await work.run(one)
    await store.close()


async def find_accounts(home: Path) -> set[str]:
    """Read it; the chain of the audit must be whole, too."""
    path = home / ACCOUNTS_FILE
    store = open_accounts(path)
    try:
        found = set(
            select(
                path,
                "SELECT 'token:' || id FROM tokens UNION ALL"
                " SELECT 'revoked:' || id FROM tokens WHERE revoked_at_ms IS NOT NULL UNION ALL"
                " SELECT 'session:' || hash FROM sessions",
            )
        )
        before = audit.GENESIS
        for seq, row in enumerate(await store.audit_chain(0, 10_000), start=1):
            assert row == audit.link(before, seq, row.entry), "the chain is broken"
            before = row.hash
            found.add(f"audit:{row.seq}:{row.hash}")
    finally:
        await store.close()
    return found


# -------------------------------------------------------------------------------- corrections


def open_corrections(path: Path) -> corrections.CorrectionsSqlite:
    """Open it as the plane does."""
    return files.open_kept(path, lambda kept: corrections.open_corrections(kept, now_ms=NOW))


async def use_corrections(path: Path, work: Work) -> None:
    """Take batches of three rows each from one brain."""
    store = open_corrections(path)
    brain = await store.add_brain(
        Brain(no=1, id="br-1", name="kalle", account="local", created_at_ms=NOW)
    )
    if work.opening == 0:  # later it is there, and nothing is written
        say(f"brain:{brain.name}")

    async def one(name: str) -> None:
        opening, count = map(int, name.split("-"))
        seq = (opening * work.rounds + count) * 3
        sent = brains.arrival(
            brains.correction(seq + 1, f"draft {name}" * 40, f"final {name}" * 40),
            brains.lesson(seq + 2, f"lesson-{name}"),
            brains.event(seq + 3),
            brain=brain.no,
        )
        (written,) = await store.write([sent], forgotten=Forgotten(0, 0))
        assert written.accepted == 3
        say(f"id:c-{seq + 1}", f"word:{name}", f"lesson:lesson-{name}", f"event:e-{seq + 3}")

    await work.run(one)
    await store.close()


_CORRECTION_FACTS: Final = """
    SELECT 'id:' || event_id FROM correction_ids
    UNION ALL SELECT 'word:' || substr(draft, 7, instr(substr(draft, 7), 'd') - 1) FROM corrections
    UNION ALL SELECT 'lesson:' || lesson_id FROM lessons
    UNION ALL SELECT 'event:' || event_id FROM events
    UNION ALL SELECT 'brain:' || name FROM brains
"""


async def find_corrections(home: Path) -> set[str]:
    """Read it, as the plane loads it and as it searches it."""
    path = home / CORRECTIONS_FILE
    store = open_corrections(path)
    try:
        await store.load(refused_since_hour=0)
        return set(select(path, _CORRECTION_FACTS))
    finally:
        await store.close()


# ----------------------------------------------------------------------- contacts and charts


def open_disposable(path: Path, make: Callable[[Path], Any]) -> Any:
    """Open a store that can be lost as the plane does; and what was moved aside."""
    moved: list[str] = []
    store = files._open_or_begin_anew(path, make, clock=CLOCK, log=Lines(), moved=moved)
    return store, moved


async def use_contacts(path: Path, work: Work) -> None:
    """Save three rows at a time, each over the one before."""
    store = contact.SqliteContacts(path, clock=CLOCK)

    async def one(name: str) -> None:
        opening, count = map(int, name.split("-"))
        number = opening * work.rounds + count + 1
        saved = [new_contact(f"instance-{each}", 60_000) for each in range(3)]
        for row in saved:
            row.heard_ms = number
            row.report_key = "r" * 900
        await store.save(saved)
        say(*(f"{row.instance}:{number}" for row in saved))

    await work.run(one)
    await store.close()


async def find_contacts(home: Path) -> set[str]:
    """Read every row; a later one stands for those before."""
    store, moved = open_disposable(
        home / files.CONTACT_FILE, lambda path: contact.SqliteContacts(path, clock=CLOCK)
    )
    try:
        found = {
            f"{row.instance}:{number}"
            for row in await store.load()
            for number in range(1, row.heard_ms + 1)
        }
    finally:
        await store.close()
    return found | {MOVED for _ in moved}


def _point(name: str, each: int) -> CheckinPoint:
    return CheckinPoint(
        seen_ms=NOW + each, sandbox=f"{name}:{each}", instance="i", account="local",
        controller_version="1", controller_commit="", agent_version="1", agent_commit="",
        supervisor_state="running", region="fra", machine_id="m", last_exit_reason="", restarts=0,
        restarts_total=0, uptime_s=1.0, load_5m=0.1, bytes_in=1, bytes_out=1, disk_used=1,
        disk_total=2, agent_ready=True,
    )  # fmt: skip


async def use_charts(path: Path, work: Work) -> None:
    """Write three points and an event at a time, and settle now and then."""
    store = DuckdbAnalytics(path, clock=CLOCK)

    async def one(name: str) -> None:
        points = [_point(name, each) for each in range(3)]
        await store.write(points, [LifecyclePoint(seen_ms=NOW, event=name)])
        say(f"event:{name}", *(f"point:{point.sandbox}" for point in points))
        if name.endswith("4"):
            await store.settle(NOW)

    await work.run(one)
    await store.close()


async def find_charts(home: Path) -> set[str]:
    """Read every point, then write one and settle: it must be of use again."""
    store, moved = open_disposable(
        home / files.TELEMETRY_FILE, lambda path: DuckdbAnalytics(path, clock=CLOCK)
    )
    try:
        facts = (
            "SELECT 'point:' || sandbox FROM checkins"
            " UNION ALL SELECT 'event:' || event FROM lifecycle"
        )
        found = {fact for (fact,) in store._reader.execute(facts).fetchall()}
        await store.write([_point("after", 0)], [])
        await store.settle(NOW)
        assert not str(store.trouble), store.trouble
        assert not await store.find_damage()
    finally:
        await store.close()
    return found | {MOVED for _ in moved}


# --------------------------------------------------------------------------------- the program

MOVED: Final = "moved aside"
"""Among what is found where the file was moved aside; no fact has a space."""


class Store(NamedTuple):
    """One store: its file, what writes to it and what reads it after a restart."""

    file: str
    use: Callable[[Path, Work], Awaitable[None]]
    find: Callable[[Path], Awaitable[set[str]]]


STORES: Final = {
    "journal": Store(JOURNAL_FILE, use_journal, find_journal),
    "accounts": Store(ACCOUNTS_FILE, use_accounts, find_accounts),
    "corrections": Store(CORRECTIONS_FILE, use_corrections, find_corrections),
    "content": Store(CONTENT_FILE, power_nodes.use_content, power_nodes.find_content),
    "consent": Store(JOURNAL_FILE, power_nodes.use_consent, power_nodes.find_consent),
    "towns": Store(TOWNS_FILE, power_towns.use_towns, power_towns.find_towns),
    "contacts": Store(files.CONTACT_FILE, use_contacts, find_contacts),
    "charts": Store(files.TELEMETRY_FILE, use_charts, find_charts),
}


def main() -> None:
    """Write, as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", choices=STORES)
    parser.add_argument("home")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--together", type=int, default=1)
    parser.add_argument("--openings", type=int, default=2)
    parser.add_argument("--pages", type=int, default=30, help="checkpoint from here on")
    parser.add_argument("--synchronous", default="", help="the wrong pragma")
    given = parser.parse_args()
    _checkpoint_from(given.pages)
    if given.synchronous:
        # A checkpoint of an idle thread, after a deletion, would sync what the pragma does not.
        for kept in (towns.TownsSqlite, content.ContentSqlite):
            mock.patch.object(kept, "_empty_wal", return_value=None).start()
        right = database.open_writer
        mock.patch.object(
            database, "open_writer", lambda path: _lowered(right(path), given.synchronous)
        ).start()
    home = prepare_home(load_settings({}, home=given.home))
    store = STORES[given.store]
    for opening in range(given.openings):
        work = Work(opening, given.rounds, given.together)
        asyncio.run(_run(store.use(home / store.file, work)))


async def _run(use: Awaitable[T]) -> T:
    return await use


def _checkpoint_from(pages: int) -> None:
    """Have small logs checkpointed: the real bounds are too far for a short record."""
    for module in (journal, accounts, corrections, content, towns):
        mock.patch.object(module, "CHECKPOINT_PAGES", pages).start()
    mock.patch.object(contact, "CHECKPOINT_BYTES", pages * 1_000).start()


def _lowered(connection: apsw.Connection, synchronous: str) -> apsw.Connection:
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    return connection


def record(scratch: Path, store: str, **options: object) -> power_loss.Recorded:
    """Run the program under a new folder in `scratch`, and return what it did there."""
    watched = scratch / "watched"
    watched.mkdir(parents=True)
    command = [sys.executable, "-m", "tests.integration.stores.power", store, str(watched / HOME)]
    command += [f"--{name}={value}" for name, value in options.items()]
    return power_loss.record(command, watched=watched, scratch=scratch)


class Found(NamedTuple):
    """What a restart finds after one cut; `problem` says why a store is of no use."""

    lost: tuple[int, ...]
    torn: tuple[int, ...]
    moved: bool
    problem: str


def after(store: str, recorded: power_loss.Recorded, cut: power_loss.Cut) -> Found:
    """Open the store as the plane would after a restart."""
    home = cut.folder / HOME
    home.mkdir(parents=True, exist_ok=True)
    try:
        found = asyncio.run(_run(STORES[store].find(home)))
        problem = _damage_of(home, store)
    except (files.StoreError, AssertionError, apsw.Error, duckdb.Error) as error:
        found, problem = set[str](), f"{type(error).__name__}: {error}"
    judged = power_loss.judge(recorded, cut, found)
    return Found(judged.lost, judged.torn, MOVED in found, problem)


def _damage_of(home: Path, store: str) -> str:
    if store == "charts":
        return ""
    return database.find_damage(home / STORES[store].file, within_s=DAMAGE_S)


if __name__ == "__main__":
    main()
