"""What the agents' hosts decide without a network: names, headers, codes, pages."""

from __future__ import annotations

import asyncio
import itertools
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import Mock

import pytest

from holdfast.kernel.clock import ManualClock
from holdfast.plane.agent_proxy import headers, pages
from holdfast.plane.agent_proxy.app import AgentSide
from holdfast.plane.agent_proxy.hosts import AgentHosts
from holdfast.plane.agent_proxy.sessions import CODE_MS, KEPT_MAX, SESSION_MS, SignOvers
from holdfast.plane.edge.auth import parse_networks
from holdfast.relay import http1
from holdfast.relay.peers import Peers

ID = "0b1c2d3e-4f50-4a6b-8c7d-9e0f1a2b3c4d"
LABEL = ID.replace("-", "")


def test_hosts_lead_to_instances_and_back() -> None:
    hosts = AgentHosts("Agents.Example.")
    assert hosts.host(ID, beside="plane.example:8700") == f"{LABEL}.agents.example:8700"
    assert hosts.host(ID, beside="plane.example") == f"{LABEL}.agents.example"
    assert hosts.instance(f"{LABEL.upper()}.AGENTS.example:8700") == ID
    for other in (
        "agents.example", f"{LABEL}.example", f"x.{LABEL}.agents.example",
        f"{LABEL}x.agents.example", f"{LABEL}.agents.example.evil", "", "[",
        f"{LABEL}.agents.example@evil",
    ):  # fmt: skip
        assert hosts.instance(other) == "", other
    for ours in ("agents.example", "a.b.agents.example:1", f"{LABEL}.agents.example."):
        assert hosts.ours(ours), ours
    for other in ("plane.example", "notagents.example", "127.0.0.1:8700", "localhost", ""):
        assert not hosts.ours(other), other
    with pytest.raises(ValueError, match="no domain"):
        AgentHosts("localhost")


def test_what_is_the_planes_never_reaches_an_agent() -> None:
    sent = headers.to_agent(
        [
            (b"host", b"a.agents.example"), (b"origin", b"https://a.agents.example"),
            (b"cookie", b"hf_session_0a1b=s; theme=dark; __Host-hf_agent_ff=x; hf_agent_0a=y"),
            (b"cookie", b"sid=1; hf_session=z"), (b"x-real-ip", b"6.6.6.6"),
            (b"authorization", b"Bearer hf_operator"), (b"x-forwarded-for", b"6.6.6.6"),
            (b"x-holdfast-proxy-token", b"forged"), (b"x-kiloclaw-proxy-token", b"forged"),
            (b"x-csrf-token", b"c"), (b"accept", b"*/*"), (b"te", b"trailers"),
        ],
        host=b"127.0.0.1:18789",
        token=b"right",
    )  # fmt: skip
    assert sent == [
        (b"host", b"127.0.0.1:18789"), (b"origin", b"http://127.0.0.1:18789"),
        (b"cookie", b"theme=dark"), (b"cookie", b"sid=1"), (b"accept", b"*/*"),
        (b"x-holdfast-proxy-token", b"right"),
    ]  # fmt: skip
    alone = [
        (b"host", b"a"),
        (b"cookie", b"hf_agent_00=x"),
        (b"authorization", b"Bearer agents-own"),
    ]
    kept = dict(headers.to_agent(alone, host=b"b", token=b"t"))
    assert b"cookie" not in kept
    assert kept[b"authorization"] == b"Bearer agents-own", "the agent's own proofs are its own"


def test_an_agents_cookies_are_for_its_host_alone() -> None:
    kept = headers.from_agent(
        [
            (b"set-cookie", b"sid=1; Domain=agents.example; Path=/; HttpOnly"),
            (b"set-cookie", b"b=2;domain=.example;Secure"),
            (b"set-cookie", b"__Host-hf_session_0a=evil; Path=/"),
            (b"set-cookie", b" hf_agent_0a =evil"),
            (b"content-type", b"text/html"),
            (b"server", b"x"),
        ]
    )
    assert kept == [
        (b"set-cookie", b"sid=1; Path=/; HttpOnly"),
        (b"set-cookie", b"b=2;Secure"),
        (b"content-type", b"text/html"),
    ]


FOX = "a kind of browser"


