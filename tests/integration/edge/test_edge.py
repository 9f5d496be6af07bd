"""What the edge itself promises, in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from holdfast.accounts import audit
from holdfast.accounts.records import AuditEntry, AuditRow
from holdfast.kernel.clock import ManualClock
from holdfast.plane.edge.app import Edge
from holdfast.plane.edge.auth import parse_networks
from holdfast.plane.edge.ports import EdgeLimits
from holdfast.relay.rate import Rate, Rates
from holdfast.wire.api.call import Call, Principal, Refusal, Reply
from holdfast.wire.api.endpoint import Endpoint
from holdfast.wire.api.instances import InstanceCreate
from holdfast.wire.api.table import ENDPOINTS, by_name
from holdfast.wire.limits import BODY_BYTES_MAX
from tests.support.asgi import Answer, call, json_headers, scope_of
from tests.support.patience import patience
from tests.support.stub_plane import StubPlane
from tests.support.walk import MACHINE_HEADERS, SESSION_NAME, Tokens, target_of

EVENTS = target_of(by_name["page.events"])
CREATE = b'{"name":"a1"}'


async def sign_in(plane: StubPlane, **headers: str) -> tuple[dict[str, str], str]:
    """Return a browser's headers and its CSRF token."""
    secret, _ = await plane.directory.make_link("operator")
    answer = await call(
        plane.edge, "POST", "/api/session/link",
        headers={**json_headers(), **headers}, body=msgspec.json.encode({"link": secret}),
    )  # fmt: skip
    assert answer.status == 200, answer.body
    cookie = answer.header("set-cookie")
    return {"cookie": cookie.split(";")[0]}, answer.json()["csrf"]


async def prepared(**options: Any) -> tuple[StubPlane, Tokens]:
    plane = StubPlane(options=options)
    return plane, await plane.prepare()


def handled(plane: StubPlane, name: str, handler: Any) -> StubPlane:
    return StubPlane(
        store=plane.store,
        clock=plane.clock,
        log=plane.log,
        overrides={name: handler},
        options=plane.options,
    )


async def test_the_session_cookie_is_kept_from_scripts_and_other_sites() -> None:
    plane, _ = await prepared()
    secret, _ = await plane.directory.make_link("operator")
    body = msgspec.json.encode({"link": secret})
    answer = await call(plane.edge, "POST", "/api/session/link", headers=json_headers(), body=body)
    cookie = answer.header("set-cookie")
    assert cookie.startswith(f"{SESSION_NAME}=hfs_")
    assert "; HttpOnly; SameSite=Lax; Max-Age=86400" in cookie
    assert "Secure" not in cookie
    assert secret.encode() not in answer.body


async def test_behind_a_trusted_https_proxy_the_cookie_is_secure() -> None:
    plane, _ = await prepared(trusted_proxies=parse_networks("192.0.2.0/24"))
    secret, _ = await plane.directory.make_link("operator")
    answer = await call(
        plane.edge, "POST", "/api/session/link", body=msgspec.json.encode({"link": secret}),
        headers={
            **json_headers(), "x-forwarded-proto": "https", "x-forwarded-for": "6.6.6.6, 7.7.7.7",
            "x-forwarded-host": "plane.example", "origin": "https://plane.example",
        },
    )  # fmt: skip
    assert answer.status == 200
    assert answer.header("set-cookie").endswith("; Secure")
    [(row, _, _)] = await plane.store.audit(None, None, 1)
    assert row.entry.peer == "7.7.7.7"


async def test_a_stranger_is_not_believed_about_forwarded_facts() -> None:
    plane, tokens = await prepared(trusted_proxies=parse_networks("10.0.0.0/8"))
    seen: list[Call] = []

    async def look(made: Call) -> Reply:
        seen.append(made)
        return Reply(b"", content_type="text/html")

    plane = handled(plane, "page.fleet", look)
    headers = {"x-forwarded-for": "7.7.7.7", "x-forwarded-proto": "https", "fly-region": "ams"}
    await call(plane.edge, "GET", "/", headers={**json_headers(tokens.owner), **headers})
    assert (seen[0].peer, seen[0].secure, seen[0].trusted_proxy) == ("192.0.2.1", False, False)


