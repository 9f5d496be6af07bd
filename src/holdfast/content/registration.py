"""How an observer gets a key: by registering itself, or by connecting with one that it was given.

Registering proves nothing about a person, so its node waits for its owner's consent whatever the
source says. Connecting with a key that a person made is that person's grant.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable

from holdfast.content import keys, limits
from holdfast.content.accept import digest, text
from holdfast.content.directory import Directory
from holdfast.content.ports import Entropy, Machine, Nodes, ProveMachine
from holdfast.content.records import Node, NodeKey
from holdfast.kernel.clock import SECOND_MS, Clock
from holdfast.kernel.failure import brief
from holdfast.kernel.log import Log
from holdfast.wire import parsers
from holdfast.wire.api.call import Call, Refusal, Reply
from holdfast.wire.api.clawmetry import RegisterAnswer, RegisterRequest
from holdfast.wire.limits import NODE_NAME_MAX

_SUFFIX_BYTES = 3
_HOST_MAX = NODE_NAME_MAX - 2 * _SUFFIX_BYTES - 1


class HourlyLimit:
    """Registrations of each address in the last hour."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._times: OrderedDict[str, deque[int]] = OrderedDict()

    def refuse_more(self, peer: str) -> None:
        """Count a registration; refuse (429) one more than an address may make."""
        now_ms = self._clock.now_ms()
        times = self._times.setdefault(peer, deque())
        self._times.move_to_end(peer)
        if len(self._times) > limits.PEERS_MAX:
            self._times.popitem(last=False)
        while times and not 0 <= now_ms - times[0] < limits.REGISTRATION_WINDOW_MS:
            times.popleft()
        if len(times) >= limits.REGISTRATIONS_PER_HOUR:
            wait_ms = limits.REGISTRATION_WINDOW_MS - (now_ms - times[0])
            raise Refusal(
                429, "too_many_registrations",
                f"an address may register {limits.REGISTRATIONS_PER_HOUR} observers an hour",
                fix="register from the machine of an instance, with its credentials; or wait",
                retry_after_s=-(-wait_ms // SECOND_MS),
            )  # fmt: skip
        times.append(now_ms)


class Registration:
    """Makes keys for observers, and tells consent of their nodes."""

    def __init__(
        self,
        directory: Directory,
        nodes: Nodes,
        *,
        clock: Clock,
        log: Log,
        entropy: Entropy,
        prove: ProveMachine,
        account: str,
        url: str,
        plane_key: Callable[[], str],
    ) -> None:
        """Register what has no credential in `account`; `url` is the plane's address."""
        self._directory = directory
        self._nodes = nodes
        self._clock = clock
        self._log = log
        self._entropy = entropy
        self._prove = prove
        self._account = account
        self._url = url
        self.plane_key = plane_key
        self._limit = HourlyLimit(clock)

    async def register(self, call: Call) -> Reply:
        """Answer a registration with a new key and its node."""
        body: RegisterRequest = call.body
        machine = self._proven(call, text(body.sandbox))
        source = text(body.source) or "register"
        if machine is None:
            self._limit.refuse_more(parsers.network(call.peer))
            account, instance, name = self._account, "", self._free_name(body)
        else:
            account, instance, name = machine.account, machine.instance, machine.instance
        secret, key = await self._directory.make_key(
            name, account=account, node=name, instance=instance, source=source,
            created_by=_who(machine, call.peer),
        )  # fmt: skip
        node = await self._directory.node(key, name)
        await self.tell(node, key)
        return Reply(
            RegisterAnswer(
                ok=True,
                api_key=secret,
                node_id=name,
                dashboard_id=keys.dashboard_id(node.id),
                dashboard_url=f"{self._url}/nodes/{node.id}/sessions",
                node=node.id,
                plane_key=self.plane_key(),
            )
        )

    def _proven(self, call: Call, sandbox: str) -> Machine | None:
        """Return the machine that registers; wrong credentials count as a registration."""
        try:
            return self._prove(call.header, sandbox, call.now_ms)
        except Refusal:
            self._limit.refuse_more(parsers.network(call.peer))
            raise

    def _free_name(self, body: RegisterRequest) -> str:
        """Return a name for a new node; nobody gets one that is taken, since names are no proof."""
        host = text(body.hostname, _HOST_MAX) or "node"
        machine = text(body.machine_id).encode()
        suffix = digest(b"machine", machine)[:_SUFFIX_BYTES] if machine else b""
        for _ in range(limits.NAME_TRIES):
            name = f"{host}-{(suffix or self._entropy(_SUFFIX_BYTES)).hex()}"
            if not self._directory.is_taken(self._account, name):
                return name
            suffix = b""
        raise Refusal(409, "name_taken", "no free name was found", fix="send another hostname")

    async def tell(self, node: Node, key: NodeKey) -> None:
        """Tell consent of a node; what fails is tried again with a later heartbeat."""
        is_persons = bool(key.created_with)
        try:
            await self._nodes.register(
                node.account,
                node.name,
                instance=node.instance,
                source="person" if is_persons else "auto",
                by=key.created_by,
                credential=key.created_with if is_persons else credential(key),
            )
        except Exception as error:  # noqa: BLE001  the node stays deferred until it is known
            self._log.warning("content.not_registered", node=node.id, reason=brief(error))

    def take_turn(self, node: Node) -> bool:
        """Return whether consent is to be told now of a node that it does not know."""
        now_ms = self._clock.now_ms()
        if now_ms - node.registered_try_ms < limits.REGISTER_AGAIN_MS:
            return False
        node.registered_try_ms = now_ms
        return True


def credential(key: NodeKey) -> str:
    """Return how a call with a key names its credential."""
    return f"node-key:{key.id}"


def _who(machine: Machine | None, peer: str) -> str:
    return f"machine of {machine.instance}" if machine is not None else f"address {peer}"