def test_a_code_is_good_once_here_and_now() -> None:
    clock, drawn = ManualClock(), itertools.count()
    sign = SignOvers(clock, lambda: f"{next(drawn):043d}")
    code = sign.offer("one", "session", "http://d")
    assert sign.redeem(code, "two", FOX) == "", "for another agent"
    assert sign.redeem(code, "one", FOX) == "", "a try elsewhere used it up"
    code = sign.offer("one", "session", "http://d")
    clock.advance(CODE_MS)
    assert sign.redeem(code, "one", FOX) == "", "too late"
    secret = sign.redeem(sign.offer("one", "session", "http://d"), "one", FOX)
    signed = sign.find(secret, "one", FOX)
    assert signed is not None
    assert (signed.session, signed.dashboard, signed.bound) == ("session", "http://d", FOX)
    assert sign.find(secret, "two", FOX) is None
    assert sign.find(secret[:-1] + "x", "one", FOX) is None
    assert sign.find(secret, "one", "another browser") is None
    clock.advance(SESSION_MS)
    assert sign.find(secret, "one", FOX) is None


def test_what_is_kept_is_bounded() -> None:
    drawn = itertools.count()
    sign = SignOvers(ManualClock(), lambda: f"{next(drawn):043d}")
    first = sign.offer("one", "session", "")
    for _ in range(KEPT_MAX):
        sign.offer("one", "session", "")
    assert sign.redeem(first, "one", FOX) == ""


def test_a_page_says_what_is_so_and_shows_nothing_as_markup() -> None:
    notice = pages.crashed(("http://d/instances/x", "Its page"), "<b>parked</b>")
    status, found, body = pages.answer(notice, {"accept": "text/html,*/*"})
    assert status == 503
    assert dict(found)[b"retry-after"] == b"5"
    assert b"&lt;b&gt;parked" in body
    assert b"<b>" not in body
    assert b"default-src 'none'" in dict(found)[b"content-security-policy"]
    assert b"<progress" in body, "something is being done about it"
    assert b"<progress" not in pages.render(pages.stopped(("", ""))), "nobody asked for it to run"
    status, found, body = pages.answer(pages.missing(("", "")), {})
    assert dict(found)[b"content-type"] == b"application/json"
    assert b"retry-after" not in dict(found)
    for made in (pages.starting, pages.stopped, pages.no_route, pages.destroying,
                 pages.suspended, pages.missing, pages.signed_out):  # fmt: skip
        assert made(("", "")).title.encode() in pages.render(made(("", "")))


@pytest.mark.parametrize(
    ("trusted", "host", "forwarded", "at_agents"),
    [
        ("", f"{LABEL}.agents.example", "", True),
        ("", "plane.example", f"{LABEL}.agents.example", False),
        ("10.0.0.0/8", "plane.example", f"{LABEL}.agents.example", True),
        ("10.0.0.0/8", f"{LABEL}.agents.example", "plane.example", False),
        ("", "x.agents.example", "", True),
        ("", "", "", False),
    ],
)
async def test_the_host_that_a_browser_sees_decides_who_answers(
    trusted: str,
    host: str,
    forwarded: str,
    at_agents: bool,  # noqa: FBT001
) -> None:
    access: Any = SimpleNamespace(hosts=AgentHosts("agents.example"))
    peers = Peers(100, 100)
    side = AgentSide(access, peers=peers, trusted=parse_networks(trusted), log=cast("Any", None))
    assert side.proxy.peers is peers, "one count for the edge's hosts and agents'"
    answered: list[Any] = []

    async def edge(_scope: Any, _receive: Any, _send: Any) -> None:
        answered.append("edge")

    async def send(message: Any) -> None:
        answered.append(message.get("status"))

    given = [(b"host", host.encode()), (b"x-forwarded-host", forwarded.encode())]
    scope = {
        "type": "http", "method": "GET", "path": "/", "raw_path": b"/", "query_string": b"",
        "client": ("10.0.0.1", 1), "headers": [pair for pair in given if pair[1]],
    }  # fmt: skip
    await side.before(edge)(scope, cast("Any", None), send)
    assert answered == ([421, None] if at_agents else ["edge"])
    transport = Mock(spec=asyncio.Transport)
    told = {"peername": ("10.0.0.1", 1)}
    transport.get_extra_info.side_effect = told.get
    sent = [pair for pair in given if pair[1] or pair[0] == b"host"]
    head = http1.write_head(b"GET / HTTP/1.1", sent)
    assert side.proxy.claims(head, transport) is at_agents