async def test_a_browsers_change_must_repeat_its_token_and_come_from_here() -> None:
    plane, _ = await prepared()
    browser, csrf = await sign_in(plane)
    given = {**json_headers(), **browser}

    async def create(**headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await call(
            plane.edge, "POST", "/api/instances", headers={**given, **named}, body=CREATE
        )

    assert (await create()).json()["code"] == "csrf"
    assert (await create(x_csrf_token="0" * 40)).json()["code"] == "csrf"
    assert (await create(x_csrf_token=csrf)).status == 201
    for elsewhere in (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ):
        assert (await create(x_csrf_token=csrf, **elsewhere)).json()["code"] == "cross_site"
    here = {"origin": "http://plane.test", "sec_fetch_site": "same-origin"}
    assert (await create(x_csrf_token=csrf, **here)).status == 201


async def test_a_form_carries_the_token_in_a_field() -> None:
    plane, _ = await prepared()
    browser, csrf = await sign_in(plane)
    headers = {**browser, "content-type": "application/x-www-form-urlencoded"}
    form = f"ids[]=a1&ids[]=b2&reason=night&csrf={csrf}".encode()
    seen: list[Any] = []

    async def look(made: Call) -> Reply:
        seen.append(made.body)
        return Reply({"items": ()})

    plane = handled(plane, "instance.bulk-stop", look)
    target = "/api/instances/bulk/stop"
    assert (await call(plane.edge, "POST", target, headers=headers, body=form)).status == 200
    assert (seen[0].ids, seen[0].reason) == (("a1", "b2"), "night")
    stolen = form.replace(csrf.encode(), b"0" * 40)
    assert (await call(plane.edge, "POST", target, headers=headers, body=stolen)).status == 403


async def test_a_form_is_small_whatever_its_row_allows_as_json() -> None:
    plane, tokens = await prepared()
    bearer = {"authorization": f"Bearer {tokens.owner}"}
    form = {**bearer, "content-type": "application/x-www-form-urlencoded"}
    large = b"name=a1&region=" + b"%41" * 30_000
    answer = await call(plane.edge, "POST", "/api/instances", headers=form, body=large)
    assert answer.status == 413
    env = msgspec.json.encode({"name": "a1", "env": {f"K{n}": "v" * 900 for n in range(100)}})
    given = json_headers(tokens.owner)
    assert (await call(plane.edge, "POST", "/api/instances", headers=given, body=env)).status == 201


async def test_signing_in_from_another_site_is_refused() -> None:
    plane, _ = await prepared()
    body = b'{"name":"operator","password":"guess"}'
    headers = {**json_headers(), "origin": "https://evil.example"}
    answer = await call(plane.edge, "POST", "/api/session/password", headers=headers, body=body)
    assert answer.json()["code"] == "cross_site"


async def test_a_wrong_token_is_not_forgiven_for_a_good_cookie() -> None:
    plane, _ = await prepared()
    browser, _ = await sign_in(plane)
    assert (await call(plane.edge, "GET", "/api/session", headers=browser)).status == 200
    headers = {**browser, "authorization": "Bearer hf_" + "A" * 43}
    assert (await call(plane.edge, "GET", "/api/session", headers=headers)).status == 401


async def test_pages_send_strangers_to_sign_in_and_back() -> None:
    plane, _ = await prepared()
    answer = await call(plane.edge, "GET", "/instances/abc", headers={"accept": "text/html"})
    assert (answer.status, answer.header("location")) == (303, "/sign-in?next=/instances/abc")
    assert (await call(plane.edge, "GET", "/sign-in?next=/instances/abc")).status == 200
    assert (await call(plane.edge, "GET", "/sign-in?next=//evil.example")).status == 400
    csp = (await call(plane.edge, "GET", "/sign-in")).header("content-security-policy")
    assert "script-src 'self'" in csp
    assert "frame-ancestors 'none'" in csp
    assert "unsafe" not in csp


async def test_a_browser_sees_a_page_where_there_is_nothing() -> None:
    plane, _ = await prepared()
    answer = await call(plane.edge, "GET", "/nothing", headers={"accept": "text/html,*/*"})
    assert answer.status == 404
    assert answer.header("content-type").startswith("text/html")
    assert (await call(plane.edge, "GET", "/nothing")).json()["code"] == "no_such_path"


async def test_a_body_is_counted_while_it_is_read() -> None:
    plane, tokens = await prepared()
    pulled = 0

    def chunks() -> Any:
        nonlocal pulled
        while True:
            pulled += 1
            yield b" " * 4_096

    stream = chunks()
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": next(stream), "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = {**json_headers(tokens.operator), "transfer-encoding": "chunked"}
    scope = scope_of("POST", "/api/accounts", headers, "192.0.2.1")
    await plane.edge(scope, receive, send)
    assert sent[0]["status"] == 413
    assert pulled <= BODY_BYTES_MAX // 4_096 + 1


async def test_a_body_in_parts_is_put_together() -> None:
    plane, tokens = await prepared()
    parts = [CREATE[:4], b"", CREATE[4:]]
    answer = await call(
        plane.edge, "POST", "/api/instances", headers=json_headers(tokens.owner), chunks=parts
    )
    assert answer.status == 201


async def test_a_caller_who_trickles_a_body_is_refused_in_time() -> None:
    plane, tokens = await prepared(limits=EdgeLimits(body_read_s=0.02))
    sent: list[Any] = []

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    headers = {**json_headers(tokens.owner), "content-length": "5"}
    await plane.edge(scope_of("POST", "/api/instances", headers, "p"), receive, send)
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]


