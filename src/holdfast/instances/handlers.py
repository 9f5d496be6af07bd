"""The calls about instances: list, make, order, change, look into.

A handler checks who may see what, accepts an event and answers with what the tick made of it;
whether something may be is decided in the fold alone. What is not visible is not there (404).
An order is answered with 200 and the committed row, 409 and the refusal, or 202 and where to
follow it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from msgspec.structs import replace

from holdfast.actors import calls
from holdfast.actors.ports import Answer, Mailboxes, Reader
from holdfast.actors.record import TickRecord, decode_record
from holdfast.instances import events, presenters, upgrades
from holdfast.instances.definition import KIND, arrival
from holdfast.instances.effects import KEY_NAME
from holdfast.instances.index import FleetIndex, list_cursor, list_query
from holdfast.instances.limits import KEY_LIFE_MS
from holdfast.instances.placement import Placement
from holdfast.instances.policy import Policy
from holdfast.instances.ports import Agents, Contacts, Context, Logs, Sealer
from holdfast.instances.start_report import (
    climbs_view,
    confinement_of,
    observer_view,
    observer_words,
    start_fact,
    start_fix,
    start_view,
    status_of,
)
from holdfast.instances.state import CPUS, MEMORY_MB, Config
from holdfast.instances.views import (
    DETAIL_VIEW,
    INSTANCE_VIEW,
    DetailRow,
    read_detail,
    read_instance,
)
from holdfast.kernel.chance import Chance
from holdfast.kernel.clock import SECOND_MS, Clock
from holdfast.kernel.ids import Address
from holdfast.wire.agents import is_release
from holdfast.wire.api.call import Call, Handler, Refusal, Reply
from holdfast.wire.api.endpoint import Detail
from holdfast.wire.api.instances import (
    BulkAnswer,
    BulkItem,
    BulkOrder,
    InstanceCreate,
    InstanceDestroy,
    InstanceDetail,
    InstanceList,
    InstancePatch,
    InstanceRotation,
    InstanceView,
    LogTail,
    Timeline,
)
from holdfast.wire.api.upgrades import InstanceUpgrade
from holdfast.wire.controller.identity import key_hash, sandbox_of_instance
from holdfast.wire.health import HEALTHS
from holdfast.wire.salvage import fit
from holdfast.wire.times import time_text

KEY_PREFIX: Final = "hfm_"
"""What a machine's API key begins with."""

LOG_LINES_DEFAULT: Final = 200
_CHUNK: Final = 10
"""Rows of a page read before the loop gets a turn: about 0.4 ms, since many lists may be asked."""

