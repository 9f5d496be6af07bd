"""The edge: from the endpoint table to an ASGI application.

One path for every request: find the row, limit the rate, authenticate, check scope and origin, read
and decode within limits, write the audit's first row, call the handler, write its second, answer.
It uses Starlette's types but not its router, whose linear scan costs more than the rest together.

Serve it with uvicorn's proxy headers and access log off: which proxies are trusted is decided here,
and an access log would record the secrets of one-time links.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from starlette.types import Message, Receive, Scope, Send

from holdfast.accounts.browser import BrowserSessions
from holdfast.accounts.records import AuditEntry, audit_target
from holdfast.accounts.rules import peer_key
from holdfast.kernel.clock import Clock
from holdfast.kernel.log import Log
from holdfast.plane.edge import answer, auth
from holdfast.plane.edge import body as edge_body
from holdfast.plane.edge.auth import ANONYMOUS, Caller, Identity, Network
from holdfast.plane.edge.budget import BodyBudget
from holdfast.plane.edge.ports import (
    AuditTrail,
    Authenticator,
    EdgeLimits,
    Gate,
    KeyOwner,
    Observer,
    ProblemPage,
    RateLimiter,
    Resolve,
)
from holdfast.plane.edge.routes import Found, Route, Routes
from holdfast.relay.refusal_lines import RefusalLines
from holdfast.relay.wrong_proofs import WrongProofs
from holdfast.wire import parsers
from holdfast.wire.api.accounts import SessionView
from holdfast.wire.api.call import Call, Handler, Principal, Refusal, Reply
from holdfast.wire.api.endpoint import Endpoint
from holdfast.wire.api.rows import filled
from holdfast.wire.limits import BODY_BYTES_MAX, REASON_MAX
from holdfast.wire.parsers import json_as

_FAILED: Final = 400
_OUR_FAULT: Final = 500
_UNAUTHENTICATED: Final = 401
_UNPROVEN: Final = 403
_TOO_MANY: Final = 429
_ACCEPTED: Final = 202
_INTERNAL: Final = Refusal(
    500, "internal", "something went wrong here", fix="the request's id leads to the log"
)
_READS: Final = frozenset({"GET", "HEAD"})


@dataclass(slots=True)
class _Request:
    """One request in progress; fields are set as they become known."""

    method: str
    path: str
    query: str
    header: dict[str, str]
    caller: Caller
    server: tuple[str, int]
    id: str
    started_ms: float
    route: Route | None = None
    identity: Identity = field(default_factory=lambda: Identity(ANONYMOUS))
    code: str = ""
    proof: str = ""

    @property
    def endpoint(self) -> str:
        """Return the name of the endpoint; empty where there is none."""
        return "" if self.route is None else self.route.row.name


class Edge:
    """The ASGI application."""

    def __init__(
        self,
        table: Iterable[Endpoint],
        handlers: Mapping[str, Handler],
        *,
        authenticator: Authenticator,
        browsers: BrowserSessions,
        audit: AuditTrail,
        clock: Clock,
        log: Log,
        rates: RateLimiter,
        request_prefix: str,
        limits: EdgeLimits | None = None,
        trusted_proxies: Sequence[Network] = (),
        hosts: frozenset[str] | None = None,
        https_host: str = "",
        gate: Gate | None = None,
        key_owner: KeyOwner = lambda _: None,
        node_owner: KeyOwner = lambda _: None,
        attempt_owner: KeyOwner = lambda _: None,
        observe: Observer | None = None,
        problem_page: ProblemPage = answer.problem_page,
        resolve: Resolve = lambda _, call: (call, ""),
        check_responses: bool = False,
        wrong_proofs: WrongProofs | None = None,
    ) -> None:
        """Bind the table; raise ValueError unless each row has exactly one handler.

        `request_prefix` makes this process's request ids unique. `hosts` are the names that
        requests may be for, or None for any; `https_host` is reached by https, whether or not the
        proxy in front is trusted, so its cookies are Secure. `check_responses` checks every answer
        against its declared type, for tests.
        """
        self._routes = Routes(table, handlers)
        self._proofs = auth.Proofs(authenticator, key_owner, browsers, node_owner, attempt_owner)
        self._audit = audit
        self._clock = clock
        self._log = log
        self._rates = rates
        self._prefix = request_prefix
        self._limits = limits or EdgeLimits()
        self._node_bodies = BodyBudget(
            total=self._limits.node_bodies, each=self._limits.node_bodies_each
        )
        self._trusted = tuple(trusted_proxies)
        self._hosts = hosts
        self._https_host = https_host
        self._gate = gate
        self._observe = observe
        self._problem_page = problem_page
        self._resolve = resolve
        self._check_responses = check_responses
        self._wrong_proofs = wrong_proofs or WrongProofs(clock)
        self._refusal_lines = RefusalLines(log.warning)
        self._count = 0
        self._streams: Counter[str] = Counter()
        self._closing = asyncio.Event()

    def close(self) -> None:
        """End every stream, so that the server can stop without waiting for readers."""
        self._closing.set()
        self._refusal_lines.flush()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "http":
            await self._serve(self._begin(scope), receive, send)
        elif scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1003})

    def _begin(self, scope: Scope) -> _Request:
        """Return the request as it arrived."""
        header: dict[str, str] = {}
        for raw_name, raw_value in scope["headers"]:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            header[name] = f"{header[name]}, {value}" if name in header else value
        client = scope.get("client")
        host, port = scope.get("server") or ("", 0)
        self._count += 1
        return _Request(
            method=scope["method"],
            path=scope["path"],
            query=scope["query_string"].decode("latin-1"),
            header=header,
            caller=auth.find_caller(
                client[0] if client else "", scope.get("scheme", "http"), header, self._trusted
            ),
            server=(host, port or 0),
            id=f"{self._prefix}-{self._count:x}",
            started_ms=self._clock.steady_ms(),
        )

    async def _serve(self, request: _Request, receive: Receive, send: Send) -> None:
        """Answer one request; never raise."""
        try:
            reply = await self._handle(request, receive)
            body = answer.encode_body(reply)
            if self._check_responses:
                _check_response(request.route, reply, body)
            self._note_proof(request, reply.status)
        except edge_body.ClientGoneError:
            return
        except Refusal as refusal:
            self._note_proof(request, refusal.status)
            reply = self._refused(request, refusal)
            body = answer.encode_body(reply)
        except Exception as error:  # noqa: BLE001  the last resort: the caller gets a request id
            self._log.error("call_failed", request_id=request.id, exc_info=error)
            reply = self._refused(request, _INTERNAL)
            body = answer.encode_body(reply)
        self._write_line(request, reply.status)
        if reply.stream is not None:
            await self._send_stream(request, reply, receive, send)
        else:
            bare = request.method == "HEAD"
            await answer.send_reply(send, reply, body, request.id, bare=bare)

    async def _handle(self, request: _Request, receive: Receive) -> Reply:
        """Return the handler's reply; every check that fails raises a Refusal."""
        auth.check_host(request.header, self._hosts)
        found = self._routes.find(
            "GET" if request.method == "HEAD" else request.method, request.path
        )
        if found is None:
            return self._no_route(request)
        request.route = found.route
        row = found.route.row
        changes = request.method not in _READS
        if row.scope == "public" and changes:
            # First, so that another site's page cannot use up its reader's sign-in attempts.
            auth.check_origin(request.header, request.caller)
            if row.mutates:
                self._bound(peer_key(request.caller.peer), strict=True)
        await self._doubt(request, row)
        request.identity = await auth.identify(
            row, request.header, self._proofs, secure=self._is_secure(request)
        )
        principal = request.identity.principal
        if row.scope in {"owner", "operator", "attempt"}:
            self._bound(f"{principal.kind}:{principal.token_id}", strict=False)
        if row.scope in {"owner", "operator"}:
            self._pass_gate(row, principal)
        by_browser = principal.kind == "session" or row.scope == "public"
        if (changes or row.audited) and principal.kind == "session":
            auth.check_origin(request.header, request.caller)
        key = auth.idempotency_key(request.header) if row.mutates else ""
        query = edge_body.read_query(found.route, request.query, self._limits)
        async with self._room(request, row):
            body = await self._read(request, found.route, receive, guarded=changes and by_browser)
            call = self._call(request, found, query=query, body=body, key=key)
            call, name = self._resolve(row, call)
            if row.mutates or row.audited:
                return await self._audited(request, found.route, call, name)
            return await found.route.handler(call)

    def _room(self, request: _Request, row: Endpoint) -> AbstractAsyncContextManager[None]:
        """Return the room that a large body of a node or brain needs until it is answered."""
        declared = request.header.get("content-length", "0")
        size = None if "transfer-encoding" in request.header else parsers.whole(declared)
        size = row.body_bytes_max if size is None else min(size, row.body_bytes_max)
        if row.scope not in {"node", "brain"} or size <= BODY_BYTES_MAX:
            return nullcontext()
        return self._node_bodies.hold(request.identity.principal.token_id, size)

    def _no_route(self, request: _Request) -> Reply:
        """Answer OPTIONS; refuse (405) a wrong method, (404) an unknown path."""
        methods = self._routes.methods(request.path)
        if not methods:
            raise Refusal(404, "no_such_path", "there is nothing here", fix="see /api/openapi.json")
        allow = {"allow": ", ".join(methods)}
        if request.method == "OPTIONS":
            return Reply(status=204, headers=allow)
        refusal = Refusal(
            405, "wrong_method", f"this path takes {allow['allow']}",
            fix=f"use one of {allow['allow']}",
        )  # fmt: skip
        request.code = refusal.problem.code
        return Reply(refusal.problem, status=405, headers=allow)

    def _bound(self, key: str, *, strict: bool) -> None:
        """Refuse (429) calls above the rate."""
        wait_s = self._rates.wait_s(key, strict=strict)
        if wait_s:
            raise Refusal(
                429, "too_many_calls", f"too many calls; wait {wait_s} s",
                fix="wait as long as retry-after says", retry_after_s=wait_s,
            )  # fmt: skip

    async def _doubt(self, request: _Request, row: Endpoint) -> None:
        """Refuse (429) a peer that proved wrongly too often, before anything is looked up."""
        # Keys of nodes and tokens of attempts are looked up in memory. A node's client takes a 429
        # for the end of a trial; attempts that ended share the address of those that work.
        if row.scope in {"public", "node", "attempt"}:
            return
        request.proof = auth.shown_proof(request.header)
        peer = peer_key(request.caller.peer)
        wait_s = self._wrong_proofs.wait_s(peer, request.proof) if request.proof else 0
        if wait_s:
            await self._wrong_proofs.hold_back()
            raise Refusal(
                429, answer.TOO_MANY_WRONG_PROOFS, "too many wrong proofs came from this address",
                fix="send the right one after the time that retry-after says", retry_after_s=wait_s,
            )  # fmt: skip

    def _note_proof(self, request: _Request, status: int) -> None:
        """Record whether the credentials of the request were right."""
        if not request.proof or request.route is None or status == _TOO_MANY:
            return
        is_machine = request.route.row.scope == "machine"
        if status == _UNAUTHENTICATED or (is_machine and status == _UNPROVEN):
            self._wrong_proofs.wrong(peer_key(request.caller.peer), request.proof)
        elif status < _OUR_FAULT and (status < _FAILED or not is_machine):
            self._wrong_proofs.right(peer_key(request.caller.peer), request.proof)

    def _pass_gate(self, row: Endpoint, principal: Principal) -> None:
        """Refuse (402) an account without the entitlement that the row names."""
        if row.gate and self._gate is not None and not self._gate(principal, row.gate):
            raise Refusal(
                402, "not_entitled", f"this needs the entitlement {row.gate}",
                fix="see the account's plan",
            )  # fmt: skip

    async def _read(
        self, request: _Request, route: Route, receive: Receive, *, guarded: bool
    ) -> Any:
        """Return the decoded body; a session's change must repeat its secret first."""
        header, row = request.header, route.row
        needs_token = guarded and request.identity.change_secret != ""
        given = header.get(auth.CSRF_HEADER, "")
        has_body = "content-length" in header or "transfer-encoding" in header
        if route.decoder is None and not has_body:
            if needs_token:
                auth.check_csrf(given, request.identity)
            return None
        is_form = has_body and edge_body.body_kind(header, route) == edge_body.FORM
        # Decoding a form of a megabyte would block the loop for 90 ms; of 64 KiB, for 3.
        bytes_max = min(row.body_bytes_max, self._limits.form_bytes if is_form else 2**63)
        raw = await edge_body.read_body(receive, header, bytes_max=bytes_max, limits=self._limits)
        fields = edge_body.read_form(raw, self._limits) if is_form else {}
        given = given or str(fields.pop(auth.CSRF_FIELD, ""))
        if needs_token:
            auth.check_csrf(given, request.identity)
        if is_form:
            return edge_body.decode_form(route, fields)
        return edge_body.decode_json(route, raw)

    def _call(
        self, request: _Request, found: Found, *, query: dict[str, str], body: Any, key: str
    ) -> Call:
        """Return the call for the handler, without credentials unless the handler checks them."""
        header = request.header
        if found.route.row.scope != "machine" and not found.route.row.proves:
            header.pop("authorization", None)
            header.pop("cookie", None)
            header.pop(auth.NODE_KEY_HEADER, None)
        return Call(
            endpoint=found.route.row.name,
            principal=request.identity.principal,
            path=found.path,
            query=query,
            header=header,
            body=body,
            peer=request.caller.peer,
            trusted_proxy=request.caller.trusted_proxy,
            idempotency_key=key,
            request_id=request.id,
            server=request.server,
            secure=self._is_secure(request),
            now_ms=self._clock.now_ms(),
        )

    def _is_secure(self, request: _Request) -> bool:
        """Return whether a browser came by https, or asked for the name that is reached by it."""
        by_name = self._https_host != "" and request.caller.host == self._https_host
        return request.caller.secure or by_name

    async def _audited(self, request: _Request, route: Route, call: Call, name: str) -> Reply:
        """Call the handler between two rows of the audit; `name` is what its path is about.

        Without the first row nothing is done (503). A missing second row leaves the status
        unknown, which the audit shows; the call's effect stands.
        """
        entry = _audit_entry(call, target=audit_target(filled(route.row.path, call.path), name))
        try:
            begun = await self._audit.append_audit(entry)
        except Exception as error:
            self._log.error("audit_failed", request_id=request.id, exc_info=error)
            raise Refusal(
                503, "audit_unavailable", "the audit cannot be written, so nothing was done",
                fix="look at the disk and the log of the plane; then try again", retry_after_s=5,
            ) from error  # fmt: skip
        status, who = _OUR_FAULT, entry.who
        try:
            reply = await route.handler(call)
            status = reply.status
            who = reply.body.person if isinstance(reply.body, SessionView) else who
        except Refusal as refusal:
            status = refusal.status
            raise
        finally:
            ended = AuditEntry(
                at_ms=self._clock.now_ms(), phase="end", begins=begun.seq, who=who, status=status
            )
            await self._end_audit(request, ended)
        return reply

    async def _end_audit(self, request: _Request, entry: AuditEntry) -> None:
        """Write the second row; a failure is only logged, because the answer stands."""
        try:
            await self._audit.append_audit(entry)
        except Exception as error:  # noqa: BLE001  the first error, if any, must be raised
            self._log.error("audit_end_failed", request_id=request.id, exc_info=error)

    def _refused(self, request: _Request, refusal: Refusal) -> Reply:
        """Return a refusal as JSON, as a page, or as a redirect to the sign-in page."""
        request.code = refusal.problem.code
        reply = answer.problem_reply(refusal, request.id)
        if request.route is not None and request.route.row.scope == "brain":
            reply = answer.with_detail(reply)
        if request.route is not None and request.route.row.scope == "node":
            reply = answer.for_node(reply)
        kind = "" if request.route is None else request.route.row.kind
        wants_page = request.route is None and "text/html" in request.header.get("accept", "")
        if kind != "page" and not wants_page:
            return reply
        if refusal.status == _UNAUTHENTICATED and request.method in _READS:
            where = "/sign-in" if request.path == "/" else f"/sign-in?next={request.path}"
            return Reply(b"", status=303, headers={"location": where}, content_type="text/html")
        body = self._problem_page(refusal.status, refusal.problem)
        return answer.page_reply(body, refusal.status, reply.headers)

    async def _send_stream(
        self, request: _Request, reply: Reply, receive: Receive, send: Send
    ) -> None:
        """Send a stream, unless there are too many."""
        principal = request.identity.principal
        who = f"{principal.kind}:{principal.name}"
        full = self._streams.total() >= self._limits.streams
        try:
            if full or self._streams[who] >= self._limits.streams_each:
                refusal = Refusal(
                    429, "too_many_streams", "too many live streams are open",
                    fix="close other tabs", retry_after_s=10,
                )  # fmt: skip
                refused = answer.problem_reply(refusal, request.id)
                body = answer.encode_body(refused)
                await answer.send_reply(send, refused, body, request.id, bare=False)
                return
            self._streams[who] += 1
            try:
                await answer.send_stream(
                    send, receive, reply, request.id, self._closing, bare=request.method == "HEAD"
                )
            finally:
                self._streams[who] -= 1
                self._streams += Counter()  # drops those at zero
        except OSError:
            return  # the reader disconnected within a chunk

    def _write_line(self, request: _Request, status: int) -> None:
        """Log a call that changed something or failed; pass every one to the observer."""
        spent_ms = self._clock.steady_ms() - request.started_ms
        if self._observe is not None:
            self._observe(request.endpoint or "none", status, spent_ms)
        self._refusal_lines.tick(request.started_ms)
        row = None if request.route is None else request.route.row
        if status < _FAILED and not (row is not None and (row.mutates or row.audited)):
            return
        is_counted = row is not None and row.scope == "node" and status in row.statuses
        if is_counted and not request.code:
            return  # an answer, no refusal: a node's gate is closed, which its owner is shown
        who = request.identity.principal
        write = self._log.info if status < _FAILED else self._log.warning
        # A status that the row declares is intended, a 501 too.
        is_fault = status >= _OUR_FAULT and (row is None or status not in row.statuses)
        if status >= _FAILED and not is_fault:
            peer = peer_key(request.caller.peer)
            if not self._refusal_lines.admit(peer, request.code, request.started_ms):
                return
        (self._log.error if is_fault else write)(
            "call",
            request_id=request.id,
            endpoint=request.endpoint,
            method=request.method,
            path=request.path[:REASON_MAX],
            status=status,
            code=request.code,
            who=who.name,
            how=who.kind,
            peer=request.caller.peer,
            ms=round(spent_ms, 2),
        )