async def test_nobody_is_answered_who_hung_up() -> None:
    plane, tokens = await prepared()
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = {**json_headers(tokens.owner), "content-length": "5"}
    await plane.edge(scope_of("POST", "/api/instances", headers, "p"), receive, send)
    assert sent == []
    assert await plane.store.audit(None, None, 10) == []


@pytest.mark.parametrize(
    ("body", "field", "told"),
    [
        (b"{}", "name", "missing required field"),
        (b'{"name":7}', "name", "Expected `str`"),
        (b'{"name":"a1","desired":"hunter2"}', "desired", "Invalid enum value"),
        (b'{"name":"a1","colour":"hunter2"}', "colour", "unknown field"),
        (b'{"name":"hunter2 with spaces"}', "name", "such as 'my-agent'"),
        (b'{"name":"a1","env":{"1x":"hunter2"}}', "env", "such as 'LOG_LEVEL'"),
        (b'{"name":"a1","secrets":{"K":["hunter2"]}}', "secrets", "Expected `str`"),
    ],
)
async def test_a_refused_body_names_the_field_and_never_its_value(
    body: bytes, field: str, told: str
) -> None:
    plane, tokens = await prepared()
    answer = await call(
        plane.edge, "POST", "/api/instances", headers=json_headers(tokens.owner), body=body
    )
    problem = answer.json()
    assert answer.status == 400
    assert problem["field"].startswith(field)
    assert told in problem["message"]
    assert "InstanceCreate" in problem["fix"]
    assert "hunter2" not in problem["message"] + problem["fix"]


async def test_idempotency_keys_reach_the_handler_or_are_refused() -> None:
    plane, tokens = await prepared()
    keys: list[str] = []

    async def look(made: Call) -> Reply:
        keys.append(made.idempotency_key)
        assert isinstance(made.body, InstanceCreate)
        raise Refusal(409, "name_taken", "taken")

    plane = handled(plane, "instance.create", look)
    given = json_headers(tokens.owner)
    for key in ("", "k" * 129, "a\tb", "a b", "clé"):
        answer = await call(
            plane.edge, "POST", "/api/instances",
            headers={**given, "idempotency-key": key}, body=CREATE,
        )  # fmt: skip
        assert answer.json()["code"] == "bad_idempotency_key"
    good = {**given, "idempotency-key": "order-1"}
    assert (
        await call(plane.edge, "POST", "/api/instances", headers=good, body=CREATE)
    ).status == 409
    assert keys == ["order-1"]
    [(row, status, _)] = await plane.store.audit(None, None, 10)
    assert (row.entry.key, status) == ("order-1", 409)


