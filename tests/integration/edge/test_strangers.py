"""What strangers, other sites and short-lived tokens do not get from the edge, in memory."""

from __future__ import annotations

import msgspec

from holdfast.kernel.clock import ManualClock
from holdfast.plane.edge.auth import https_host
from holdfast.relay.rate import Rate, Rates
from holdfast.wire.api.table import by_name
from tests.integration.edge.test_edge import EVENTS, prepared, sign_in
from tests.support.asgi import Answer, call, json_headers
from tests.support.walk import target_of


async def test_by_its_public_https_name_the_cookie_is_secure_without_any_proxy() -> None:
    plane, _ = await prepared(https_host=https_host("https://plane.example"))
    for host, secure in (("plane.example", True), ("127.0.0.1:8700", False)):
        secret, _ = await plane.directory.make_link("operator")
        answer = await call(
            plane.edge, "POST", "/api/session/link", body=msgspec.json.encode({"link": secret}),
            headers={**json_headers(), "host": host},
        )  # fmt: skip
        assert answer.header("set-cookie").endswith("; Secure") is secure
    assert https_host("http://plane.example") == https_host("") == ""


async def test_another_site_cannot_use_up_the_tries_to_sign_in() -> None:
    clock = ManualClock()
    plane, _ = await prepared(rates=Rates(clock, sign_ins=Rate(burst=2, per_s=0.1)))
    for _ in range(5):
        headers = {**json_headers(), "sec-fetch-site": "cross-site"}
        answer = await call(plane.edge, "POST", "/api/session/password", headers=headers)
        assert answer.json()["code"] == "cross_site"
    assert (await sign_in(plane))[1]


async def test_an_ipv6_network_shares_its_tries_to_sign_in() -> None:
    plane, _ = await prepared(rates=Rates(ManualClock(), sign_ins=Rate(burst=2, per_s=0.1)))
    answers = [
        await call(
            plane.edge, "POST", "/api/session/link", headers=json_headers(),
            body=b'{"link":"hfl_x"}', peer=f"2001:db8:1:2::{host}",
        )
        for host in range(1, 4)
    ]  # fmt: skip
    assert [answer.status for answer in answers] == [401, 401, 429]


async def test_a_link_elsewhere_makes_nobody_rehearse() -> None:
    plane, _ = await prepared()
    browser, _ = await sign_in(plane)
    target = target_of(by_name["page.instance-next"])
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200)):
        headers = {**browser, "sec-fetch-site": site}
        assert (await call(plane.edge, "GET", target, headers=headers)).status == status
    looked = await call(plane.edge, "GET", "/", headers={**browser, "sec-fetch-site": "cross-site"})
    assert looked.status == 200


async def test_a_token_makes_none_that_outlives_it() -> None:
    plane, tokens = await prepared()
    short, _ = await plane.directory.make_token(
        "short", scope="owner", account="local", created_by="t", life_s=600
    )

    async def make(token: str, life_s: int | None) -> Answer:
        body = {"name": "child"} | ({} if life_s is None else {"expires_in_s": life_s})
        return await call(
            plane.edge, "POST", "/api/tokens",
            headers=json_headers(token), body=msgspec.json.encode(body),
        )  # fmt: skip

    plane.clock.advance(300_000)
    for life_s in (None, 301):
        assert (await make(short, life_s)).json()["code"] == "lives_too_long"
    assert (await make(short, 300)).status == 201
    assert (await make(tokens.owner, None)).status == 201


async def test_a_page_that_leads_its_name_here_gets_nothing() -> None:
    plane, tokens = await prepared(hosts=frozenset({"localhost"}))
    evil = {"host": "evil.example:8700", "origin": "http://evil.example:8700"}
    guess = {**json_headers(), **evil}
    answer = await call(plane.edge, "POST", "/api/session/password", headers=guess)
    assert (answer.status, answer.json()["code"]) == (421, "unknown_host")
    for target in ("/health", EVENTS, "/nowhere"):
        answer = await call(
            plane.edge, "GET", target, headers={**json_headers(tokens.operator), **evil}
        )
        assert answer.status == 421
    assert (await call(plane.edge, "GET", "/health", headers={"host": "[::1]:1"})).status == 200
