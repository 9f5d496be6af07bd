"""Where agents of towns run, as towns ask for it: workspace, prompt, token, program, and its end.

A start is answered for certain wherever it can be: what failed before the host was asked started
nothing. What ended is read from the hosts' own records, so that each end is passed on once, however
often the plane was killed in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal, Protocol, TypeAlias

from holdfast.actors.ports import KeyReusedError, Mailboxes, MailboxFullError, Reader
from holdfast.instances.ports import UnsealError
from holdfast.instances.views import INSTANCE_VIEW
from holdfast.kernel.clock import DAY_MS, HOUR_MS, MINUTE_MS, Clock
from holdfast.kernel.ids import address
from holdfast.kernel.log import TotalLog
from holdfast.kernel.outcome import Conflict, Failure, Ok, Outcome, Permanent, Retryable
from holdfast.plane.attempt_costs import OUTPUT_BYTES, cost_of, reports
from holdfast.plane.installations import AGENTS_FOLDER, Installations
from holdfast.plane.settings import given_in, names_for
from holdfast.plane.town_prompt import Work, make_prompt
from holdfast.plane.wiring.clouds import machine_ports, make_confine
from holdfast.plane.wiring.confinement import make_host_probe
from holdfast.plane.wiring.core import Core
from holdfast.plane.wiring.part import Job, Part
from holdfast.towns import events, ports
from holdfast.towns.definition import KIND, arrival
from holdfast.towns.records import RigSettings, TownRecords
from holdfast.towns.views import TOWN_VIEW
from holdfast.wire.address import Base
from holdfast.wire.controller.calls import Controllers
from holdfast.world.forges import port as forges
from holdfast.world.forges.confined import confined_here
from holdfast.world.hosts.carrying import Carrier
from holdfast.world.hosts.fleet import FleetHost
from holdfast.world.hosts.port import (
    NO_COMMAND,
    EndedAttempt,
    Exited,
    Host,
    Launch,
    RunningAttempt,
    Unknown,
)
from holdfast.world.hosts.processes import ProcessHost
from holdfast.world.processes.probe import UNCONFINED, Offer

BAD_BEAD: Final = "bad_bead"
BAD_TOKEN: Final = "bad_token"  # noqa: S105  a code
DRAIN_S: Final = 20.0
"""How long a program may go on after it was asked to end: a stop is given a minute in all."""
LINGER_S: Final = 20.0
"""How long a program that writes at its end what it cost may finish its last words, after it said
that it is done, before its agent is handed more: a model's answer, well within a start's minute."""
LOOK_S: Final = 1.0
"""Time between two looks at what ended."""
KEPT_MS: Final = 7 * DAY_MS
"""How long an ended attempt is kept, with its output and its clone."""
POKE_CHARS_MAX: Final = 4_096
PROBED_MS: Final = MINUTE_MS
"""How long a host that confines is taken to do so: looking takes tenths of a second."""
FOLDER: Final = "town-agents"
"""Below the plane's home: what local attempts wrote, and what was sent to instances."""

CHARGED_BY: Final[Mapping[str, str]] = {
    forges.RIG_GONE: "rig_gone",
    forges.FORBIDDEN: "rig_gone",
    forges.RIG_LOCKED: "rig_locked",
    forges.NO_BRANCH: BAD_BEAD,
}
"""Codes of workspaces that failed by the fault of rig or bead, and the code that is charged."""

Status: TypeAlias = Literal["completed", "failed", "gone", "evicted"]

HOST_FAULTS: Final = frozenset({"unconfined", "not_started"})
"""Ends of programs that never ran: the host's fault, which charges no bead."""


class Attempts(Protocol):
    """Tokens of attempts."""

    async def issue(self, town: str, agent: str, attempt: str) -> str:
        """Return the token of an attempt once it is durable; the same when it is asked again."""
        ...

    async def revoke(self, town: str, agent: str, attempt: str) -> None:
        """End the token of an attempt."""
        ...


class Accept(Protocol):
    """Accepts an event for a town."""

    async def __call__(self, town: str, event: events.Event, *, dedupe: str) -> None:
        """Return once the event is durable; one with the same key is accepted already."""
        ...