async def test_every_change_and_rehearsal_is_audited_and_nothing_else() -> None:
    plane, tokens = await prepared()
    given = json_headers(tokens.operator)
    await call(plane.edge, "GET", "/api/instances", headers=given)
    await call(plane.edge, "POST", "/api/instances", headers=given, body=CREATE)
    await call(plane.edge, "POST", "/api/rehearse/instance/a1/dry-run", headers=given, body=b"{}")
    await call(plane.edge, "POST", "/api/instances", headers=given, body=b"{")
    await sign_in(plane)
    rows = [(row.entry, status) for row, status, _ in await plane.store.audit(None, None, 10)]
    assert [(entry.endpoint, status) for entry, status in rows] == [
        ("session.link", 200),
        ("rehearse.dry-run", 200),
        ("instance.create", 201),
    ]
    assert rows[2][0].how.startswith("token:tok_")
    assert rows[2][0].target == "/api/instances"
    listed = await call(plane.edge, "GET", "/api/audit?limit=1", headers=given)
    assert (listed.json()["items"][0]["who"], listed.json()["next"]) == ("operator", "5")
    older = await call(plane.edge, "GET", "/api/audit?limit=2&after=5", headers=given)
    assert [item["endpoint"] for item in older.json()["items"]] == [
        "rehearse.dry-run",
        "instance.create",
    ]
    own = await call(plane.edge, "GET", "/api/audit", headers=json_headers(tokens.owner))
    assert own.json()["items"] == []
    verdict = await call(plane.edge, "GET", "/api/audit/verify", headers=given)
    assert (verdict.json()["ok"], verdict.json()["rows"]) == (True, 6)
    chain = await plane.store.audit_chain(0, 100)
    assert audit.first_broken(chain) is None
    assert chain[-1].entry.who == "operator"


class BrokenAudit:
    async def append_audit(self, entry: AuditEntry) -> AuditRow:
        raise OSError("disk full")


async def test_without_an_audit_nothing_is_done() -> None:
    plane, tokens = await prepared(audit=BrokenAudit())
    done: list[Call] = []

    async def look(made: Call) -> Reply:
        done.append(made)
        return Reply()

    plane = StubPlane(
        store=plane.store,
        log=plane.log,
        overrides={"account.create": look},
        options={"audit": BrokenAudit()},
    )
    answer = await call(
        plane.edge, "POST", "/api/accounts", headers=json_headers(tokens.operator), body=CREATE
    )
    assert answer.status == 503
    assert answer.header("retry-after") == "5"
    assert done == []


async def test_a_bug_is_told_to_the_log_and_not_to_the_caller() -> None:
    plane, tokens = await prepared()

    async def fail(made: Call) -> Reply:
        raise ZeroDivisionError("secret sauce")

    plane = handled(plane, "instance.create", fail)
    answer = await call(
        plane.edge, "POST", "/api/instances", headers=json_headers(tokens.owner), body=CREATE
    )
    assert answer.status == 500
    assert b"sauce" not in answer.body
    request_id = answer.header("x-request-id")
    assert request_id in answer.json()["operation"]
    first, last = plane.log.lines[-2:]
    assert (first[1], first[2]["request_id"]) == ("call_failed", request_id)
    assert isinstance(first[2]["exc_info"], ZeroDivisionError)
    assert (last[0], last[2]["status"]) == ("error", 500)
    [(_, status, _)] = await plane.store.audit(None, None, 10)
    assert status == 500