_TICKS_MAX: Final = 500
_CODES: Final = tuple(HEALTHS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """What the handlers need.

    `placement` is where new instances may go; `account` owns what an operator makes
    without naming one. `policy` is the one that the engine decides by, for explanations.
    `agents` names those that can be run, `accounts` those that there are; without them any name is
    taken. `fleet` is the index that lists are made of.
    """

    mailboxes: Mailboxes
    reader: Reader
    contacts: Contacts
    fleet: FleetIndex
    logs: Logs
    sealer: Sealer
    chance: Chance
    clock: Clock
    policy: Policy
    placement: Placement
    account: str
    agents: Agents | None = None
    accounts: Callable[[], Awaitable[frozenset[str]]] | None = None


def handlers(deps: Deps) -> Mapping[str, Handler]:
    """Return a handler for each row about instances, by the row's name, but for the charts."""
    made = InstanceCalls(deps)
    return {
        "instance.list": made.list_page,
        "instance.create": made.create,
        "instance.bulk-start": made.bulk_start,
        "instance.bulk-stop": made.bulk_stop,
        "instance.get": made.get,
        "instance.start": made.start,
        "instance.stop": made.stop,
        "instance.restart": made.restart,
        "instance.rotate-secrets": made.rotate_secrets,
        "instance.upgrade": made.upgrade,
        "instance.upgrade-preview": made.preview_upgrade,
        "instance.ladder-stop": made.stop_ladder,
        "instance.ladder-retry": made.retry_ladder,
        "instance.destroy": made.destroy,
        "instance.patch": made.patch,
        "instance.logs": made.logs,
        "instance.timeline": made.timeline,
        "instance.explain": made.explain,
    }


class InstanceCalls:
    """The handlers over their parts."""

    def __init__(self, deps: Deps) -> None:
        """Answer from `deps`."""
        self._deps = deps

    # -- looks

    async def list_page(self, call: Call) -> Reply:
        """Filter, sort and page what the caller may see."""
        account = calls.listed_account(call)
        limit = call.number("limit", calls.PAGE_DEFAULT)
        query = list_query(call.query, account, limit=limit)
        await self._check_agent(query.agent)
        page = await self._deps.fleet.page(query)
        views: list[InstanceView] = []
        for number, instance in enumerate(page.ids, 1):
            row = await self._deps.reader.view(INSTANCE_VIEW, instance)
            if row is not None and query.account in {None, row[1]}:  # it may be gone by now
                view = read_instance(instance, row[0], account=row[1])
                views.append(self._merged(view, row[2]))
            if number % _CHUNK == 0:
                await asyncio.sleep(0)
        following = list_cursor(query, page.following)
        return Reply(
            InstanceList(
                items=tuple(views),
                next=following,
                total=page.total,
                counts=dict(page.counts),  # type: ignore[arg-type]
                health_counts={_CODES[rank]: many for rank, many in sorted(page.healths.items())},
            )
        )

    async def _check_agent(self, agent: str) -> None:
        """Refuse (400) to filter by an agent that no instance uses and that cannot be run."""
        if not agent or self._deps.agents is None:
            return
        known = self._deps.agents.names() | await self._deps.fleet.agents()
        if agent not in known:
            text = f"No agent is called {agent!r} here."
            raise Refusal(
                400, "unknown_value", text, field="agent", fix=f"use {', '.join(sorted(known))}"
            )

    def _merged(self, view: InstanceView, seq: int) -> InstanceView:
        """Return a committed row with the fields of the machine's last contact added."""
        last = self._deps.contacts.contact(view.id)
        if last is None or not last.heard_ms:
            return replace(view, seq=seq)
        load = last.status.load_avg_5m if last.status and view.status == "running" else None
        return replace(
            view,
            seq=seq,
            last_contact_at=time_text(last.heard_ms),
            load=load,
            restarts=max(view.restarts, last.restarts),
            confinement=confinement_of(status_of(view, last)),
        )

    async def _view(self, call: Call, instance_id: str) -> InstanceView:
        """Return one instance; refuse with 404 what is not there or not the caller's."""
        row = await calls.visible(
            call, self._deps.reader, INSTANCE_VIEW, instance_id, noun="instance"
        )
        view = read_instance(instance_id, row[0], account=row[1])
        return self._merged(view, row[2])

    async def get(self, call: Call) -> Reply:
        """Show one instance."""
        view = await self._view(call, call.path["id"])
        row = await self._deps.reader.view(DETAIL_VIEW, view.id)
        detail = DetailRow(sandbox_id="", provider="") if row is None else read_detail(row[0])
        loaded = await self._deps.reader.load(_actor(view.id))
        alarm_ms = None if loaded is None else loaded.alarm_ms
        pending = detail.launched_version not in {0, detail.config_version}
        last = self._deps.contacts.contact(view.id)
        observer = observer_view(status_of(view, last))
        facts = {
            "provider": detail.provider,
            "size": self._size_words(detail),
            "volume": detail.volume_id,
            "version": _version_words(view, detail),
            "did not stay up": f"{detail.failures} in a row" if detail.failures else "",
            "configuration": "changed since its launch; restart to apply" if pending else "",
            "observer": observer_words(observer),
        }
        return Reply(
            InstanceDetail(
                instance=view,
                env=detail.env,
                secret_names=detail.secret_names,
                started_at=time_text(detail.started_ms) if detail.started_ms else None,
                stopped_at=time_text(detail.stopped_ms) if detail.stopped_ms else None,
                next_alarm_at=time_text(alarm_ms) if alarm_ms else None,
                sandbox_id=detail.sandbox_id,
                start=start_view(view, last),
                climbs=climbs_view(view, last),
                observer=observer,
                details=tuple(Detail(name=n, value=v) for n, v in facts.items() if v),
                incidents=presenters.incident_views(detail.incidents, self._deps.clock.now_ms()),
                recovery_s=presenters.recovery_s(detail.incidents),
            )
        )

    def _size_words(self, detail: DetailRow) -> str:
        """Return how large its machine is, where its cloud enforces that."""
        offer = self._deps.placement.offers.get(detail.provider)
        if offer is None or not offer.sizes:
            return ""
        return f"{detail.cpus} CPUs, {detail.memory_mb:,} MiB of memory"

    async def explain(self, call: Call) -> Reply:
        """Say why it is as it is, from the rules themselves."""
        view = await self._view(call, call.path["id"])
        loaded = await self._deps.reader.load(_actor(view.id))
        if loaded is None:
            raise calls.missing("instance")
        state = presenters.state_of(loaded, view.id)
        found = presenters.explain(state, self._deps.policy, self._deps.clock.now_ms())
        start = start_view(view, self._deps.contacts.contact(view.id))
        if (fact := start_fact(start)) is not None:
            found = replace(
                found, facts=(*found.facts, fact), fix=found.fix or start_fix(start, view.name)
            )
        return Reply(found)

    async def timeline(self, call: Call) -> Reply:
        """Show what happened, what was decided and what came of it."""
        view = await self._view(call, call.path["id"])
        limit = call.number("limit", calls.PAGE_DEFAULT)
        before = calls.page_offset(call.query.get("after", ""))
        actor = _actor(view.id)
        log = await self._deps.reader.log_tail(actor, before=before, limit=limit)
        if not log:
            return Reply(Timeline(entries=()))
        oldest = log[-1].tick
        # The newest page includes ticks after the last event too: they may have notes.
        newest = log[0].tick if before else oldest + _TICKS_MAX
        bodies = await self._deps.reader.ticks(
            actor, after=oldest - 1, limit=min(newest - oldest + 1, _TICKS_MAX)
        )
        records = [record for body in bodies if (record := _read_record(body)) is not None]
        within = [record for record in records if oldest <= record.number <= newest]
        entries = presenters.timeline(log, within, cause=call.query.get("cause", ""))
        following = calls.page_cursor(log[-1].seq) if len(log) == limit and log[-1].seq > 1 else ""
        shown = tuple(map(fit, entries[: 5 * calls.PAGE_DEFAULT]))
        return Reply(Timeline(entries=shown, next=following))

    async def logs(self, call: Call) -> Reply:
        """Show the newest lines of its agent and controller."""
        view = await self._view(call, call.path["id"])
        if not view.machine_id:
            return Reply(LogTail(lines=(), note="it has no machine yet"))
        row = await self._deps.reader.view(DETAIL_VIEW, view.id)
        provider = read_detail(row[0]).provider if row is not None else self._deps.placement.cloud
        wanted = int(call.query.get("lines", LOG_LINES_DEFAULT))
        chunk = await self._deps.logs.tail(provider, view.machine_id, lines=wanted)
        lines = [presenters.log_line(text) for text in chunk.lines]
        stream = call.query.get("stream")
        kept = tuple(line for line in lines if stream is None or line.stream == stream)
        return Reply(LogTail(lines=kept[-wanted:], note=chunk.note))

    # -- orders

    async def create(self, call: Call) -> Reply:
        """Make an instance; its key is made here, sealed, and never shown."""
        body: InstanceCreate = call.body
        account = await self._account_for(call, body)
        self._check_runnable(body.agent)
        cloud, region = self._deps.placement.choose(body.cloud, body.region)
        self._deps.placement.check_size(cloud, cpus=body.cpus, memory_mb=body.memory_mb)
        instance_id = self._new_id(call, account)
        api_key = self._deps.chance.token(KEY_PREFIX)
        seal = self._deps.sealer.seal
        event = events.InstanceCreated(
            account=account,
            name=body.name,
            sandbox_id=sandbox_of_instance(instance_id),
            agent=body.agent,
            provider=cloud,
            region=region,
            desired=body.desired,
            config=Config(
                cpus=body.cpus or CPUS,
                memory_mb=body.memory_mb or MEMORY_MB,
                env=dict(sorted(body.env.items())),
                secrets={
                    name: seal(value, Context(account, instance_id, name))
                    for name, value in sorted(body.secrets.items())
                },
                agent_version=self._version(body.agent, body.version),
            ),
            key_hash=key_hash(api_key),
            sealed_key=seal(api_key, Context(account, instance_id, KEY_NAME)),
            key_expires_ms=self._deps.clock.now_ms() + KEY_LIFE_MS,
        )
        answer = await self._ask(call, instance_id, event, dedupe="create")
        if answer.stamp is None:
            return calls.pending(answer)
        calls.refuse_if_refused(answer)
        return Reply(await self._view(call, instance_id), status=201)

    def _check_runnable(self, agent: str) -> None:
        """Refuse an agent that cannot be run here."""
        known = self._deps.agents
        if known is not None and agent not in known.names():
            fix = f"Choose one of: {', '.join(sorted(known.names()))}."
            text = f"No agent is called {agent!r} here."
            raise Refusal(400, "unknown_agent", text, field="agent", fix=fix)

    def _version(self, agent: str, asked: str) -> str:
        """Return the version that an instance keeps; refuse one that is not installed.

        Nothing asked is the version that new instances get, and a bundled agent has none.
        """
        known = self._deps.agents
        if known is None or not asked:
            return "" if known is None else known.default(agent)
        found = known.find(agent, asked)
        if found is not None:
            return found
        there = known.versions(agent)
        text = f"{agent} {asked!r} is not installed on this host."
        fix = f"Install it: holdfast agents install {agent} --version {asked}"
        if not there:
            text, fix = f"{agent} is part of Holdfast and has one version.", "Leave it out."
        raise Refusal(400, "unknown_version", text, field="version", fix=fix)

    async def _account_for(self, call: Call, body: InstanceCreate) -> str:
        own = call.principal.account
        if own is None:
            account, known = body.account or self._deps.account, self._deps.accounts
            if body.account and known is not None and account not in await known():
                text = f"There is no account {account!r}."
                fix = "Make it first: holdfast account create NAME"
                raise Refusal(404, "no_such_account", text, field="account", fix=fix)
            return account
        if body.account not in {"", own}:
            text = "An owner makes instances in their own account only."
            raise Refusal(400, "not_your_account", text, field="account", fix="Leave it out.")
        return own

    def _new_id(self, call: Call, account: str) -> str:
        """Return a new UUID; the same for a repeated Idempotency-Key of the same caller."""
        if not call.idempotency_key:
            return self._deps.chance.uuid()
        parts = f"{account}\x1f{calls.caller(call.principal)}\x1f{call.idempotency_key}"
        digest = hashlib.blake2b(parts.encode(), digest_size=16, person=b"hf-instance").digest()
        return str(UUID(bytes=digest, version=4))

    async def start(self, call: Call) -> Reply:
        """Want it running."""
        return await self._order(call, events.StartRequested(call.body.reason))

    async def stop(self, call: Call) -> Reply:
        """Want it stopped."""
        return await self._order(call, events.StopRequested(call.body.reason))

    async def restart(self, call: Call) -> Reply:
        """Launch it anew with its present configuration."""
        return await self._order(call, events.RestartRequested(call.body.reason))

    async def rotate_secrets(self, call: Call) -> Reply:
        """Replace its tokens and its key, by handing them over or, at the last, a new launch."""
        body: InstanceRotation = call.body
        until_ms = self._deps.clock.now_ms() + body.overlap_s * SECOND_MS
        event = events.TokenRotated(previous_expires_ms=until_ms, renew_key=body.key)
        return await self._order(call, event)

    async def upgrade(self, call: Call) -> Reply:
        """Change the version of its agent."""
        body: InstanceUpgrade = call.body
        view = await self._view(call, call.path["id"])
        version = self._version(view.agent, body.version)
        event = events.UpgradeRequested(version=version, restore=body.restore, reason=body.reason)
        return await self._order(call, event)

    async def preview_upgrade(self, call: Call) -> Reply:
        """Say what another version would change."""
        view = await self._view(call, call.path["id"])
        version = self._version(view.agent, call.query.get("version", ""))
        loaded = await self._deps.reader.load(_actor(view.id))
        if loaded is None:
            raise calls.missing("instance")
        state, known = presenters.state_of(loaded, view.id), self._deps.agents
        before = state.config.agent_version
        versions = [] if known is None else known.versions(view.agent)
        return Reply(
            upgrades.preview(state, version, versions=versions, is_kept=before in versions)
        )

    async def stop_ladder(self, call: Call) -> Reply:
        """Stop the recovery of its agent where it is."""
        return await self._order(call, events.LadderStopRequested(call.body.reason))

    async def retry_ladder(self, call: Call) -> Reply:
        """Let the recovery of its agent begin anew."""
        return await self._order(call, events.LadderRetryRequested(call.body.reason))

    async def destroy(self, call: Call) -> Reply:
        """Destroy it, when its name was typed as confirmation."""
        body: InstanceDestroy = call.body
        view = await self._view(call, call.path["id"])
        if body.confirm != view.name:
            raise Refusal(
                400,
                "not_confirmed",
                "What was typed is not the instance's name; nothing was destroyed.",
                field="confirm",
                fix=f"Type {view.name!r}.",
            )
        return await self._order(call, events.DestroyRequested(body.reason))

    async def patch(self, call: Call) -> Reply:
        """Change variables and secrets; they reach the agent with its next start."""
        body: InstancePatch = call.body
        view = await self._view(call, call.path["id"])
        if body.cpus or body.memory_mb:
            await self._check_size(view.id, body)
        secrets = {
            name: value
            if value is None
            else self._deps.sealer.seal(value, Context(view.account, view.id, name))
            for name, value in sorted(body.secrets.items())
        }
        event = events.ConfigChanged(
            env=dict(sorted(body.env.items())),
            secrets=secrets,
            agent_version=self._version(view.agent, body.version) if body.version else None,
            cpus=body.cpus,
            memory_mb=body.memory_mb,
        )
        return await self._order(call, event)

    async def _check_size(self, instance_id: str, body: InstancePatch) -> None:
        row = await self._deps.reader.view(DETAIL_VIEW, instance_id)
        cloud = "" if row is None else read_detail(row[0]).provider
        self._deps.placement.check_size(cloud, cpus=body.cpus, memory_mb=body.memory_mb)

    async def _order(self, call: Call, event: events.Event) -> Reply:
        """Accept an order and answer with what the tick made of it."""
        before = await self._view(call, call.path["id"])
        answer = await self._ask(call, before.id, event, dedupe=call.endpoint)
        if answer.stamp is None:
            return calls.pending(answer)
        calls.refuse_if_refused(answer)
        return Reply(await self._after(call, before, answer.stamp.seq))

    async def _after(self, call: Call, before: InstanceView, seq: int) -> InstanceView:
        """Return the row as it stands now; what was quick to go is shown as destroyed."""
        try:
            return await self._view(call, before.id)
        except Refusal:
            return replace(before, desired="destroyed", status="destroyed", seq=seq)

    async def _ask(
        self, call: Call, instance_id: str, event: events.Event, *, dedupe: str
    ) -> Answer:
        return await calls.ask(
            call,
            event,
            mailboxes=self._deps.mailboxes,
            chance=self._deps.chance,
            actor=_actor(instance_id),
            arrival=arrival,
            dedupe=dedupe,
        )

    # -- many

    async def bulk_start(self, call: Call) -> Reply:
        """Want many running."""
        return await self._bulk(call, events.StartRequested(call.body.reason))

    async def bulk_stop(self, call: Call) -> Reply:
        """Want many stopped."""
        return await self._bulk(call, events.StopRequested(call.body.reason))

    async def _bulk(self, call: Call, event: events.Event) -> Reply:
        body: BulkOrder = call.body
        items = await asyncio.gather(*(self._one_of_many(call, one, event) for one in body.ids))
        return Reply(BulkAnswer(items=tuple(items)))

    async def _one_of_many(self, call: Call, instance_id: str, event: events.Event) -> BulkItem:
        try:
            await self._view(call, instance_id)
            answer = await self._ask(call, instance_id, event, dedupe=call.endpoint)
            calls.refuse_if_refused(answer)
        except Refusal as refusal:
            result = "missing" if refusal.status == 404 else "refused"  # noqa: PLR2004
            problem = refusal.problem
            return BulkItem(
                id=instance_id,
                result=result,  # type: ignore[arg-type]
                code=problem.code,
                message=problem.message,
            )
        pending = answer.stamp is None
        return BulkItem(
            id=instance_id,
            result="pending" if pending else "done",
            operation=answer.event if pending else "",
        )


def _read_record(body: bytes) -> TickRecord | None:
    """Return a tick's record, or None for a damaged one: the rest of a timeline is shown."""
    try:
        return decode_record(body)
    except ValueError:
        return None


def _version_words(view: InstanceView, detail: DetailRow) -> str:
    """Return which version of its agent it keeps, and which one runs where that is another."""
    kept, runs = detail.agent_version, view.agent_version
    if not kept or not runs or is_release(kept, runs):
        return kept
    return f"{kept}, from its next start; {runs} runs"


def _actor(instance_id: str) -> Address:
    return calls.actor_of(KIND, instance_id, noun="instance")
