"""Walks the endpoint table: what every route must refuse, whatever its handler does.

`walk` takes any application bound to a table, so the same walk tests the edge with stub handlers
and the whole plane. It returns the findings, one line each, and how much it checked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from holdfast.accounts.browser import SESSION_COOKIE, BrowserSessions
from holdfast.wire.api.call import Problem
from holdfast.wire.api.endpoint import Endpoint
from holdfast.wire.api.rows import path_names
from tests.support.asgi import Answer, App, call, json_headers
from tests.support.samples import sample, sample_param

BROWSERS = BrowserSessions(b"k" * 32)
"""What ties browsers' sessions to a plane made for a test."""

SESSION_NAME = BROWSERS.cookie_name(SESSION_COOKIE, secure=False)

MACHINE_HEADERS = {
    "authorization": "Bearer hfm_wrong",
    "x-holdfast-gateway-token": "0" * 64,
    "content-type": "application/json",
}
MALFORMED = (b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b'{"a":' * 2_000, b'{"no_such":1}')


@dataclass(frozen=True)
class Tokens:
    """API tokens of two owners with different accounts, and of an operator; keys of others."""

    owner: str
    other_owner: str
    operator: str
    brain: str
    node: str
    attempt: str = ""

    def of(self, row: Endpoint) -> str:
        """Return what lets a caller in at a row."""
        keys = {"brain": self.brain, "node": self.node, "attempt": self.attempt}
        return keys.get(row.scope, self.operator)


@dataclass
class Findings:
    """What the walk found."""

    looked: int = 0
    wrong: list[str] = field(default_factory=list)

    def expect(self, what: str, row: Endpoint, answer: Answer, *statuses: int) -> None:
        """Note an answer that is none of these statuses, or a refusal that is no problem."""
        self.looked += 1
        where = f"{row.method} {row.path}: {what}"
        if answer.status not in statuses:
            self.wrong.append(f"{where}: {answer.status} instead of {statuses}: {answer.body!r}")
        elif answer.status >= 400 and row.kind != "page":
            problem = msgspec.json.decode(answer.body, type=Problem)
            if not problem.code or not problem.message:
                self.wrong.append(f"{where}: an empty problem")
        if answer.header("x-content-type-options") != "nosniff" or not answer.header(
            "content-security-policy"
        ):
            self.wrong.append(f"{where}: security headers are missing")


def target_of(row: Endpoint, **values: str) -> str:
    """Return a path and query that the row takes; `values` replace samples."""
    path = row.path
    query = []
    for param in row.params:
        chosen = values.get(param.name)
        if param.name not in path_names(row.path) and not param.required and chosen is None:
            continue
        value = chosen or sample_param(param.name, param.pattern)
        if param.name in path_names(row.path):
            path = path.replace(f"{{{param.name}}}", value)
        else:
            query.append(f"{param.name}={value}")
    return path + ("?" + "&".join(query) if query else "")


def body_of(row: Endpoint) -> bytes:
    """Return the smallest body that the row takes."""
    return b"" if row.request is None else msgspec.json.encode(sample(row.request))


async def walk(app: App, table: Iterable[Endpoint], tokens: Tokens, *, theirs: str) -> Findings:
    """Walk every row; `theirs` is an instance of `owner`, which `other_owner` may not see."""
    findings = Findings()
    for row in table:
        await _without_credentials(app, row, findings)
        await _with_wrong_scope(app, row, tokens, findings)
        await _with_wrong_method(app, row, findings)
        if row.scope == "owner" and row.path.startswith("/api/instances/{id}"):
            token = tokens.other_owner
            answer = await call(
                app, row.method, target_of(row, id=theirs), headers=json_headers(token),
                body=body_of(row),
            )  # fmt: skip
            findings.expect("another account's object", row, answer, 404)
        await _malformed(app, row, tokens, findings)
    return findings


async def _without_credentials(app: App, row: Endpoint, findings: Findings) -> None:
    if row.scope == "public":
        return
    expected = 303 if row.kind == "page" else 401
    for headers in (json_headers(), json_headers("hf_" + "A" * 43), json_headers("nonsense")):
        answer = await call(app, row.method, target_of(row), headers=headers, body=body_of(row))
        findings.expect("no credentials", row, answer, expected)
    cookie = {**json_headers(), "cookie": f"{SESSION_NAME}=hfs_" + "A" * 43}
    answer = await call(app, row.method, target_of(row), headers=cookie, body=body_of(row))
    findings.expect("a wrong cookie", row, answer, expected)


async def _with_wrong_scope(app: App, row: Endpoint, tokens: Tokens, findings: Findings) -> None:
    if row.scope == "owner":
        for what, key in (
            ("a brain's key", tokens.brain),
            ("a node's key", tokens.node),
            ("an attempt's token", tokens.attempt),
        ):
            answer = await call(
                app, row.method, target_of(row), headers=json_headers(key), body=body_of(row)
            )
            findings.expect(what, row, answer, 303 if row.kind == "page" else 401)
    if row.scope not in {"operator", "machine", "brain", "node", "attempt"}:
        return
    expected = 403 if row.scope == "operator" else 401
    headers = json_headers(tokens.owner)
    answer = await call(app, row.method, target_of(row), headers=headers, body=body_of(row))
    findings.expect("an owner's token", row, answer, expected)


async def _with_wrong_method(app: App, row: Endpoint, findings: Findings) -> None:
    answer = await call(app, "TRACE", target_of(row))
    findings.expect("a wrong method", row, answer, 405)
    allowed = answer.header("allow").split(", ")
    if row.method not in allowed:
        findings.wrong.append(f"{row.method} {row.path}: Allow lacks it: {allowed}")
    options = await call(app, "OPTIONS", target_of(row))
    findings.expect("OPTIONS", row, options, 204)


async def _malformed(app: App, row: Endpoint, tokens: Tokens, findings: Findings) -> None:
    headers = MACHINE_HEADERS if row.scope == "machine" else json_headers(tokens.of(row))
    target = target_of(row)

    async def refused(what: str, *statuses: int, target: str = target, body: bytes = b"") -> None:
        answer = await call(
            app, row.method, target, headers=headers, body=body, peer=f"192.0.2.{findings.looked}"
        )
        findings.expect(what, row, answer, *statuses)

    if row.kind == "json":
        mark = "&" if "?" in target else "?"
        await refused("an unknown parameter", 400, target=f"{target}{mark}no_such=1")
        await refused("bad encoding", 400, target=f"{target}{mark}limit=%ff")
    if row.request is None:
        return
    for body in MALFORMED:
        is_ours = row.scope not in {"machine", "brain", "node"} and not row.proves
        tolerant = not is_ours and not _requires(row)
        if body == b'{"no_such":1}' and tolerant:
            continue
        await refused(f"the body {body[:12]!r}", 400, body=body)
    await refused("a huge body", 413, body=b" " * (row.body_bytes_max + 1))
    if row.scope != "machine":
        answer = await call(
            app, row.method, target, headers={**headers, "content-type": "text/plain"},
            body=body_of(row), peer=f"192.0.2.{findings.looked}",
        )  # fmt: skip
        findings.expect("text", row, answer, 415)


def _requires(row: Endpoint) -> bool:
    return any(field.required for field in msgspec.structs.fields(row.request))