async def test_calls_that_change_or_fail_leave_one_line_without_secrets() -> None:
    plane, tokens = await prepared()
    given = json_headers(tokens.owner)
    await call(plane.edge, "GET", "/api/instances", headers=given)
    assert plane.log.lines == []
    await call(plane.edge, "POST", "/api/instances", headers=given, body=CREATE)
    await call(plane.edge, "GET", "/api/instances/a1?x=1", headers=given)
    body = b'{"name":"operator","password":"hunter2"}'
    await call(plane.edge, "POST", "/api/session/password", headers=json_headers(), body=body)
    lines = [(level, f["endpoint"], f["status"]) for level, _, f in plane.log.lines]
    assert lines == [
        ("info", "instance.create", 201),
        ("warning", "instance.get", 400),
        ("warning", "session.password", 401),
    ]
    written = str(plane.log.lines)
    assert "hunter2" not in written
    assert tokens.owner not in written


async def test_proofs_do_not_reach_handlers_that_do_not_check_them() -> None:
    plane, tokens = await prepared()
    seen: list[Call] = []

    async def look(made: Call) -> Reply:
        seen.append(made)
        return Reply(status=204)

    plane = StubPlane(
        store=plane.store,
        overrides={"page.fleet": look, "controller.checkin": look},
        options={"check_responses": False},
    )
    await call(plane.edge, "GET", "/", headers=json_headers(tokens.owner))
    assert not {"authorization", "cookie"} & seen[0].header.keys()
    body = msgspec.json.encode(
        {
            "sandboxId": "s", "controllerVersion": "1", "controllerCommit": "c",
            "supervisorState": "running", "openclawVersion": None, "openclawCommit": None,
            "totalRestarts": 0, "restartsSinceLastCheckin": 0, "uptimeSeconds": 1,
            "loadAvg5m": 0, "bandwidthBytesIn": 0, "bandwidthBytesOut": 0,
        }
    )  # fmt: skip
    headers = {"Authorization": "bEaReR key", "x-kiloclaw-gateway-token": "t"}
    answer = await call(plane.edge, "POST", "/api/controller/checkin", headers=headers, body=body)
    assert answer.status == 204
    assert seen[1].header["authorization"] == "bEaReR key"
    assert seen[1].principal.scope == "machine"


async def test_a_checkin_without_both_credentials_is_refused_before_it_is_read() -> None:
    plane, _ = await prepared()
    for missing in ("authorization", "x-holdfast-gateway-token"):
        headers = {k: v for k, v in MACHINE_HEADERS.items() if k != missing}
        answer = await call(
            plane.edge, "POST", "/api/controller/checkin", headers=headers, body=b"{"
        )
        assert answer.status == 401


async def test_whoever_calls_too_often_is_told_when_to_come_back() -> None:
    clock = ManualClock()
    rates = Rates(clock, calls=Rate(3, 1), sign_ins=Rate(2, 0.1))
    plane, tokens = await prepared(rates=rates)
    given = json_headers(tokens.owner)
    statuses = [
        (await call(plane.edge, "GET", "/api/instances", headers=given)).status for _ in range(4)
    ]
    assert statuses == [200, 200, 200, 429]
    others = json_headers(tokens.operator)
    assert (await call(plane.edge, "GET", "/api/instances", headers=others)).status == 200
    clock.advance(1_000)
    assert (await call(plane.edge, "GET", "/api/instances", headers=given)).status == 200
    body = b'{"link":"hfl_x"}'
    answers = [
        await call(plane.edge, "POST", "/api/session/link", headers=json_headers(), body=body)
        for _ in range(3)
    ]
    assert [answer.status for answer in answers] == [401, 401, 429]
    assert answers[2].header("retry-after") == "10"


async def test_head_is_get_without_a_body() -> None:
    plane, _ = await prepared()
    get = await call(plane.edge, "GET", "/health")
    head = await call(plane.edge, "HEAD", "/health")
    assert (head.status, head.body) == (200, b"")
    assert head.header("content-length") == str(len(get.body))
    post = await call(plane.edge, "HEAD", "/api/session/link")
    assert (post.status, post.header("allow")) == (405, "OPTIONS, POST")


