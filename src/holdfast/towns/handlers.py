"""Handlers about towns: their settings, rigs, agents, drain and notices.

Each order sends an event to the town and answers with the committed row. Only the fold decides
whether something is allowed. What is not visible is answered with 404.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from msgspec import UNSET
from msgspec.structs import replace

from holdfast.actors import calls
from holdfast.kernel.clock import MINUTE_MS
from holdfast.towns import events, presenters
from holdfast.towns.calls import Deps, TownBase, readable
from holdfast.towns.records import GateSetting, RigSettings
from holdfast.towns.state import (
    CONFIG_FIELDS,
    Config,
    Rig,
    Town,
    decode_agent,
    decode_rig,
    decode_town,
)
from holdfast.towns.views import AGENT_VIEW, RIG_VIEW, TOWN_VIEW, row_key
from holdfast.towns.work_handlers import WorkHandlers
from holdfast.wire.api.call import Call, Handler, Refusal, Reply
from holdfast.wire.api.towns import (
    DrainStart,
    NoticeList,
    RigAdd,
    RigList,
    TownAgentAdd,
    TownAgentList,
    TownCreate,
    TownList,
    TownPatch,
)

SECURE: Final = frozenset({"https"})


def handlers(deps: Deps) -> Mapping[str, Handler]:
    """Return the handlers by the names of their endpoints."""
    made = TownHandlers(deps)
    return {
        "towns.list": made.list_towns,
        "towns.create": made.create,
        "towns.get": made.show,
        "towns.set": made.set_config,
        "towns.close": made.close,
        "towns.notices": made.notices,
        "towns.rigs": made.rigs,
        "towns.rig": made.add_rig,
        "towns.remove-rig": made.remove_rig,
        "towns.agents": made.agents,
        "towns.agent": made.add_agent,
        "towns.remove-agent": made.remove_agent,
        "towns.drain": made.drain,
        "towns.start-drain": made.start_drain,
        "towns.end-drain": made.end_drain,
        **WorkHandlers(deps).by_endpoint(),
    }


class TownHandlers(TownBase):
    """One method for each endpoint about a town itself, its rigs and agents."""

    # -- the town itself

    async def list_towns(self, call: Call) -> Reply:
        """Show towns by id."""
        limit = calls.page_limit(call)
        page = await self._reader.views(
            TOWN_VIEW,
            account=calls.listed_account(call),
            after=call.query.get("after", ""),
            limit=limit,
        )
        towns = (readable(body, decode_town) for _key, body, _seq in page)
        items = tuple(presenters.town_view(one) for one in towns if one is not None)
        return Reply(TownList(items=items, next=page[-1][0] if len(page) == limit else ""))

    async def show(self, call: Call) -> Reply:
        """Show a town."""
        return Reply(presenters.town_view(await self._town(call)))

    async def create(self, call: Call) -> Reply:
        """Make a town."""
        body: TownCreate = call.body
        account = await calls.account_to_create_in(
            call, body.account, default=self._deps.account, exists=self._deps.account_exists
        )
        town = self._new(call, "town")
        config = Config(code_review=body.code_review, town_agents_max=body.agents_max)
        event = events.TownCreated(
            account=account, name=body.name, by=call.principal.name, config=config
        )
        return await self._order(call, town, event) or await self._show(town)

    async def set_config(self, call: Call) -> Reply:
        """Change what is set for a town."""
        body: TownPatch = call.body
        town = await self._town(call)
        given = {name: getattr(body, name) for name in CONFIG_FIELDS}
        changes = {name: value for name, value in given.items() if value is not UNSET}
        if not changes:
            raise Refusal(
                400, "nothing_to_change", "The body names no setting.", field="body",
                fix=f"Name one of {', '.join(CONFIG_FIELDS)}.",
            )  # fmt: skip
        event = events.TownConfigured(
            config=replace(town.config, **changes), by=call.principal.name,
            only=tuple(changes), steps=True,
        )  # fmt: skip
        return await self._order(call, town.id, event) or await self._show(town.id)

    async def close(self, call: Call) -> Reply:
        """Close a town for good, and erase the credentials of its rigs."""
        town = await self._town(call)
        waits = await self._order(call, town.id, events.TownClosed(call.principal.name, steps=True))
        if waits is not None:
            return waits
        for settings in await self._records.rigs(town.id):
            await self._records.put_rig(town.id, replace(settings, token=""))
        return await self._show(town.id)

    async def notices(self, call: Call) -> Reply:
        """Show what a town's owner was told last."""
        town = await self._town(call)
        found = await self._records.notices(town.id)
        return Reply(NoticeList(items=tuple(map(presenters.notice_view, found))))

    async def _show(self, town: str) -> Reply:
        return Reply(presenters.town_view(await self._committed(town)))

    async def _committed(self, town: str) -> Town:
        row = await self._reader.view(TOWN_VIEW, town)
        if row is None:
            raise calls.missing("town")
        return decode_town(row[0])

    # -- rigs

    async def rigs(self, call: Call) -> Reply:
        """Show the rigs of a town."""
        town = await self._town(call)
        found, following = await self._page(call, town, RIG_VIEW, decode_rig)
        settings = {one.rig: one for one in await self._records.rigs(town.id)}
        items = tuple(presenters.rig_view(rig, settings.get(rig.id)) for rig in found)
        return Reply(RigList(items=items, next=following))

    async def add_rig(self, call: Call) -> Reply:
        """Add a repository, or change what is set for it.

        Its settings are kept before the event: as soon as a rig is there, work may start in it.
        """
        body: RigAdd = call.body
        town = await self._town(call)
        before = await self._records.rig(town.id, body.name)
        after = self._settings(call, town, body, before)
        event = events.RigAdded(
            rig=body.name,
            name=body.name,
            branch=after.branch,
            gates=tuple(gate.name for gate in after.gates),
            agents_max=None if body.agents_max is UNSET else body.agents_max,
        )
        await self._records.put_rig(town.id, after)
        try:
            waits = await self._order(call, town.id, event)
        except Refusal:
            if before is None:
                await self._records.drop_rig(town.id, body.name)
            else:
                await self._records.put_rig(town.id, before)
            raise
        return waits or await self._show_rig(town, body.name)

    def _settings(
        self, call: Call, town: Town, body: RigAdd, before: RigSettings | None
    ) -> RigSettings:
        """Return the settings of a rig after a change; refuse (400, 403) a bad repository.

        A credential that nobody may see is for the repository that it was set with: kept for
        another one, it would be sent to whatever address its owner names.
        """
        known = before or RigSettings(rig=body.name, repository="")
        given = {
            name: value
            for name in ("repository", "branch", "forge", "commands")
            if (value := getattr(body, name)) is not UNSET
        }
        if body.token is not UNSET:
            given["token"] = (
                self._deps.sealer.seal(town.id, body.name, body.token) if body.token else ""
            )
        if body.gates is not UNSET:
            given["gates"] = tuple(
                GateSetting(name=name, command=gate.command, timeout_s=gate.timeout_s)
                for name, gate in body.gates.items()
            )
        after = replace(known, **given)
        check_repository(after, is_operator=call.principal.account is None)
        if known.token and body.token is UNSET and after.repository != known.repository:
            raise Refusal(
                400, "token_needed", "The credential of this rig is for the repository it has now.",
                field="token", fix="Send the token for the new repository beside it, or null.",
            )  # fmt: skip
        return after

    async def remove_rig(self, call: Call) -> Reply:
        """Remove a repository, and erase its credential."""
        town, name = await self._town(call), call.path["rig"]
        await self._rig(town, name)
        waits = await self._order(call, town.id, events.RigRemoved(name))
        if waits is not None:
            return waits
        settings = await self._records.rig(town.id, name)
        if settings is not None:
            await self._records.put_rig(town.id, replace(settings, token=""))
        return await self._show_rig(town, name)

    async def _show_rig(self, town: Town, name: str) -> Reply:
        rig = await self._rig(town, name)
        return Reply(presenters.rig_view(rig, await self._records.rig(town.id, name)))

    async def _rig(self, town: Town, name: str) -> Rig:
        row = await self._reader.view(RIG_VIEW, row_key(town.id, name))
        if row is None:
            raise calls.missing("rig", field="rig", fix="list the rigs of the town")
        return decode_rig(row[0])

    # -- agents

    async def agents(self, call: Call) -> Reply:
        """Show the agents of a town."""
        town = await self._town(call)
        found, following = await self._page(call, town, AGENT_VIEW, decode_agent)
        return Reply(TownAgentList(items=tuple(map(presenters.agent_view, found)), next=following))

    async def add_agent(self, call: Call) -> Reply:
        """Add an agent."""
        body: TownAgentAdd = call.body
        town, agent = await self._town(call), self._new(call, body.role)
        name = agent if body.name is UNSET else body.name
        host = await self._host(town, body.host)
        event = events.AgentAdded(agent=agent, role=body.role, rig=body.rig, name=name, host=host)
        waits = await self._order(call, town.id, event)
        if waits is not None:
            return waits
        return Reply(presenters.agent_view(await self._find_agent(town, agent, field="agent")))

    async def _host(self, town: Town, given: str) -> str:
        """Return the id of the instance that an agent is to run on; refuse another account's."""
        found = await self._deps.find_instance(town.account, given) if given else ""
        if given and not found:
            fix = "name an instance of the town's account, by its id or name, or leave `host` out"
            raise calls.missing("instance", field="host", fix=fix)
        return found

    async def remove_agent(self, call: Call) -> Reply:
        """Remove an agent that does not work."""
        town = await self._town(call)
        agent = await self._find_agent(town, call.path["agent"], field="agent")
        waits = await self._order(call, town.id, events.AgentRemoved(agent.id))
        return waits or Reply(presenters.agent_view(agent))

    # -- drain

    async def drain(self, call: Call) -> Reply:
        """Show whether a town drains."""
        return Reply(presenters.drain_view(await self._town(call)))

    async def start_drain(self, call: Call) -> Reply:
        """Hand nothing out until the drain ends."""
        body: DrainStart = call.body
        town = await self._town(call)
        event = events.DrainStarted(
            nonce=body.nonce or self._new(call, "drain"),
            until_ms=call.now_ms + body.minutes * MINUTE_MS,
        )
        return await self._order(call, town.id, event) or await self._show_drain(town.id)

    async def end_drain(self, call: Call) -> Reply:
        """End a drain."""
        town = await self._town(call)
        event = events.DrainEnded(nonce=call.body.nonce)
        return await self._order(call, town.id, event) or await self._show_drain(town.id)

    async def _show_drain(self, town: str) -> Reply:
        return Reply(presenters.drain_view(await self._committed(town)))


def check_repository(settings: RigSettings, *, is_operator: bool) -> None:
    """Refuse (400) what is no repository, (403) a folder of the host for who is no operator.

    A folder is read as the plane's user reads it, who may read what other accounts have there.
    """
    given = settings.repository
    if not given and settings.forge == "git":
        return
    if given.startswith("/") and settings.forge == "git":
        if not is_operator:
            raise Refusal(
                403, "operators_only", "A folder of the plane's host may be set by operators only.",
                field="repository", fix="Give an https:// address, or ask an operator.",
            )  # fmt: skip
        return
    try:
        parts = urlsplit(given)
        named = parts.username is not None or parts.password is not None
    except ValueError:
        parts, named = urlsplit(""), False
    if parts.scheme not in SECURE or not parts.hostname or named:
        raise Refusal(
            400, "bad_repository", "This is no address of a repository.", field="repository",
            fix="Give https://HOST/PATH without a name or password, which belong into `token`; for"
            " git also a folder of the plane's host.",
        )  # fmt: skip