def _audit_entry(call: Call, *, target: str) -> AuditEntry:
    """Return the first row of a call."""
    who = call.principal
    return AuditEntry(
        at_ms=call.now_ms,
        phase="begin",
        who=who.name,
        how=f"token:{who.token_id}" if who.kind == "token" else who.kind,
        account=who.account,
        endpoint=call.endpoint,
        target=target,
        peer=call.peer,
        request_id=call.request_id,
        key=call.idempotency_key,
    )


def _check_response(route: Route | None, reply: Reply, body: bytes) -> None:
    """Raise AssertionError where a reply is not of its row's declared type."""
    if route is None or route.row.kind != "json" or reply.status >= _FAILED:
        return
    row = route.row
    assert reply.status in row.statuses, f"{row.name} answered {reply.status}: not declared"
    declared = row.pending if reply.status == _ACCEPTED else row.response
    if declared is None or not body:
        assert not body, f"{row.name} answered a body: none is declared"
        assert reply.status in {204, 304} or declared is None, f"{row.name} answered no body"
        return
    try:
        json_as(declared, body)
    except msgspec.ValidationError as error:
        raise AssertionError(f"{row.name} answered what it does not declare: {error}") from error


async def _live(receive: Receive, send: Send) -> None:
    """Answer the lifespan protocol; start and stop are done by `plane.serve`."""
    while True:
        message: Message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