async def test_a_missing_entitlement_is_refused() -> None:
    asked: list[str] = []

    def gate(principal: Principal, name: str) -> bool:
        asked.append(name)
        return principal.scope == "operator"

    plane = StubPlane(table=tuple(map(_gated, ENDPOINTS)), options={"gate": gate})
    tokens = await plane.prepare()
    path = "/api/instances"
    assert (await call(plane.edge, "GET", path, headers=json_headers(tokens.owner))).status == 402
    assert (
        await call(plane.edge, "GET", path, headers=json_headers(tokens.operator))
    ).status == 200
    assert asked == ["fleet", "fleet"]


def _gated(row: Endpoint) -> Endpoint:
    return replace(row, gate="fleet") if row.name == "instance.list" else row


async def test_a_handler_that_answers_what_it_does_not_declare_is_found_out() -> None:
    plane, tokens = await prepared()

    async def look(made: Call) -> Reply:
        return Reply({"nonsense": 1})

    plane = handled(plane, "agent.list", look)
    answer = await call(plane.edge, "GET", "/api/agents", headers=json_headers(tokens.owner))
    assert answer.status == 500
    assert "does not declare" in str(plane.log.lines[0][2]["exc_info"])


async def test_each_row_has_exactly_one_handler() -> None:
    async def nothing(made: Call) -> Reply:
        return Reply()

    plane = StubPlane()
    with pytest.raises(ValueError, match=r"without row: \['no-such'\]"):
        StubPlane(overrides={"no-such": nothing})
    with pytest.raises(ValueError, match=r"without handler: .*agent\.list"):
        Edge(
            ENDPOINTS, {}, authenticator=plane.access, browsers=plane.browsers, audit=plane.store,
            clock=plane.clock, log=plane.log, rates=Rates(plane.clock), request_prefix="t",
        )  # fmt: skip


class Ticker:
    """A stream without an end, which notes that it was closed."""

    def __init__(self) -> None:
        self.closed = False

    async def run(self) -> AsyncIterator[bytes]:
        try:
            yield b"data: first\n\n"
            await asyncio.Event().wait()
        finally:
            self.closed = True


async def stream(plane: StubPlane, token: str, ticker: Ticker, end: Any) -> list[Any]:
    """Open a stream, do `end` after its first chunk, and return what was sent."""

    async def look(made: Call) -> Reply:
        return Reply(stream=ticker.run(), content_type="text/event-stream")

    plane = handled(plane, "page.events", look)
    gone = asyncio.Event()
    first = asyncio.Event()
    sent: list[Any] = []

    async def receive() -> Any:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)
        if message.get("body"):
            first.set()

    scope = scope_of("GET", EVENTS, json_headers(token), "p")
    serving = asyncio.create_task(plane.edge(scope, receive, send))
    await first.wait()
    end(plane, gone)
    await asyncio.wait_for(serving, patience(5))
    return sent


async def test_a_stream_ends_when_its_reader_goes_or_the_plane_closes() -> None:
    for end in (lambda plane, gone: gone.set(), lambda plane, gone: plane.edge.close()):
        plane, tokens = await prepared()
        ticker = Ticker()
        sent = await stream(plane, tokens.owner, ticker, end)
        assert ticker.closed
        assert sent[0]["status"] == 200
        assert sent[1]["body"] == b"data: first\n\n"
        assert sent[-1] == {"type": "http.response.body", "body": b""}


async def test_a_stream_is_sent_whole_and_refused_when_there_are_too_many() -> None:
    plane, tokens = await prepared()
    given = json_headers(tokens.owner)
    whole = await call(plane.edge, "GET", EVENTS, headers=given)
    assert (whole.status, whole.body) == (200, b"data: one\n\ndata: two\n\n")
    none, tokens = await prepared(limits=EdgeLimits(streams_each=0))
    refused = await call(none.edge, "GET", EVENTS, headers=json_headers(tokens.owner))
    assert refused.json()["code"] == "too_many_streams"
