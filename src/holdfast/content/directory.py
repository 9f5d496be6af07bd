"""Nodes and keys, cached in memory as they are in the file.

A heartbeat needs its key and its node; reading either from the file, or an actor, would cost more
than the answer. Contacts and refused counts change in memory and are written in batches; keys and
new nodes are written at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from holdfast.content import keys, limits
from holdfast.content.accept import COUNTERS
from holdfast.content.ports import ContentStore, Entropy
from holdfast.content.records import Node, NodeKey, Refused
from holdfast.content.senders import Heard
from holdfast.kernel.clock import Clock
from holdfast.kernel.failure import brief
from holdfast.kernel.log import Log
from holdfast.letters import topics
from holdfast.letters.topics import Publish
from holdfast.wire.api.call import Principal, Refusal
from holdfast.wire.api.content import RefusedWhy
from holdfast.wire.consent import ContentClass, node_of_instance, node_of_name
from holdfast.wire.controller.identity import key_hash

_GRAIN_MS: Final = 60_000


def _nobody(_topic: topics.Topic, _key: str, _account: str | None) -> None:
    """Tell nobody: there are no pages."""


class Directory:
    """The cache, and every change of what it holds."""

    def __init__(
        self,
        store: ContentStore,
        *,
        clock: Clock,
        entropy: Entropy,
        log: Log,
        publish: Publish = _nobody,
    ) -> None:
        self._store = store
        self._clock = clock
        self._entropy = entropy
        self._log = log
        self._publish = publish
        self._keys: dict[str, NodeKey] = {}
        self._by_hash: dict[str, NodeKey] = {}
        self._live: Counter[str] = Counter()
        self._of_instance: dict[str, dict[str, NodeKey]] = {}
        self._nodes: dict[str, Node] = {}
        self._of_key: dict[str, dict[str, Node]] = {}
        self._in_order: list[Node] = []
        self._last_no = 0
        self._changed: dict[str, Node] = {}
        self._uses: dict[str, int] = {}

    async def load(self) -> None:
        """Read the file."""
        kept = await self._store.load()
        for key in kept.keys:
            self._put_key(key)
        by_no = {node.no: node for node in kept.nodes}
        for node in kept.nodes:
            self._put_node(node)
        for no, of, why, counts in kept.refused:
            if no in by_no:
                by_no[no].refused[of, why] = counts
        self._last_no = kept.last_no

    def _put_key(self, key: NodeKey) -> None:
        self._drop_key(key.id)
        self._keys[key.id] = self._by_hash[key.hash] = key
        if key.revoked_ms is None:
            self._live[key.account] += 1
            if key.instance:
                self._of_instance.setdefault(key.instance, {})[key.id] = key

    def _drop_key(self, key_id: str) -> None:
        key = self._keys.pop(key_id, None)
        if key is None:
            return
        del self._by_hash[key.hash]
        if key.revoked_ms is None:
            self._live[key.account] -= 1
            self._of_instance.get(key.instance, {}).pop(key_id, None)

    def _put_node(self, node: Node) -> None:
        self._nodes[node.id] = node
        self._of_key.setdefault(node.key, {})[node.id] = node
        self._in_order = []

    # -- keys

    def owner(self, text: str) -> Principal | None:
        """Return the principal of a key; None where it is unknown or revoked."""
        if not keys.looks_right(text):
            return None
        key = self._by_hash.get(key_hash(text))
        if key is None or key.revoked_ms is not None:
            return None
        self._uses[key.id] = self._clock.now_ms()
        return Principal(key.name, "node", key.account, "key", token_id=key.id)

    def key(self, key_id: str) -> NodeKey:
        """Return a key by its id; refuse (401) an unknown one."""
        key = self._keys.get(key_id)
        if key is None:
            raise Refusal(401, "invalid_api_key", "the node's key is not known any more")
        return key

    def keys_of(self, account: str | None) -> list[NodeKey]:
        """Return an account's keys, or all, newest first."""
        found = [key for key in self._keys.values() if account in {None, key.account}]
        return sorted(found, key=lambda key: (-key.created_ms, key.id))

    async def make_key(
        self,
        name: str,
        *,
        account: str,
        node: str = "",
        instance: str = "",
        source: str = "",
        created_by: str,
        created_with: str = "",
    ) -> tuple[str, NodeKey]:
        """Return a new key's secret and row; refuse (409) where the account has too many.

        Keys of an instance beyond the newest few are deleted: what its machine may make without a
        limit would fill the memory and the file.
        """
        if self._live[account] >= limits.KEYS_PER_ACCOUNT:
            raise Refusal(
                409, "too_many_keys", f"this account has {limits.KEYS_PER_ACCOUNT} node keys",
                fix="revoke those that are not used (see last_used_at)",
            )  # fmt: skip
        secret = keys.make_secret(self._entropy(keys.ENTROPY_BYTES))
        hashed = key_hash(secret)
        key = NodeKey(
            id=keys.id_of(hashed),
            hash=hashed,
            name=name,
            account=account,
            node=node,
            instance=instance,
            source=source,
            created_ms=self._clock.now_ms(),
            created_by=created_by,
            created_with=created_with,
        )
        own = [*self._of_instance.get(instance, {}).values()]
        own.sort(key=lambda one: (-one.created_ms, one.id))
        superseded = [one.id for one in own[limits.KEYS_PER_INSTANCE - 1 :]]
        await self._store.add_key(key, superseded=superseded)
        self._put_key(key)
        for key_id in superseded:
            self._drop_key(key_id)
            self._uses.pop(key_id, None)
            self._of_key.pop(key_id, None)
        return secret, key

    async def revoke_key(self, key_id: str, *, account: str | None) -> NodeKey:
        """Revoke a key; refuse (404) one that is not visible to the account."""
        key = self._keys.get(key_id)
        if key is None or account not in {None, key.account}:
            raise Refusal(404, "no_such_key", "there is no such node key", field="id")
        at_ms = key.revoked_ms
        if at_ms is None:
            at_ms = self._clock.now_ms()
            # In memory first: a revoked key must not work while a disk is slow.
            self._put_key(replace(key, revoked_ms=at_ms))
        await self._store.revoke_key(key_id, at_ms)
        return self._keys[key_id]

    # -- nodes

    def find(self, node_id: str, account: str | None) -> Node | None:
        """Return a node visible to an account."""
        node = self._nodes.get(node_id)
        return node if node is not None and account in {None, node.account} else None

    def is_taken(self, account: str, name: str) -> bool:
        """Return whether an account has a node of this name."""
        return node_of_name(account, name) in self._nodes or self._is_instances(account, name)

    def _is_instances(self, account: str, name: str) -> bool:
        """Return whether a name is that of an instance's node, which is the instance's id."""
        return node_of_instance(account, name) in self._nodes

    def nodes_of(self, account: str | None) -> list[Node]:
        """Return an account's nodes, or all, by name."""
        if not self._in_order:
            self._in_order = sorted(self._nodes.values(), key=lambda one: (one.name, one.id))
        if account is None:
            return [*self._in_order]
        return [node for node in self._in_order if node.account == account]

    def nodes_of_key(self, key: NodeKey) -> list[Node]:
        """Return the nodes that used a key last."""
        return [*self._of_key.get(key.id, {}).values()]

    async def node(self, key: NodeKey, name: str) -> Node:
        """Return the node that a key's holder names, made if needed; empty for a key's only one.

        An instance's key finds the node of its instance and any other key never does: the id is
        made of the instance in the one case and of the name in the other. Refuse (403) a name that
        the key is not valid for, and one more node than a key may have.
        """
        name, instance = name or key.node, key.instance
        is_other = bool(key.node) and name != key.node
        if not name or is_other or (not instance and self._is_instances(key.account, name)):
            raise Refusal(
                403, "wrong_node", "this key is not valid for a node of this name",
                field="node_id", fix="send the node_id that registering answered",
            )  # fmt: skip
        node_id = (
            node_of_instance(key.account, instance) if instance else node_of_name(key.account, name)
        )
        node = self._nodes.get(node_id)
        if node is None:
            return await self._make_node(key, name, node_id)
        if node.key != key.id:
            self._of_key.get(node.key, {}).pop(node.id, None)
            node.key = key.id
            self._put_node(node)
            self._changed[node.id] = node
        return node

    async def _make_node(self, key: NodeKey, name: str, node_id: str) -> Node:
        if len(self._of_key.get(key.id, ())) >= limits.NODES_PER_KEY:
            raise Refusal(
                403, "too_many_nodes", f"this key speaks for {limits.NODES_PER_KEY} nodes",
                fix="make a key for the others",
            )  # fmt: skip
        self._last_no += 1
        node = Node(
            no=self._last_no,
            id=node_id,
            account=key.account,
            name=name,
            key=key.id,
            instance=key.instance,
            first_ms=self._clock.now_ms(),
        )
        self._put_node(node)
        self._changed[node.id] = node
        await self.flush()
        return node

    def hear(self, node: Node, program: str, key: NodeKey, version: str = "") -> Heard:
        """Note a request of a sender of a node; written with the next flush."""
        node.heard_ms = self._clock.now_ms()
        self._changed[node.id] = node
        heard = node.senders.hear(program, key.id, version, node.heard_ms)
        if heard.is_news:
            self._log.warning(
                "content.second_sender", node=node.id, program=program, key=key.id,
                refused=heard.is_second,
            )  # fmt: skip
            self._publish(topics.NODE, node.id, node.account)
        return heard

    async def choose_sender(self, node: Node, sender: str, *, by: str) -> int:
        """Let one sender of a node send and no other; return since when its content was refused.

        Return once that is durable.
        """
        since_ms = node.senders.choose(sender, by=by, now_ms=self._clock.now_ms())
        await self._store.put_nodes((node,))
        self._publish(topics.NODE, node.id, node.account)
        return since_ms

    def note_stored(self, node: Node) -> None:
        """Tell open pages that content of a node was stored."""
        self._publish(topics.CONTENT, node.id, node.account)

    def refuse(self, node: Node, of: ContentClass, why: RefusedWhy, size: int) -> None:
        """Count what was not stored; written with the next flush."""
        now_ms = self._clock.now_ms()
        counts = node.refused.get((of, why))
        if counts is None:
            counts = node.refused[of, why] = Refused(first_ms=now_ms)
        counts.requests += 1
        counts.bytes += size
        counts.last_ms = now_ms
        self._changed[node.id] = node

    async def forget_counters(self, node: Node) -> None:
        """Drop the numbers of the day of a node; return once that is durable."""
        node.facts = {name: value for name, value in node.facts.items() if name not in COUNTERS}
        await self._store.put_nodes((node,))

    def free(self, freed: Mapping[int, int]) -> list[Node]:
        """Count bytes that were purged, by the numbers of nodes; return those nodes."""
        nodes = [node for node in self._nodes.values() if node.no in freed] if freed else []
        for node in nodes:
            node.stored_bytes -= freed[node.no]
        return nodes

    def refuse_intent(self, node: Node) -> None:
        """Count an intent of a key that may not express it."""
        node.intents_refused += 1
        self._changed[node.id] = node

    async def flush(self) -> None:
        """Write changed nodes and, to the minute, uses of keys; what fails is tried again."""
        changed, self._changed = self._changed, {}
        uses, self._uses = self._uses, {}
        try:
            nodes = [*changed.values()]
            for first in range(0, len(nodes), limits.FLUSH_NODES):
                await self._store.put_nodes(nodes[first : first + limits.FLUSH_NODES])
            rounded = {
                key_id: at_ms - at_ms % _GRAIN_MS
                for key_id, at_ms in uses.items()
                if (key := self._keys.get(key_id)) is not None
                and at_ms - at_ms % _GRAIN_MS > (key.last_used_ms or 0)
            }
            if rounded:
                await self._store.note_uses(rounded)
        except Exception as error:  # noqa: BLE001  contacts are in memory, and written next time
            self._changed = {**changed, **self._changed}
            self._uses = {**uses, **self._uses}
            self._log.error("content.contacts_not_stored", nodes=len(changed), reason=brief(error))
            return
        for key_id, at_ms in rounded.items():
            key = self._keys.get(key_id)
            if key is not None:
                self._put_key(replace(key, last_used_ms=at_ms))
