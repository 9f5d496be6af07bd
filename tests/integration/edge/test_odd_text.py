"""Text that no parser expects, at the edge: a 4xx that names the field and what to do."""

from __future__ import annotations

import pytest

from tests.support.asgi import call, json_headers
from tests.support.stub_plane import StubPlane

DIGITS = "9" * 5_000


@pytest.fixture
async def opened() -> tuple[StubPlane, str]:
    made = StubPlane()
    return made, (await made.prepare()).owner


@pytest.mark.parametrize("origin", ["http://[::1", "http://[", "http://a:b", "//", "\xff", "null"])
async def test_a_malformed_origin_is_another_site(
    opened: tuple[StubPlane, str], origin: str
) -> None:
    plane, _ = opened
    headers = {**json_headers(), "origin": origin}
    answer = await call(plane.edge, "POST", "/api/session/link", headers=headers, body=b"{}")
    assert answer.status == 403
    assert answer.json()["field"] == "origin"
    assert answer.json()["fix"]


@pytest.mark.parametrize("length", ["5 ", "+5", "5_0", "0x5", DIGITS, "\xb2", "5, 5", ""])
async def test_a_content_length_that_is_no_number(
    opened: tuple[StubPlane, str], length: str
) -> None:
    plane, token = opened
    headers = {**json_headers(token), "content-length": length}
    answer = await call(plane.edge, "POST", "/api/instances", headers=headers, body=b"{}")
    assert answer.status == 400
    assert answer.json()["field"] == "content-length"


@pytest.mark.parametrize("after", ["9" * 200, "9" * 20, str(2**63), "-1", "1_0", "o1"])
async def test_a_cursor_that_no_page_gave(opened: tuple[StubPlane, str], after: str) -> None:
    plane, token = opened
    answer = await call(plane.edge, "GET", f"/api/audit?after={after}", headers=json_headers(token))
    assert answer.status == 400
    assert answer.json()["field"] == "after"


@pytest.mark.parametrize("host", ["[::1", "a b", "a/b", "x@localhost", "\xff", "a:99999"])
async def test_a_host_that_is_none_is_not_ours(host: str) -> None:
    plane = StubPlane(options={"hosts": frozenset({"localhost"})})
    answer = await call(plane.edge, "GET", "/health", headers={"host": host})
    assert answer.status == 421
    assert answer.json()["field"] == "host"


async def test_what_is_nested_too_deeply_is_refused_before_anything_is_made_of_it(
    opened: tuple[StubPlane, str],
) -> None:
    plane, token = opened
    target, headers = "/api/instances/inst-of-local/config", json_headers(token)
    for depth, status in ((60, 200), (70, 400), (400, 400), (5_000, 400), (100_000, 400)):
        body = b'{"config":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"
        answer = await call(plane.edge, "PUT", target, headers=headers, body=body)
        assert answer.status == status, (depth, answer.body)
