"""An edge with real accounts and stub handlers for everything that has no handler yet.

Each stub answers the smallest reply its row declares, and hides instances of other accounts, as
the real handlers must.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from holdfast.accounts.access import Access
from holdfast.accounts.directory import AccountDirectory
from holdfast.accounts.handlers import AccountHandlers
from holdfast.accounts.ports import AccountsStore
from holdfast.kernel.clock import ManualClock
from holdfast.plane.edge.app import Edge
from holdfast.plane.openapi import document
from holdfast.relay.rate import Rate, Rates
from holdfast.relay.wrong_proofs import WrongProofs
from holdfast.stores.memory.accounts import AccountsMemory
from holdfast.wire.api.call import Call, Handler, Principal, Refusal, Reply
from holdfast.wire.api.endpoint import Endpoint
from holdfast.wire.api.table import ENDPOINTS
from tests.support.logs import Lines
from tests.support.samples import sample
from tests.support.walk import BROWSERS, Tokens

PENDING = 202
OWNED = "inst-of-local"
OWNERS = {OWNED: "local"}
BRAIN_KEY = "hfb_" + "B" * 43
NODE_KEY = "cm_" + "b" * 32
ATTEMPT_TOKEN = "hfa_" + "a" * 43


def brain_of(key: str) -> Principal | None:
    """Return whose brain key it is; there is one."""
    if key != BRAIN_KEY:
        return None
    return Principal("agents", "brain", "local", "key", token_id="bk_1")


def node_of(key: str) -> Principal | None:
    """Return whose node key it is; there is one."""
    return Principal("nodes", "node", "local", "key", token_id="nk_1") if key == NODE_KEY else None


def attempt_of(token: str) -> Principal | None:
    """Return whose attempt's token it is; there is one."""
    if token != ATTEMPT_TOKEN:
        return None
    return Principal("agent@town", "attempt", "local", "key", token_id="at_1")


class PlainHasher:
    """A hasher that costs nothing; argon2 has tests of its own."""

    async def hash(self, password: str) -> str:
        return "plain:" + password

    async def matches(self, password_hash: str, password: str) -> bool:
        return password_hash == "plain:" + password


class Chance:
    """Bytes that differ each time and are the same in each run."""

    def __init__(self) -> None:
        self._drawn = 0

    def __call__(self, size: int) -> bytes:
        self._drawn += 1
        return self._drawn.to_bytes(size, "big")


def stub(row: Endpoint) -> Handler:
    """Return a handler that answers the smallest declared reply."""
    declared = row.pending if row.statuses[0] == PENDING else row.response
    smallest = None if declared is None else sample(declared)

    async def handler(call: Call) -> Reply:
        owner = OWNERS.get(call.path.get("id", ""))
        if owner is not None and call.principal.account not in {None, owner}:
            raise Refusal(404, "no_such_instance", "there is no such instance", field="id")
        status = row.statuses[0]
        if row.kind == "stream":
            return Reply(stream=_events(), content_type="text/event-stream")
        if row.kind != "json":
            return Reply(b"<p>stub</p>", content_type="text/html; charset=utf-8")
        if declared is None or status == 204:
            return Reply(status=status, content_type="")
        return Reply(smallest, status=status)

    return handler


async def _events() -> AsyncIterator[bytes]:
    yield b"data: one\n\n"
    yield b"data: two\n\n"


async def admit_all() -> None:
    """Let any account be made."""


@dataclass
class StubPlane:
    """The edge and everything a test may want to look at."""

    store: AccountsStore = field(default_factory=AccountsMemory)
    clock: ManualClock = field(default_factory=ManualClock)
    log: Lines = field(default_factory=Lines)
    overrides: dict[str, Handler] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    table: Iterable[Endpoint] = ENDPOINTS
    name_of: Callable[[str, str | None], str] = lambda _instance, _account: ""

    def __post_init__(self) -> None:
        self.browsers = BROWSERS
        self.access = Access(self.store, clock=self.clock)
        self.directory = AccountDirectory(
            self.store, PlainHasher(), access=self.access, clock=self.clock, entropy=Chance(),
            admit=admit_all,
        )  # fmt: skip
        plenty = Rate(burst=1e9, per_s=1e9)
        handlers = {row.name: stub(row) for row in self.table}
        real: dict[str, Handler] = {
            **AccountHandlers(self.directory, self.browsers, name_of=self.name_of).by_endpoint(),
            "plane.openapi": self.show_openapi,
        }
        handlers |= {name: made for name, made in real.items() if name in handlers}
        settings: dict[str, Any] = {
            "rates": Rates(self.clock, calls=plenty, sign_ins=plenty),
            "wrong_proofs": WrongProofs(self.clock, plenty),
            "check_responses": True,
            **self.options,
        }
        self.edge = Edge(
            self.table,
            handlers | self.overrides,
            authenticator=self.access,
            browsers=self.browsers,
            audit=settings.pop("audit", self.store),
            clock=self.clock,
            log=self.log,
            request_prefix="t",
            key_owner=brain_of,
            node_owner=node_of,
            attempt_owner=attempt_of,
            **settings,
        )

    async def show_openapi(self, call: Call) -> Reply:
        return Reply(msgspec.json.encode(document(self.table, version="0.0.test")))

    async def prepare(self) -> Tokens:
        """Make the first people and a token for each kind of caller."""
        await self.directory.prepare()
        await self.directory.make_account("other")
        made = []
        for scope, account in (("owner", "local"), ("owner", "other"), ("operator", None)):
            secret, _ = await self.directory.make_token(
                f"{scope}-{account}",
                scope="operator" if scope == "operator" else "owner",
                account=account,
                created_by="test",
            )
            made.append(secret)
        return Tokens(*[*made, BRAIN_KEY, NODE_KEY, ATTEMPT_TOKEN])
