"""Handlers about keys of browsers and what machines and browsers seal to them.

The plane knows public keys alone. A copy that it carries is made by a browser of the account, or by
the node's machine. For an instance's node the machine is asked through its controller; the key that
lies in the agent's home gives no copy.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from msgspec.structs import asdict

from holdfast.actors import calls
from holdfast.content.directory import Directory
from holdfast.content.ports import BrowserKeyStore
from holdfast.content.records import BrowserKey, CopyObstacle, Node, SealedKey
from holdfast.kernel.log import Log
from holdfast.wire.api.browser_keys import (
    BrowserKeyCreate,
    BrowserKeyList,
    BrowserKeyView,
    Carried,
    EnrolByMachine,
    NodeBrowser,
    NodeBrowsers,
    ObserverBrowser,
    ObserverCopy,
    SealedCopy,
    SealedCopyAdd,
)
from holdfast.wire.api.call import Call, Refusal, Reply
from holdfast.wire.browser_keys import (
    KeyFormError,
    fingerprint_of,
    id_of,
    point_of,
    read_fingerprint,
)
from holdfast.wire.controller.calls import ControllerError, refusal_of
from holdfast.wire.controller.observing import EnrolAnswer, EnrolOrder
from holdfast.wire.limits import BROWSER_KEYS_MAX, PAGE_ITEMS_MAX
from holdfast.wire.times import time_text

Enrol = Callable[[str, EnrolOrder], Awaitable[EnrolAnswer]]
"""Has the machine of an instance seal its content key; raises ControllerError."""

AGENT_CANNOT: Final = "agent_cannot_enrol"
NOT_ALONE: Final = "already_enrolled"


class BrowserCalls:
    """One method for each endpoint."""

    def __init__(
        self,
        store: BrowserKeyStore,
        directory: Directory,
        *,
        enrol: Enrol,
        account_exists: calls.AccountExists,
        default_account: str,
        log: Log,
    ) -> None:
        """Use `default_account` for an operator who names no account."""
        self._store = store
        self._directory = directory
        self._enrol = enrol
        self._account_exists = account_exists
        self._default_account = default_account
        self._log = log

    def by_endpoint(self) -> dict[str, Callable[[Call], Awaitable[Reply]]]:
        """Return the handlers by the names of their endpoints."""
        return {
            "browser-key.list": self.list_keys,
            "browser-key.create": self.create,
            "browser-key.revoke": self.revoke,
            "sealed-key.list": self.list_copies,
            "sealed-key.add": self.add_copy,
            "sealed-key.by-machine": self.enrol_by_machine,
            "observer.browser": self.show_to_machine,
            "observer.copy": self.take_from_machine,
        }

    # -- keys of browsers

    async def list_keys(self, call: Call) -> Reply:
        """List keys of browsers, the newest first."""
        account = calls.listed_account(call)
        found = await self._store.browsers(account, limit=PAGE_ITEMS_MAX)
        return Reply(BrowserKeyList(items=tuple(map(_view, found))))

    async def create(self, call: Call) -> Reply:
        """Keep a public key; one that is there already is shown as it is."""
        body: BrowserKeyCreate = call.body
        if (body.kind == "recovery") != bool(body.locked):
            text = "locked belongs to the kind `recovery`, and to no other."
            raise Refusal(400, "bad_field", text, field="locked")
        point = _point(body.public_key)
        account = await calls.account_to_create_in(
            call, body.account, default=self._default_account, exists=self._account_exists
        )
        key = BrowserKey(
            account=account,
            id=id_of(fingerprint_of(point)),
            name=body.name,
            kind=body.kind,
            public_key=body.public_key,
            locked=body.locked,
            created_ms=call.now_ms,
            created_by=call.principal.name,
        )
        if not await self._store.add_browser(key):
            return await self._known(key)
        return Reply(_view(key), status=201)

    async def _known(self, key: BrowserKey) -> Reply:
        """Answer for a key that was not added: it is there, was revoked, or has no room."""
        found = await self._find(key.account, key.id)
        if found is None:
            text = f"this account has {BROWSER_KEYS_MAX} keys of browsers"
            raise Refusal(409, "too_many_keys", text, fix="Revoke those of browsers not used.")
        if found.revoked_ms is not None:
            text = "this key was revoked"
            raise Refusal(409, "key_revoked", text, fix="Make another key in that browser.")
        return Reply(_view(found), status=201)

    async def revoke(self, call: Call) -> Reply:
        """Revoke a key of one account; its copies are deleted with it."""
        found = await self._store.browsers_of_id(calls.listed_account(call), call.path["id"])
        if not found:
            raise calls.missing("browser", field="id")
        if len(found) > 1:
            raise Refusal(
                400, "bad_parameter", "several accounts have this key", field="account",
                fix=f"Name one of them: {', '.join(one.account for one in found)}.",
            )  # fmt: skip
        (one,) = found
        await self._store.revoke_browser(one.account, one.id, call.now_ms)
        return Reply(_view(await self._find(one.account, one.id) or one))

    async def _find(self, account: str, browser: str) -> BrowserKey | None:
        found = await self._store.browsers_of_id(account, browser)
        return found[0] if found else None

    async def _find_in_force(self, account: str, browser: str) -> BrowserKey | None:
        found = await self._find(account, browser)
        return None if found is None or found.revoked_ms is not None else found

    async def _in_force(self, account: str) -> list[BrowserKey]:
        found = await self._store.browsers(account, limit=PAGE_ITEMS_MAX)
        return [one for one in found if one.revoked_ms is None]

    # -- content keys that are sealed to them

    async def list_copies(self, call: Call) -> Reply:
        """List an account's browsers with the copies of one node."""
        node = self._visible(call)
        copies = await self._store.sealed_keys(node.id, node.account)
        items = tuple(
            _with_copies(one, [copy for copy in copies if copy.browser == one.id])
            for one in await self._in_force(node.account)
        )
        return Reply(NodeBrowsers(account=node.account, instance=node.instance, items=items))

    async def add_copy(self, call: Call) -> Reply:
        """Carry a copy that a browser of the account made; it takes the place of none."""
        body: SealedCopyAdd = call.body
        node = self._visible(call)
        by = calls.caller(call.principal)
        copy = _copy(node, body.browser, body.key_id, body.sealed, by=by, at_ms=call.now_ms)
        _refuse(await self._store.add_sealed_key(copy, renews=False), node)
        return Reply(Carried(ok=True), status=201)

    async def enrol_by_machine(self, call: Call) -> Reply:
        """Have an instance's machine seal its key to the browser of a typed fingerprint.

        A session or token may do so for the first browser of a node only: otherwise whoever holds
        one enrols itself. The command line on the plane's own host may at any time.
        """
        body: EnrolByMachine = call.body
        node = self._visible(call)
        if not node.instance:
            text = "this node is no instance's: its machine is not the plane's to ask"
            fix = "Run `holdfast observer enroll FINGERPRINT` on that machine."
            raise Refusal(409, "not_an_instance", text, fix=fix)
        try:
            fingerprint = read_fingerprint(body.fingerprint)
        except KeyFormError as error:
            raise Refusal(400, "bad_field", f"fingerprint: {error}", field="fingerprint") from None
        browser = await self._find_in_force(node.account, id_of(fingerprint))
        if browser is None:
            text = "no browser of this account has a key with this fingerprint"
            fix = "Compare it with what that browser shows, and make its key there first."
            raise Refusal(404, "no_such_browser", text, field="fingerprint", fix=fix)
        alone = call.principal.kind != "local"
        held = await self._store.sealed_keys(node.id, node.account)
        if alone and any(one.browser != browser.id for one in held):
            _refuse("not_alone", node)  # before the machine is asked
        order = EnrolOrder(public_key=browser.public_key, fingerprint=fingerprint)
        try:
            made = await self._enrol(node.instance, order)
        except ControllerError as error:
            raise refusal_of(error) from error
        by = f"controller, for {calls.caller(call.principal)}"
        copy = _copy(node, browser.id, made.key_id, made.sealed, by=by, at_ms=call.now_ms)
        _refuse(await self._store.add_sealed_key(copy, renews=True, alone=alone), node)
        return Reply(Carried(ok=True), status=201)

    # -- a machine elsewhere

    async def show_to_machine(self, call: Call) -> Reply:
        """Show the key of one browser to the machine of a node of its account.

        Anybody may register a machine, so nothing is told but to who knows the fingerprint.
        """
        node = await self._of_machine(call, call.query.get("node_id", ""))
        key = await self._find_in_force(node.account, call.query.get("browser", ""))
        if key is None:
            raise calls.missing("browser", field="browser")
        return Reply(ObserverBrowser(ok=True, node=node.id, public_key=key.public_key))

    async def take_from_machine(self, call: Call) -> Reply:
        """Carry a copy that a machine elsewhere made."""
        body: ObserverCopy = call.body
        node = await self._of_machine(call, body.node_id)
        by = f"node-key:{call.principal.token_id}"
        copy = _copy(node, body.browser, body.key_id, body.sealed, by=by, at_ms=call.now_ms)
        _refuse(await self._store.add_sealed_key(copy, renews=True), node)
        return Reply(Carried(ok=True))

    async def _of_machine(self, call: Call, name: str) -> Node:
        """Return the node that a key speaks for; refuse (403) the key of an instance's."""
        key = self._directory.key(call.principal.token_id)
        node = await self._directory.node(key, name)
        if node.instance:
            self._log.warning("content.enrol_refused", node=node.id, key=key.id)
            raise Refusal(
                403, AGENT_CANNOT, "the agent can read this key, so it enrols no browser",
                fix="the owner enrols it on the node's page, or:"
                f" {_enroll(node)}",
            )  # fmt: skip
        return node

    def _visible(self, call: Call) -> Node:
        node = self._directory.find(call.path["id"], call.principal.account)
        if node is None:
            raise calls.missing("node", field="id")
        return node


