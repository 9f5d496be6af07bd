"""Backups taken while orders are given, restored at a random age, over a cloud that went on.

One process: a whole plane with its real stores on a disk, made anew for each start, over the
simulated cloud, which lives on. What was acknowledged is kept in a model, and compared.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from holdfast.kernel.clock import SystemClock
from holdfast.plane.backup.manifest import Manifest
from holdfast.plane.backup.marker import MARKER
from holdfast.plane.settings import Settings, load_settings
from holdfast.plane.wiring import clouds as where
from holdfast.plane.wiring.backup import make_backup
from holdfast.plane.wiring.core import Core
from holdfast.plane.wiring.local_admin import make_token, open_directory
from holdfast.plane.wiring.plane import Plane, make_plane
from holdfast.plane.wiring.restore import RestoreOrder, answer_unknown, restore_backup
from holdfast.relay.rate import Rate, Rates
from holdfast.world.clouds.port import LABEL_INSTANCE, Machine
from holdfast.world.clouds.simulated import SimulatedCloud
from holdfast.world.clouds.simulated_world import Timing
from tests.support.asgi import Answer, call, json_headers
from tests.support.logs import Lines
from tests.support.patience import patience

URL: Final = "http://plane.test"
KEPT_BACKUPS: Final = 6
WRITERS: Final = 4
SETTLED_S: Final = 20.0
STEP_S: Final = 0.02
_GONE: Final = frozenset({"destroyed", "destroying"})
_TIMING: Final = Timing(
    call_ms=2, create_ms=5, start_ms=5, stop_ms=5, destroy_ms=5, listing_lag_ms=0
)
_PLENTY: Final = Rate(burst=1e9, per_s=1e9)


@dataclass
class Model:
    """What was acknowledged: instances by id, with their names; accounts by name.

    `doubtful` are instances of which a destruction was begun.
    """

    instances: dict[str, str] = field(default_factory=dict)
    doubtful: set[str] = field(default_factory=set)
    accounts: set[str] = field(default_factory=set)
    orders: int = 0

    def copy(self) -> Model:
        return Model(dict(self.instances), set(self.doubtful), set(self.accounts), self.orders)


@dataclass
class Kept:
    """A backup: what was acknowledged before it, and by its end."""

    path: Path
    before: Model
    after: Model
    manifest: Manifest


class Campaign:
    """One data folder, one cloud, and planes that come and go."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.home = folder / "home"
        self.copies = folder / "copies"
        self.copies.mkdir(parents=True)
        self.chance = random.Random(seed)
        self.clock = SystemClock()
        self.settings: Settings = load_settings(
            {}, home=str(self.home), public_url=URL, confine="none", accept_unconfined=True
        )
        self.cloud = SimulatedCloud(
            clock=self.clock, chance=random.Random(seed), sleep=_sleep, timing=_TIMING
        )
        self.cloud.rate_limited = False
        self.plane: Plane | None = None
        self.token = ""
        self.model = Model()
        self.kept: list[Kept] = []
        self.counts: Counter[str] = Counter()
        self.ages: list[int] = []
        self.log = Lines()
        self.why = ""
        self._names = 0

    # -- the plane

    async def open(self) -> None:
        """Make the token, and start the first plane."""
        async with open_directory(self.settings) as directory:
            self.token, _ = await make_token(directory, "bench", scope="operator", account=None)
        await self.start()

    async def start(self) -> None:
        """Make and start a plane over the folder and the cloud."""
        real = where.open_clouds
        setattr(where, "open_clouds", self._open_clouds)  # noqa: B010  exchanged for a moment
        try:
            self.plane = await make_plane(self.settings, clock=self.clock, log=self.log, url=URL)
        finally:
            setattr(where, "open_clouds", real)  # noqa: B010  as above
        self.plane.app._rates = Rates(self.clock, calls=_PLENTY, sign_ins=_PLENTY)
        await self.plane.start()

    async def stop(self) -> None:
        """Stop the plane; the cloud goes on."""
        assert self.plane is not None
        await self.plane.stop()
        self.plane = None

    async def _open_clouds(self, core: Core, *, mint: Any, holders: Any) -> where.Clouds:
        """Return the simulated cloud under the name of the process cloud."""
        platform = where.platform_of(core.home, core.settings, core.url)
        self.cloud.world.on_change = None
        provider, lookout = where.join_cloud(
            core, self.cloud, platform=platform, mint=mint, holders=holders
        )
        return where.Clouds(
            by_name={where.PROCESS: self.cloud},
            providers={where.PROCESS: provider},
            lookouts={where.PROCESS: lookout},
        )

    async def ask(self, method: str, target: str, body: Any = None) -> Answer:
        """Call the API as the operator."""
        assert self.plane is not None
        raw = b"" if body is None else msgspec.json.encode(body)
        return await call(
            self.plane.app, method, target, headers=json_headers(self.token), body=raw
        )

    async def listed(self) -> dict[str, dict[str, Any]]:
        """Return every instance by id."""
        answer = await self.ask("GET", "/api/instances?limit=500")
        assert answer.status == 200, answer.body
        return {item["id"]: item for item in answer.json()["items"]}

    # -- orders

    async def order(self) -> None:
        """Give one random order; what is acknowledged goes into the model."""
        known = sorted(self.model.instances.keys() - self.model.doubtful)
        what = self.chance.choice(
            ["create", "create", "account", "stop", "start", "restart", "rotate", "destroy"]
        )
        if what == "create" and len(known) < 12:
            await self._create()
        elif what == "account":
            await self._account()
        elif known:
            await self._direct(what, self.chance.choice(known))
        self.model.orders += 1

    async def _create(self) -> None:
        self._names += 1
        name, desired = (
            f"agent-{self._names}",
            self.chance.choice(["running", "running", "stopped"]),
        )
        made = await self.ask("POST", "/api/instances", {"name": name, "desired": desired})
        if made.status == 201:
            self.model.instances[made.json()["id"]] = name

    async def _account(self) -> None:
        self._names += 1
        name = f"account-{self._names}"
        if (await self.ask("POST", "/api/accounts", {"name": name})).status == 201:
            self.model.accounts.add(name)

    async def _direct(self, what: str, one: str) -> None:
        if what == "rotate":
            await self.ask("POST", f"/api/instances/{one}/rotate-secrets", {})
        elif what == "destroy":
            self.model.doubtful.add(one)
            body = {"confirm": self.model.instances[one]}
            answer = await self.ask("POST", f"/api/instances/{one}/destroy", body)
            if answer.status in {200, 202}:
                del self.model.instances[one]
        else:
            await self.ask("POST", f"/api/instances/{one}/{what}", {})

    async def load(self, orders: int) -> None:
        """Give orders from several writers at once."""

        async def write(count: int) -> None:
            for _ in range(count):
                await self.order()

        await asyncio.gather(*(write(orders // WRITERS + 1) for _ in range(WRITERS)))

    # -- a round

    async def round(self) -> None:
        """Work, back up under load, work on, restore some backup, and look."""
        await self.load(self.chance.randrange(4, 16))
        await self._back_up()
        await self.load(self.chance.randrange(0, 24))
        kept = self.chance.choice(self.kept[-KEPT_BACKUPS:])
        self.ages.append(self.model.orders - kept.before.orders)
        await self.stop()
        order = RestoreOrder(
            replace=True,
            unknown=self.chance.choice(["keep", "end", "adopt"]),
            missing=self.chance.choice(["hold", "create"]),
        )
        living = self.living()
        await asyncio.to_thread(
            restore_backup, self.settings, kept.path, order, clock=self.clock, tell=_silent
        )
        await self.start()
        await self._check(kept, order, living)
        self.counts["rounds"] += 1

    async def _back_up(self) -> None:
        """Back up in a thread while orders are given."""
        before = self.model.copy()
        path = self.copies / f"{len(self.kept)}.tar.gz"
        making = asyncio.create_task(
            asyncio.to_thread(
                make_backup, self.settings, path, with_keys=True, clock=self.clock, tell=_silent
            )
        )
        while not making.done():
            await self.order()
        manifest = await making
        self.kept.append(Kept(path, before, self.model.copy(), manifest))
        for old in self.kept[:-KEPT_BACKUPS]:
            old.path.unlink(missing_ok=True)

    async def _check(self, kept: Kept, order: RestoreOrder, living: list[Machine]) -> None:
        """Compare with what was acknowledged, and wait until the fleet is at rest."""
        present = await self.listed()
        names = {row["name"] for row in (await self.ask("GET", "/api/accounts")).json()["items"]}
        lost = {
            one
            for one in kept.before.instances
            if one not in present and one not in kept.after.doubtful
        }
        self.counts["lost"] += len(lost) + len(kept.before.accounts - names)
        if order.unknown != "end":
            await self._answer_later(await self._adopted())
        present = await self._rest()
        self.counts["held"] += sum(bool(item["attention"]) for item in present.values())
        self._count_machines(present, living)
        going = {one for one, item in present.items() if item["desired"] == "destroyed"}
        there = {one: item["name"] for one, item in present.items() if one not in going}
        self.model = Model(there, going, names, self.model.orders)
        for one, item in present.items():
            if item["attention"] and one not in going:
                await self._direct(self.chance.choice(["start", "destroy"]), one)

    async def _adopted(self) -> dict[str, dict[str, Any]]:
        """Return all instances once each that is adopted is there."""
        (settled,) = self.log.named("restore.settled")[-1:]
        left = settled["unknown"] - settled["adopted"]

        self.counts["adopted"] += settled["adopted"]
        ends = asyncio.get_running_loop().time() + patience(SETTLED_S)
        while True:
            present = await self.listed()
            strange = [m for m in self.living() if m.labels[LABEL_INSTANCE] not in present]
            if len(strange) <= left:
                return present
            self.why = f"unknown beyond {left}: {strange}"
            assert asyncio.get_running_loop().time() < ends, self._told()
            await asyncio.sleep(STEP_S)

    async def _answer_later(self, present: dict[str, dict[str, Any]]) -> None:
        """The doctor names just the unknown machines; answered, they end at the next start."""
        unknown = {m.id for m in self.living() if m.labels[LABEL_INSTANCE] not in present}
        report = (await self.ask("GET", "/api/doctor")).json()
        text = next(one["message"] for one in report["checks"] if one["name"] == "machines")
        told = int(text.split()[0]) if unknown else 0
        self.counts["unlisted"] += abs(len(unknown) - told)
        if unknown:
            self.counts["kept"] += len(unknown)
            await self.stop()
            answer_unknown(self.settings, "end")
            await self.start()

    async def _rest(self) -> dict[str, dict[str, Any]]:
        """Wait until the fleet is at rest; fail with what is not."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + patience(SETTLED_S)
        while (present := await self._at_rest()) is None:
            assert loop.time() < ends, self._told()
            await asyncio.sleep(STEP_S)
        return present

    def _told(self) -> str:
        """Return why the fleet is not at rest, and what the log has of restores."""
        lines = [line for line in self.log.lines if line[1].startswith(("restore.", "event.ref"))]
        return f"not at rest: {self.why}; {lines[-12:]}"

    async def _at_rest(self) -> dict[str, dict[str, Any]] | None:
        """Return all instances once each is as it is wanted, and no other machine lives."""
        self._count_doubles()
        present = await self.listed()
        owned = {m.labels[LABEL_INSTANCE]: m for m in self.living()}
        strange = [machine for one, machine in owned.items() if one not in present]
        self.why = f"unknown machines: {strange}"
        if (self.home / MARKER).exists() or strange:
            return None
        for one, item in present.items():
            machine = owned.get(one)
            up = machine is not None and machine.state == "started"
            if item["attention"] or (item["desired"] == "destroyed" and not up):
                continue  # it waits for a person, or for a listing that must show all of it
            if item["desired"] == "stopped" and machine is None:
                continue  # none runs; that none was made is sure only after LISTING_LAG_MS
            self.why = f"{item}, {machine}"
            wanted = item["desired"] == "running"
            if up != wanted or (item["status"] == "running") != wanted:
                return None
        return present

    def living(self) -> list[Machine]:
        """Return every machine that lives, as it truly is."""
        return [one for one in self.cloud.all_machines() if one.state not in _GONE]

    def _count_doubles(self) -> None:
        per = Counter(machine.labels[LABEL_INSTANCE] for machine in self.living())
        self.counts["doubled"] += sum(count > 1 for count in per.values())

    def _count_machines(self, present: dict[str, Any], living: list[Machine]) -> None:
        """Count machines without an instance, and those that were replaced without need."""
        now = {machine.labels[LABEL_INSTANCE]: machine.id for machine in self.living()}
        self.counts["unowned"] += len(now.keys() - present.keys())
        for machine in living:
            one = machine.labels[LABEL_INSTANCE]
            if one in present and one in now:
                self.counts["replaced"] += now[one] != machine.id
                self.counts["taken over"] += now[one] == machine.id


async def run(
    folder: Path, *, rounds: int, seed: int, told: Callable[[Counter[str]], None]
) -> Campaign:
    """Run a campaign."""
    campaign = Campaign(folder, seed)
    async with AsyncExitStack() as closing:
        await campaign.open()
        closing.push_async_callback(campaign.stop)
        for _ in range(rounds):
            await campaign.round()
            told(campaign.counts)
    return campaign


async def _sleep(ms: float) -> None:
    await asyncio.sleep(ms / 1_000)


def _silent(_text: str) -> None:
    """Hear of progress."""
