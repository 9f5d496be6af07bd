"""Every route of the table, refused in every way it must refuse."""

from __future__ import annotations

from holdfast.wire.api.table import ENDPOINTS
from tests.support.asgi import call, json_headers
from tests.support.stub_plane import OWNED, StubPlane
from tests.support.walk import body_of, target_of, walk


async def test_every_route_refuses_what_it_must() -> None:
    plane = StubPlane()
    findings = await walk(plane.edge, ENDPOINTS, await plane.prepare(), theirs=OWNED)
    assert not findings.wrong, "\n".join(findings.wrong)
    assert findings.looked > 8 * len(ENDPOINTS)
    assert not [line for line in plane.log.lines if line[0] == "error"]


async def test_every_route_answers_whom_it_is_for() -> None:
    plane = StubPlane()
    tokens = await plane.prepare()
    wrong = []
    for row in ENDPOINTS:
        if row.scope == "machine" or row.name in {"session.link", "session.password"}:
            continue
        # The accounts' own handlers are real: what they need is tested with them.
        answer = await call(
            plane.edge,
            row.method,
            target_of(row, id=OWNED),
            headers=json_headers(tokens.of(row)),
            body=body_of(row),
        )
        if answer.status >= 400 and not row.name.startswith(("token", "link", "session")):
            wrong.append((row.name, answer.status, answer.body))
    assert not wrong