RepositoryOf: TypeAlias = Callable[[str, RigSettings], forges.Repository]
"""Returns the repository of a rig of a town, with its credential opened; raises UnsealError."""


OwnsInstance: TypeAlias = Callable[[str, str], Awaitable[bool]]
"""Returns whether an account has an instance."""


class TownHosts:
    """Starts, stops and pokes attempts, and passes on how they ended."""

    def __init__(
        self,
        *,
        records: TownRecords,
        local: Host,
        fleet: Host | None,
        repositories: forges.Workspaces,
        repository_of: RepositoryOf,
        attempts: Attempts,
        accept: Accept,
        tools_url: Callable[[str], str],
        may_use: OwnsInstance,
        commands: Mapping[str, tuple[str, ...]],
        clock: Clock,
        log: TotalLog,
        drain_s: float = DRAIN_S,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Run agents on `local`, or on instances by `fleet` where an agent names one.

        `tools_url` returns the address of a town's tools, `may_use` whether a town (the first) may
        run agents on an instance, `commands` are the templates of roles for which a rig sets none.
        """
        self._records = records
        self._local = local
        self._fleet = fleet
        self._repositories = repositories
        self._repository_of = repository_of
        self._attempts = attempts
        self._accept = accept
        self._tools_url = tools_url
        self._may_use = may_use
        self._commands = commands
        self._clock = clock
        self._log = log
        self._drain_s = drain_s
        self._sleep = sleep

    # ------------------------------------------------------------------------ the port of towns

    async def start(self, town: str, call: ports.StartCall) -> Outcome[ports.Begun]:
        """Start an attempt once, whatever was asked before."""
        host = self._host(call.host)
        if host is None:
            return _no_fleet(call.host)
        if call.host and not await self._may_use(town, call.host):
            return Permanent("no_host", f"the town's account has no instance {call.host}")
        seen = await host.look(town, call.attempt)
        if not isinstance(seen, Ok):
            return seen
        if not isinstance(seen.value, Unknown):
            return Ok(ports.Begun())
        launch = await self._prepare(town, call)
        if not isinstance(launch, Ok):
            return launch
        started = await host.start(launch.value)
        match started:
            case Ok():
                return Ok(ports.Begun())
            case Retryable():
                return started  # it may run: its token and its clone stay
            case _:
                await self._clear(town, call.agent, call.attempt, call.rig)
                return started

    async def stop(self, town: str, call: ports.StopCall) -> Outcome[ports.Ended]:
        """Stop an agent's attempts up to an epoch; what does not run is stopped."""
        host = self._host(call.host)
        if host is None:
            return _no_fleet(call.host)
        stopped = await host.stop(town, call.agent, call.epoch, self._drain_s)
        return Ok(ports.Ended()) if isinstance(stopped, Ok) else stopped

    async def nudge(self, town: str, call: ports.NudgeCall) -> Outcome[ports.Delivered]:
        """Poke a running attempt; Permanent when it does not run."""
        said = "You are asked for a sign of work."
        return await self._poke(town, call.attempt, call.host, call.content, said)

    async def mail(self, town: str, call: ports.MailCall) -> Outcome[ports.Delivered]:
        """Tell a running attempt that a message waits for it."""
        return await self._poke(town, call.attempt, call.host, call.content, "Mail waits for you.")

    async def take(
        self, town: str, rig: str, attempt: str, branch: str, target: str
    ) -> Outcome[forges.Branch]:
        """Take an attempt's branch into the plane's copy, for when its agent says that it is done.

        What was committed on an instance is brought here first.
        """
        for host in self._hosts():
            gathered = await host.gather(town, attempt)
            if not isinstance(gathered, Ok):
                return gathered
        settings = await self._records.rig(town, rig)
        if settings is None:
            return Permanent(forges.RIG_GONE, f"rig {rig} has no settings")
        repository = self._repository(town, settings)
        if not isinstance(repository, Ok):
            return repository
        return await self._repositories.collect(repository.value, attempt, branch, target)

    # -------------------------------------------------------------------------------- the watch

    async def running(self) -> list[RunningAttempt]:
        """Return the attempts that run; those of a host that cannot say it are left out."""
        found = [await host.running() for host in self._hosts()]
        return [one for each in found if isinstance(each, Ok) for one in each.value]

    def watches(self) -> tuple[Job, ...]:
        """Return a watch for each host, so that none waits for what another does not answer."""
        watches = (Job("town-attempts", partial(self._watch, self._local)),)
        if self._fleet is None:
            return watches
        return (*watches, Job("town-attempts-fleet", partial(self._watch, self._fleet)))

    async def _watch(self, host: Host) -> None:
        """Pass on what ended, and forget what ended long ago; runs until it is cancelled."""
        pruned_ms = 0
        while True:
            await self.pass_on(host)
            if self._clock.now_ms() - pruned_ms >= HOUR_MS:
                pruned_ms = self._clock.now_ms()
                await self.prune(host)
            await self._sleep(LOOK_S)

    async def pass_on(self, host: Host) -> int:
        """Accept the end of every attempt that ended by itself; return how many were passed on."""
        found = await host.ended()
        if not isinstance(found, Ok):
            self._log.warning("attempts.not_read", code=found.code, message=found.message)
            return 0
        return sum([await self._pass_on(host, one) for one in found.value])

    async def prune(self, host: Host) -> None:
        """Delete the clones of attempts that ended long ago, then their records and output."""

        async def release(one: EndedAttempt) -> bool:
            return await self._clear(one.town, one.agent, one.attempt, one.rig)

        pruned = await host.prune(self._clock.now_ms() - KEPT_MS, release)
        if not isinstance(pruned, Ok):
            self._log.warning("attempts.not_pruned", code=pruned.code, message=pruned.message)

    async def _pass_on(self, host: Host, one: EndedAttempt) -> bool:
        status, code = describe(one.seen)
        event = events.AgentExited(agent=one.agent, attempt=one.attempt, status=status, code=code)
        try:
            await self._tell_cost(host, one)
            await self._accept(one.town, event, dedupe=f"exited:{one.attempt}")
        except MailboxFullError:
            return False  # at the next look
        except KeyReusedError:
            self._log.warning("attempts.ended_otherwise", attempt=one.attempt, status=status)
        await self._attempts.revoke(one.town, one.agent, one.attempt)
        await host.acknowledge(one.town, one.attempt)
        self._log.info("attempts.ended", attempt=one.attempt, status=status, code=code)
        return True

    async def _tell_cost(self, host: Host, one: EndedAttempt) -> None:
        """Accept what a program of this computer wrote that it cost; what cannot be read is none.

        What runs on an instance is started there by other words than the command's.
        """
        if host is not self._local or not reports(one.command):
            return
        output = await host.output(one.town, one.attempt, OUTPUT_BYTES)
        cost = cost_of(output.value) if isinstance(output, Ok) else None
        if cost is None:
            self._log.info("attempts.no_cost", attempt=one.attempt)
            return
        said = events.CostReported(
            agent=one.agent, attempt=one.attempt, microdollars=cost, id="run", late=True,
            bead=one.bead,
        )  # fmt: skip
        await self._accept(one.town, said, dedupe=f"cost:{one.attempt}")

    # --------------------------------------------------------------------------------- starting

    async def _prepare(self, town: str, call: ports.StartCall) -> Outcome[Launch]:
        """Return what to start; a failure says for certain that nothing was started."""
        settings = await self._records.rig(town, call.rig)
        if settings is None:
            return Permanent("rig_gone", f"rig {call.rig} has no settings: add it again")
        text = await self._records.text(town, call.content) if call.content else None
        if call.content and text is None:
            return Permanent(BAD_BEAD, f"the text of bead {call.bead} is not there any more")
        command = settings.commands.get(call.role) or self._commands.get(call.role, ())
        if not command:
            return Permanent(NO_COMMAND, f"rig {call.rig} has no command for the role {call.role}")
        repository = self._repository(town, settings)
        if not isinstance(repository, Ok):
            return repository
        made = await self._repositories.workspace(
            repository.value, call.attempt, call.branch, call.target
        )
        if not isinstance(made, Ok):
            return _certain(made)
        token = await self._attempts.issue(town, call.agent, call.attempt)
        work = Work(town=town, call=call, text=text, settings=settings)
        return Ok(
            Launch(
                town=town, agent=call.agent, attempt=call.attempt, epoch=call.epoch,
                role=call.role, rig=call.rig, bead=call.bead, command=tuple(command),
                host=call.host,
                folder=made.value.folder, branch=call.branch, base=made.value.base,
                read=made.value.lent, prompt=make_prompt(work), env=self._env(town, call, token),
                linger_s=LINGER_S if reports(command) else 0,
            )
        )  # fmt: skip

    def _repository(self, town: str, settings: RigSettings) -> Outcome[forges.Repository]:
        """Return the repository of a rig with its credential opened."""
        try:
            return Ok(self._repository_of(town, settings))
        except UnsealError:
            text = f"the credential of rig {settings.rig} cannot be opened: set it again"
            return Permanent(BAD_TOKEN, text)

    def _env(self, town: str, call: ports.StartCall, token: str) -> dict[str, str]:
        email = f"{call.agent}@{town}.invalid"
        return {
            "HOLDFAST_TOOL_URL": self._tools_url(town),
            "HOLDFAST_TOOL_TOKEN": token,
            "HOLDFAST_TOWN_RIG": call.rig,
            "HOLDFAST_TOWN_BEAD": call.bead,
            "HOLDFAST_TOWN_BRANCH": call.branch,
            "HOLDFAST_TOWN_TARGET": call.target,
            "GIT_AUTHOR_NAME": call.agent,
            "GIT_AUTHOR_EMAIL": email,
            "GIT_COMMITTER_NAME": call.agent,
            "GIT_COMMITTER_EMAIL": email,
        }

    async def _clear(self, town: str, agent: str, attempt: str, rig: str) -> bool:
        """End the token of an attempt and delete its clone; return whether nothing of it is left.

        The copies of a rig that was removed stay with all their clones, so there is nothing to do.
        """
        await self._attempts.revoke(town, agent, attempt)
        settings = await self._records.rig(town, rig)
        if settings is None:
            return True
        repository = self._repository(town, settings)
        dropped: Outcome[None]
        if isinstance(repository, Ok):
            dropped = await self._repositories.drop(repository.value, attempt)
        else:
            dropped = repository
        if not isinstance(dropped, Ok):
            self._log.warning("attempts.clone_stays", attempt=attempt, code=dropped.code)
        return isinstance(dropped, Ok)

    # -------------------------------------------------------------------------------- the rest

    async def _poke(
        self, town: str, attempt: str, name: str, content: str, said: str
    ) -> Outcome[ports.Delivered]:
        host = self._host(name)
        if host is None:
            return _no_fleet(name)
        text = await self._records.text(town, content) if content else None
        more = "" if text is None else f"\n\n{text.title}\n\n{text.body}"
        poke = f"{said} `holdfast-tool prime` has it.{more}"[:POKE_CHARS_MAX]
        poked = await host.poke(town, attempt, poke)
        return Ok(ports.Delivered()) if isinstance(poked, Ok) else poked

    def _host(self, name: str) -> Host | None:
        return self._fleet if name else self._local

    def _hosts(self) -> tuple[Host, ...]:
        return (self._local,) if self._fleet is None else (self._local, self._fleet)


def describe(seen: Exited) -> tuple[Status, str]:
    """Return the status and code of an end, as towns know them."""
    if seen.because == "asked":
        return "evicted", "asked"  # not by its town, which says nothing of what it stopped
    if seen.how == "gone" or seen.because in HOST_FAULTS:
        return "gone", seen.because
    if seen.how == "exited" and seen.code == 0:
        return "completed", ""
    word = "exit" if seen.how == "exited" else "signal"
    return "failed", seen.because or f"{word}_{seen.code}"


def accepting(mailboxes: Mailboxes) -> Accept:
    """Return what accepts events of hosts for towns."""

    async def accept(town: str, event: events.Event, *, dedupe: str) -> None:
        row = arrival(event, dedupe=dedupe, source="probe")
        await mailboxes.tell([(address(KIND, town), row)])

    return accept


def owns_instance(reader: Reader) -> OwnsInstance:
    """Return what says whether an account has an instance, as it was committed last."""

    async def owns(account: str, instance: str) -> bool:
        row = await reader.view(INSTANCE_VIEW, instance)
        return row is not None and row[1] == account

    return owns


def instance_exists(reader: Reader) -> Callable[[str], Awaitable[bool]]:
    """Return what says whether there is an instance of an id."""

    async def exists(instance: str) -> bool:
        return await reader.view(INSTANCE_VIEW, instance) is not None

    return exists


def town_may_use(reader: Reader) -> OwnsInstance:
    """Return what says whether the account of a town has an instance."""
    owns = owns_instance(reader)

    async def may_use(town: str, instance: str) -> bool:
        row = await reader.view(TOWN_VIEW, town)
        return row is not None and await owns(row[1], instance)

    return may_use


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenHosts:
    """The hosts of a plane: `towns` implements the port, `part` watches what runs."""

    towns: TownHosts
    local: ProcessHost
    fleet: FleetHost
    part: Part


async def open_town_hosts(
    core: Core, *, records: TownRecords, repositories: forges.Workspaces,
    repository_of: RepositoryOf, attempts: Attempts, controllers: Controllers,
    commands: Mapping[str, tuple[str, ...]] | None = None,
) -> OpenHosts:  # fmt: skip
    """Open the hosts of a plane in its folder, and find what runs."""
    settings, root = core.settings, core.home / FOLDER
    confine, machines = make_confine(core.home, settings, core.url), machine_ports(settings)
    confined = confined_here(confine, ports=machines, accept_unconfined=settings.accept_unconfined)
    openclaw = Installations(core.home / AGENTS_FOLDER).path("openclaw", "")
    local = ProcessHost(
        root / "local", clock=core.clock, log=core.log,
        confine=confine,
        confined=confined_host(make_host_probe(settings), core.clock),
        accept_unconfined=settings.accept_unconfined, ports=machines,
        inherit=partial(names_for, given_in(settings.town_variables)),
        modules=(str(openclaw / "node_modules"),),
    )  # fmt: skip
    await local.open()
    core.closing.push_async_callback(local.close)
    fleet = FleetHost(
        root / "fleet", controllers=controllers, carrier=Carrier(confined),
        clock=core.clock, log=core.log, exists=instance_exists(core.stores.reader),
    )  # fmt: skip
    await fleet.open()
    core.closing.push_async_callback(fleet.close)
    base = Base.parse(core.url)
    towns = TownHosts(
        records=records, local=local, fleet=fleet, repositories=repositories,
        repository_of=repository_of, attempts=attempts, accept=accepting(core.mailbox),
        tools_url=lambda town: base.url(f"/api/towns/{town}/tools"),
        may_use=town_may_use(core.stores.reader),
        commands=commands or {}, clock=core.clock, log=core.log,
    )  # fmt: skip
    part = Part(name="town-hosts", jobs=towns.watches())
    return OpenHosts(towns=towns, local=local, fleet=fleet, part=part)


def confined_host(
    probe: Callable[[], Awaitable[Offer]], clock: Clock
) -> Callable[[], Awaitable[bool]]:
    """Return whether this host confines programs, as it was found within the last minute."""
    found: tuple[bool, float] | None = None

    async def confined() -> bool:
        nonlocal found
        if found is None or not found[0] or clock.steady_ms() - found[1] > PROBED_MS:
            found = ((await probe()).kind not in UNCONFINED, clock.steady_ms())
        return found[0]

    return confined


def _certain(failure: Failure) -> Permanent | Conflict:
    """Return the failure of a workspace as one after which nothing was started, for certain."""
    match failure:
        case Permanent(code=code, message=message):
            return Permanent(CHARGED_BY.get(code, code), message)
        case Conflict():
            return failure
        case Retryable(code=code, message=message):
            return Conflict(code, message)


def _no_fleet(name: str) -> Permanent:
    return Permanent("no_host", f"host {name}: this plane runs no agents of towns on instances")