def _enroll(node: Node) -> str:
    return f"holdfast consent enroll {node.id} FINGERPRINT"


def _point(text: str) -> bytes:
    try:
        return point_of(text)
    except KeyFormError as error:
        raise Refusal(400, "bad_field", f"public_key: {error}", field="public_key") from None


def _copy(node: Node, browser: str, key_id: str, sealed: str, *, by: str, at_ms: int) -> SealedKey:
    return SealedKey(
        account=node.account, browser=browser, node=node.id, key_id=key_id, sealed=sealed,
        at_ms=at_ms, by=by,
    )  # fmt: skip


def _refuse(obstacle: CopyObstacle, node: Node) -> None:
    """Refuse a copy of a node's key that was not added."""
    match obstacle:
        case "no_browser":
            raise calls.missing("browser", field="browser")
        case "not_alone":
            raise Refusal(
                409, NOT_ALONE, "a browser opens this node, so its machine lets in no other one",
                fix="Let it in from a browser that opens the node, with the recovery code, or"
                f" where the plane runs: {_enroll(node)}. Or revoke keys of lost browsers.",
            )  # fmt: skip
        case "known":
            raise Refusal(
                409, "copy_known", "this browser has a copy of this key", field="key_id",
                fix="If that one opens nothing, revoke the browser, and make another key in it.",
            )  # fmt: skip
        case "full":
            raise Refusal(
                409, "too_many_copies", "this browser has as many copies of this node as are kept",
                fix="Revoke the browser, and make another key in it.",
            )  # fmt: skip
        case "":
            pass


def _view(key: BrowserKey) -> BrowserKeyView:
    return BrowserKeyView(
        id=key.id,
        fingerprint=fingerprint_of(point_of(key.public_key)),
        account=key.account,
        name=key.name,
        kind=key.kind,
        public_key=key.public_key,
        created_at=time_text(key.created_ms),
        created_by=key.created_by,
        revoked_at=None if key.revoked_ms is None else time_text(key.revoked_ms),
        locked=key.locked,
    )


def _with_copies(key: BrowserKey, copies: Sequence[SealedKey]) -> NodeBrowser:
    return NodeBrowser(
        **asdict(_view(key)),
        copies=tuple(
            SealedCopy(key_id=one.key_id, sealed=one.sealed, at=time_text(one.at_ms), by=one.by)
            for one in copies
        ),
    )
