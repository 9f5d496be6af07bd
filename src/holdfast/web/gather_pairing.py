"""What the pages about pairing show: the inbox, and what an instance's page adds to it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from holdfast.web.api import Asking, Missing
from holdfast.web.limits import HISTORY_ENTRIES, INBOX_ITEMS, NAMES_MAX, RECENT_SHOWN
from holdfast.web.models import pairing
from holdfast.web.models.policies import Policy, policy
from holdfast.web.models.secrets import SecretsPanel, secrets_panel
from holdfast.wire.api.call import Call
from holdfast.wire.api.instances import InstanceDetail
from holdfast.wire.api.pairing import PairingHistory, PairingInbox, PairingList, PairingPolicy
from holdfast.wire.api.secrets import SecretList

_NOTHING: Final = PairingInbox(items=(), total=0)


class PairingPanels(NamedTuple):
    """What an instance's page shows of pairing; a part that could not be had says why."""

    inbox: pairing.Inbox
    policy: Policy | Missing
    secrets: SecretsPanel | Missing


class GatherPairing:
    """Asks the API about pairing and makes the pages' models of it."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self._names: OrderedDict[str, str] = OrderedDict()

    async def waiting(self, call: Call) -> PairingInbox:
        """Return how many wait, in all and for each instance; none where that is unknown."""
        found = await self._asking.attempt(
            call, "pairing.inbox", PairingInbox, query={"limit": "1"}
        )
        return _NOTHING if isinstance(found, Missing) else found

    async def inbox(self, call: Call, recent: Iterable[str]) -> pairing.Inbox:
        """Return the inbox, with what was decided for the instances of `recent`."""
        found = await self._asking.ask(
            call, "pairing.inbox", PairingInbox, query={"limit": str(INBOX_ITEMS)}
        )
        for each in found.items:
            self._keep_name(each.instance, each.instance_name)
        histories = {}
        for instance in dict.fromkeys((*recent, *list(found.counts)[:RECENT_SHOWN])):
            history = await self._history(call, instance)
            if history is not None:
                histories[instance] = (await self._name(call, instance), history)
        return pairing.inbox(found, histories, now_ms=call.now_ms)

    def _keep_name(self, instance: str, name: str) -> None:
        """Remember a name, which an instance keeps for its life."""
        self._names[instance] = name
        self._names.move_to_end(instance)
        while len(self._names) > NAMES_MAX:
            self._names.popitem(last=False)

    async def _name(self, call: Call, instance: str) -> str:
        """Return an instance's name, or its id where nobody says."""
        if instance not in self._names:
            found = await self._asking.attempt(
                call, "instance.get", InstanceDetail, path={"id": instance}
            )
            if isinstance(found, Missing):
                return instance
            self._keep_name(instance, found.instance.name)
        return self._names[instance]

    async def _history(self, call: Call, instance: str) -> PairingHistory | None:
        """Return an instance's newest decisions, or None where they cannot be had."""
        found = await self._asking.attempt(
            call,
            "pairing.history",
            PairingHistory,
            path={"id": instance},
            query={"limit": str(HISTORY_ENTRIES)},
        )
        return None if isinstance(found, Missing) else found

    async def panels(self, call: Call, instance: str, name: str) -> PairingPanels:
        """Return what an instance's page shows, as the plane last heard it."""
        where = {"id": instance}
        query = {"limit": str(INBOX_ITEMS)} | ({"text": name} if name else {})
        found = await self._asking.attempt(call, "pairing.inbox", PairingInbox, query=query)
        whole = _NOTHING if isinstance(found, Missing) else found
        mine = PairingInbox(
            items=tuple(each for each in whole.items if each.instance == instance),
            total=whole.counts.get(instance, 0),
            troubles=tuple(each for each in whole.troubles if each.instance == instance),
        )
        history = await self._history(call, instance)
        rules = await self._asking.attempt(call, "pairing.policy", PairingPolicy, path=where)
        secrets = await self._asking.attempt(call, "instance.secrets", SecretList, path=where)
        return PairingPanels(
            inbox=pairing.inbox(
                mine, {instance: (name, history)} if history else {}, now_ms=call.now_ms
            ),
            policy=rules if isinstance(rules, Missing) else policy(rules, now_ms=call.now_ms),
            secrets=secrets if isinstance(secrets, Missing) else secrets_panel(secrets),
        )

    async def sources(self, call: Call, instance: str) -> dict[str, Any]:
        """Return how each source stands, asked of the machine; it may take its time."""
        query = {"refresh": "true"} if call.query.get("refresh") == "true" else {}
        found = await self._asking.attempt(
            call, "pairing.list", PairingList, path={"id": instance}, query=query
        )
        if isinstance(found, Missing):
            return {"missing": found, "sources": (), "list": None}
        return {
            "missing": None,
            "sources": pairing.sources(found, now_ms=call.now_ms),
            "list": found,
        }
