"""Every route of the real plane, in this process and without a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings

from holdfast.kernel.clock import SystemClock
from holdfast.plane.settings import load_settings
from holdfast.plane.wiring.plane import make_plane
from holdfast.wire.api.table import ENDPOINTS
from tests.support.asgi import Answer, call, json_headers
from tests.support.logs import Lines
from tests.support.real_plane import Made, end, make
from tests.support.schemas import CHECKS, LABELS, SCHEMA, exercise
from tests.support.walk import body_of, target_of, walk


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[Made]:
    found = await make(tmp_path / "home")
    yield found
    await end(found)


async def test_every_route_refuses_what_it_must(made: Made) -> None:
    findings = await walk(made.plane.app, ENDPOINTS, made.tokens, theirs=made.instance)
    assert not findings.wrong, "\n".join(findings.wrong)
    assert made.log.at_least("error", "critical") == []


async def test_every_route_answers_whom_it_is_for(made: Made) -> None:
    wrong = []
    for row in ENDPOINTS:
        if row.scope == "machine" or row.kind == "stream":
            continue
        answer = await call(
            made.plane.app, row.method, target_of(row, id=made.instance, kind="instance", wait="0"),
            headers=json_headers(made.tokens.of(row)), body=body_of(row),
        )  # fmt: skip
        if answer.status >= 500 and answer.status in row.statuses:
            continue  # what is not supported is reported
        if answer.status >= 500 or (answer.status not in row.statuses and answer.status < 400):
            wrong.append((row.name, answer.status, answer.body))
    assert not wrong
    assert made.log.at_least("error", "critical") == []


async def test_an_idempotency_key_with_another_body_is_refused(made: Made) -> None:
    headers = {**json_headers(made.tokens.owner), "idempotency-key": "order-1"}

    async def create(body: bytes, **more: str) -> Answer:
        given = {**headers, **more}
        return await call(made.plane.app, "POST", "/api/instances", headers=given, body=body)

    first = await create(b'{"name":"one","desired":"stopped"}')
    assert first.status == 201
    again = await create(b'{ "desired": "stopped", "name": "one" }')
    assert (again.status, again.json()["id"]) == (201, first.json()["id"]), "it says the same"
    other = await create(b'{"name":"two","desired":"stopped"}')
    assert (other.status, other.json()["code"]) == (422, "idempotency_key_reused")
    assert other.json()["field"] == "idempotency-key"
    named = await create(b'{"name":"two","desired":"stopped"}', **{"idempotency-key": "order-2"})
    assert named.status == 201
    target = f"/api/instances/{first.json()['id']}/stop"
    for reason, status in ((b"a", 200), (b"a", 200), (b"b", 422)):
        answer = await call(
            made.plane.app, "POST", target, headers=headers, body=b'{"reason":"%b"}' % reason
        )
        assert answer.status == status, answer.body


async def test_a_start_that_fails_closes_what_it_opened(tmp_path: Path) -> None:
    chosen = load_settings({}, home=str(tmp_path / "home"))
    plane = await make_plane(chosen, clock=SystemClock(), log=Lines(), url="http://plane.test")

    async def broken() -> None:
        raise RuntimeError("no alarms today")

    plane.core.engine.alarms.start = broken  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="no alarms today"):
        await plane.start()
    await plane.stop()
    again = await make(tmp_path / "home")
    await again.plane.stop()
    (tmp_path / "home" / "keyring.json").write_text("{")
    with pytest.raises(Exception, match="keyring"):
        await make_plane(chosen, clock=SystemClock(), log=Lines(), url="http://plane.test")
    assert not [t for t in asyncio.all_tasks() if t.get_name().startswith("holdfast")]


async def test_a_lost_lease_is_said_and_ends_all_deciding(made: Made) -> None:
    plane = made.plane
    assert await plane.core.stores.journal.lease("another") > plane.core.engine.lease.epoch
    headers = json_headers(made.tokens.operator)
    target = f"/api/instances/{made.instance}/start"
    answer = await call(plane.app, "POST", target, headers=headers, body=b"{}")
    assert answer.status == 202
    health = await call(plane.app, "GET", "/health")
    assert (health.status, health.json()["status"]) == (200, "degraded")
    report = (await call(plane.app, "GET", "/api/doctor", headers=headers)).json()
    assert not report["ok"]
    found = {c["name"]: c for c in report["checks"]}["engine"]
    assert "another plane took the lease" in found["message"]
    assert [line for line in made.log.lines if line[1] == "lease.lost"]


# -- schemathesis ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Made, asyncio.Runner]]:
    with asyncio.Runner() as runner:
        found = runner.run(make(tmp_path_factory.mktemp("fuzzed") / "home"))
        yield found, runner
        runner.run(end(found))


_SETTINGS = settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[
        HealthCheck.data_too_large,
        HealthCheck.filter_too_much,
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
    ],
)


@pytest.mark.parametrize("label", LABELS)
def test_the_plane_keeps_to_its_own_description(
    opened: tuple[Made, asyncio.Runner], label: str
) -> None:
    made, runner = opened

    @_SETTINGS
    def keeps_to_it(case: Any) -> None:
        given = case.headers or {}
        case.headers = {**given, "authorization": f"Bearer {made.tokens.operator}"}
        case.validate_response(runner.run(answered(made, case)), checks=CHECKS)

    exercise(SCHEMA, label, keeps_to_it)


async def answered(made: Made, case: Any) -> Any:
    """Return the application's answer to a case, as schemathesis reads one."""
    import requests  # noqa: PLC0415

    sent = requests.Request(**case.as_transport_kwargs(base_url="http://plane.test")).prepare()
    body: Any = sent.body or b""
    answer = await call(
        made.plane.app,
        str(sent.method),
        str(sent.path_url),
        headers={k.lower(): str(v) for k, v in sent.headers.items() if k.lower() != "host"},
        body=body.encode() if isinstance(body, str) else body,
    )
    headers: dict[str, list[str]] = {}
    for name, value in answer.headers:
        headers.setdefault(name, []).append(value)
    return schemathesis.Response(
        status_code=answer.status,
        headers=headers,
        content=answer.body,
        request=sent,
        elapsed=0.0,
        verify=True,
    )
