"""Who waits, what was decided and what a policy says, as the pages print it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from holdfast.web.live_page import fingerprint
from holdfast.web.pages.instance import sources
from holdfast.web.parts.decisions import settled
from holdfast.web.parts.inbox import inbox
from holdfast.web.parts.moments import left_words
from holdfast.web.parts.pairing_policy import policy, rule_words
from holdfast.web.parts.secrets import secrets_panel
from holdfast.wire.api.pairing import (
    PairingEntry,
    PairingHistory,
    PairingInbox,
    PairingList,
    PairingPolicy,
    PairingRule,
    PairingSource,
    PairingTrouble,
)
from holdfast.wire.api.secrets import SecretField, SecretGroup, SecretList
from holdfast.wire.times import time_text
from tests.support.sample_pairing import channel, device
from tests.unit.web.sample_pages import SamplePages

NOW = 1_795_000_000_000


def entry(number: int, what: str, request: str = "telegram:A", **fields: Any) -> PairingEntry:
    plain = {"event": f"e{number}", "at": time_text(NOW + number), "what": what}
    return msgspec.convert(plain | {"request_id": request, "sender": "Ana"} | fields, PairingEntry)


def test_a_request_says_who_where_and_until_when_and_carries_its_orders() -> None:
    (row,) = inbox(
        PairingInbox(items=(channel(0, "in-1", "birch", now_ms=NOW),), total=1), {}, now_ms=NOW
    ).requests
    assert (row.who, row.said, row.channel, row.instance) == (
        "Ana Souza", "84120000", "Telegram", "birch",
    )  # fmt: skip
    assert row.expires is not None
    assert row.expires.words == "56 min 0 s"
    assert row.approve.url == "/api/instances/in-1/pairing/approve"
    named = {"request_id": "telegram:QWERTZUP", "fingerprint": "0000000000000000"}
    assert row.approve.body == named
    assert row.remember.body == named | {"remember": True}
    assert row.dismiss.url.endswith("/dismiss")
    assert ("code", "QWERTZUP", True) in row.facts


def test_the_orders_of_a_request_say_what_was_seen() -> None:
    asked = device(7, "in-1", "birch", now_ms=NOW, fingerprint="00000000000000aa")
    (row,) = inbox(PairingInbox(items=(asked,), total=1), {}, now_ms=NOW).requests
    for order in (row.approve, row.remember, row.dismiss):
        assert order.body["fingerprint"] == "00000000000000aa"


def test_a_device_is_told_by_what_it_is_and_may_do() -> None:
    (row,) = inbox(
        PairingInbox(items=(device(7, "in-1", "birch", now_ms=NOW),), total=1), {}, now_ms=NOW
    ).requests
    assert (row.who, row.channel, row.kind) == ("openclaw-control-ui", "A device", "device")
    facts = {fact.name: fact.value for fact in row.facts}
    assert facts["platform"] == "macos"
    assert facts["role"] == "operator"
    assert facts["may"] == "operator.read, operator.approvals"


def test_what_has_expired_is_neither_shown_nor_counted() -> None:
    gone = channel(0, "in-1", "birch", now_ms=NOW, expires_at=time_text(NOW))
    there = channel(1, "in-1", "birch", now_ms=NOW)
    page = inbox(PairingInbox(items=(gone, there), total=7), {}, now_ms=NOW)
    assert [row.approve.body["request_id"] for row in page.requests] == [there.request_id]
    assert (page.total, page.more) == (6, 5)


def test_doubt_is_said_at_the_request_and_at_the_instance() -> None:
    rows = (
        channel(0, "in-1", "birch", now_ms=NOW),
        channel(1, "in-2", "cedar", now_ms=NOW, error="the agent answered 500"),
        channel(2, "in-3", "delta", now_ms=NOW, deciding="approve"),
    )
    trouble = PairingTrouble(instance="in-1", instance_name="birch", error="it does not answer")
    page = inbox(PairingInbox(items=rows, total=3, troubles=(trouble,)), {}, now_ms=NOW)
    assert "may be old" in page.requests[0].doubt
    assert page.requests[1].doubt == "The last try failed: the agent answered 500"
    assert page.requests[2].deciding == "approving"
    assert [(each.instance, each.text) for each in page.troubles] == [
        ("birch", "it does not answer")
    ]


def test_of_an_order_and_its_outcome_the_outcome_is_shown() -> None:
    entries = (
        entry(6, "policy", ""),
        entry(5, "approve", "telegram:B"),
        entry(4, "approved", sender="", via="controller"),
        entry(3, "approve", by="olga", channel="telegram"),
        entry(2, "failed", message="it timed out"),
        entry(1, "approve"),
    )
    assert [each.event for each in settled(entries)] == ["e5", "e4", "e2"]
    page = inbox(
        PairingInbox(items=(), total=0),
        {"in-1": ("birch", PairingHistory(entries=entries))},
        now_ms=NOW,
    )
    assert [(row.badge.text, row.text) for row in page.decisions] == [
        ("approving", ""), ("approved", ""), ("failed", "it timed out"),
    ]  # fmt: skip
    assert page.decisions[0].instance == "birch"
    done = page.decisions[1]
    assert (done.who, done.channel, done.by) == ("Ana", "Telegram", "by olga")


def test_decisions_of_many_instances_stand_newest_first_and_say_who_decided() -> None:
    page = inbox(
        PairingInbox(items=(), total=0),
        {
            "in-1": ("birch", PairingHistory(entries=(entry(1, "approved", by="olga"),))),
            "in-2": ("", PairingHistory(entries=(entry(2, "approved", rule="r1", by="olga"),))),
        },
        now_ms=NOW,
    )
    assert [(row.instance, row.by) for row in page.decisions] == [
        ("in-2", "by a rule"), ("birch", "by olga"),
    ]  # fmt: skip


def test_the_time_that_passes_alone_makes_no_other_page() -> None:
    found = PairingInbox(items=(channel(0, "in-1", "birch", now_ms=NOW),), total=1)
    renderer = SamplePages().pages.context.renderer
    one, later, over = (
        fingerprint(
            renderer.draw_elements(
                "pairing.html", ("inbox", "inbox-said"), inbox=inbox(found, {}, now_ms=NOW + ms)
            )
        )
        for ms in (0, 90_000, 3_600_000)
    )
    assert one == later
    assert one != over


@pytest.mark.parametrize(
    ("source", "word"),
    [
        (PairingSource(name="slack"), "read"),
        (PairingSource(name="slack", error="busy", stale=True), "old"),
        (PairingSource(name="slack", error="unknown layout"), "unknown"),
    ],
)
def test_a_source_that_was_not_read_is_unknown_and_not_empty(
    source: PairingSource, word: str
) -> None:
    found = PairingList(
        instance="in-1", items=(), via="controller", complete=False, sources=(source,)
    )
    (row,) = sources(found, now_ms=NOW)
    assert (row.name, row.badge.text, row.text) == ("Slack", word, source.error)


def test_a_policy_carries_the_policies_that_its_buttons_set() -> None:
    rules = (
        PairingRule(kind="channel", sender="42", channel="telegram", id="r1", by="olga"),
        PairingRule(kind="device", sender="*", role="operator", scopes=("read",), id="r2"),
    )
    shown = policy(PairingPolicy(instance="in-1", mode="rules", version=3, rules=rules), now_ms=NOW)
    assert [row.text for row in shown.rules] == [
        "42, on Telegram", "any device as operator, asking for read at most",
    ]  # fmt: skip
    assert shown.rules[0].without == {
        "mode": "rules",
        "version": 3,
        "rules": [
            {"id": "r2", "kind": "device", "sender": "*", "role": "operator", "scopes": ["read"]}
        ],
    }
    assert shown.turned["mode"] == "manual"
    assert len(shown.turned["rules"]) == 2
    assert rule_words(PairingRule(kind="channel", sender="*", channel="slack")) == (
        "anybody, on Slack"
    )


def test_secrets_are_told_by_what_is_set_and_taken_away_together() -> None:
    def field(key: str, *, is_set: bool) -> SecretField:
        return SecretField(key=key, variable=key.upper(), label=key, is_set=is_set)

    groups = (
        SecretGroup(
            id="discord", label="Discord", all_required=False, fields=(field("d", is_set=False),)
        ),
        SecretGroup(
            id="slack", label="Slack", all_required=True,
            fields=(field("bot", is_set=True), field("app", is_set=False)),
        ),
    )  # fmt: skip
    panel = secrets_panel(
        SecretList(instance="in-1", groups=groups, custom=(), configured=("bot",), config_version=1)
    )
    assert [(row.label, row.badge.text) for row in panel.groups] == [
        ("Slack", "incomplete"), ("Discord", "not set"),
    ]  # fmt: skip
    assert panel.groups[0].removal == {"secrets": {"bot": None}}
    assert panel.variables == {"D", "BOT", "APP"}


@pytest.mark.parametrize(
    ("left_ms", "words"),
    [
        (-1, "expired"), (0, "expired"), (999, "0 s"), (59_999, "59 s"), (60_000, "1 min 0 s"),
        (3_599_000, "59 min 59 s"), (3_600_000, "1 h 0 min"), (90_000_000, "1 d 1 h"),
    ],
)  # fmt: skip
def test_what_is_left_is_told_by_two_units(left_ms: int, words: str) -> None:
    assert left_words(NOW + left_ms, NOW) == words
