"""Rules let in what they name and nothing more; marks and lists are read as they are meant."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.pairing.commands import approve, detect_channels, dismiss
from holdfast.pairing.limits import FORGET_SLACK_MS, FORGET_UNTIMED_MS
from holdfast.pairing.policy import Rule, lets_in, remembered
from holdfast.pairing.requests import (
    Asked,
    Waiting,
    find,
    is_expired,
    marks,
    named,
    of_channel,
    of_device,
    read_list,
    request_id,
)
from holdfast.pairing.state import Decision, Pairing
from holdfast.pairing.visibility import Shown, forget_at, shown
from holdfast.wire.controller.pairing import ChannelRequest, DeviceRequest
from tests.unit.pairing.rig import INSTANCE, UUID, device, telegram

OPERATOR = Rule(id="r", kind="device", sender="*", role="operator", scopes=("operator.read",))


@pytest.mark.parametrize(
    ("rule", "request_", "wanted"),
    [
        ({"kind": "channel", "channel": "telegram", "sender": "777001"}, telegram(), True),
        ({"kind": "channel", "channel": "telegram", "sender": "*"}, telegram(), True),
        ({"kind": "channel", "channel": "telegram", "sender": "7"}, telegram(), False),
        ({"kind": "channel", "channel": "discord", "sender": "*"}, telegram(), False),
        ({"kind": "device", "role": "*", "scopes": ("*",), "sender": "*"}, telegram(), False),
        ({"kind": "channel", "channel": "telegram", "sender": "*"}, device(), False),
    ],
)
def test_a_channels_rule(rule: dict[str, Any], request_: Waiting, *, wanted: bool) -> None:
    assert lets_in(Rule(id="r", **rule), request_, 0) is wanted


@pytest.mark.parametrize(
    ("roles", "scopes", "wanted"),
    [
        (("operator",), ("operator.read",), True),
        (("operator",), (), True),
        (("operator",), ("operator.read", "operator.write"), False),
        (("operator",), None, False),
        (("node",), ("operator.read",), False),
        (("operator", "node"), ("operator.read",), False),
        ((), ("operator.read",), False),
    ],
)
def test_a_devices_rule_caps_role_and_scopes(
    roles: tuple[str, ...], scopes: tuple[str, ...] | None, *, wanted: bool
) -> None:
    assert lets_in(OPERATOR, device(roles=roles, scopes=scopes), 0) is wanted


@pytest.mark.parametrize(
    ("role", "cap", "roles", "scopes", "wanted"),
    [
        ("*", ("a",), ("node", "operator"), ("a",), True),
        ("*", ("a",), (), ("a",), True),
        ("*", ("a",), ("node",), ("b",), False),
        ("operator", ("*",), ("operator",), ("anything",), True),
        ("operator", ("*",), ("operator",), None, True),
        ("operator", ("*",), ("node",), (), False),
        ("operator", (), ("operator",), (), True),
        ("operator", (), ("operator",), ("a",), False),
    ],
)
def test_a_star_stands_for_any_role_or_any_scopes_and_not_for_both(
    role: str,
    cap: tuple[str, ...],
    roles: tuple[str, ...],
    scopes: tuple[str, ...] | None,
    *,
    wanted: bool,
) -> None:
    rule = Rule(id="r", kind="device", sender="*", role=role, scopes=cap)
    assert lets_in(rule, device(roles=roles, scopes=scopes), 0) is wanted


def test_a_rule_ends_at_its_end() -> None:
    rule = Rule(id="r", kind="channel", channel="telegram", sender="*", expires_ms=100)
    assert lets_in(rule, telegram(), 99)
    assert not lets_in(rule, telegram(), 100)


def test_a_sender_is_remembered_only_as_far_as_known() -> None:
    def kept(request: Waiting) -> Rule | None:
        return remembered(request, rule_id="r", by="ann", now_ms=1)

    rule = kept(telegram())
    assert rule is not None
    assert (rule.channel, rule.sender, rule.expires_ms) == ("telegram", "777001", 0)
    known = kept(device(roles=("operator",), scopes=("b", "a")))
    assert known is not None
    assert (known.role, known.scopes, known.sender) == ("operator", ("a", "b"), "dev1")
    assert kept(device(roles=("operator",), scopes=None)) is None
    assert kept(device(roles=("operator", "node"), scopes=())) is None
    assert kept(telegram(sender="")) is None


def test_marks_find_the_same_request_in_another_form() -> None:
    by_code = Asked(kind="channel", channel="telegram", code="ab12")
    assert find([telegram()], by_code) == telegram()
    assert find([telegram()], Asked(kind="channel", channel="discord", code="AB12")) is None
    assert find([device()], named(UUID.upper())) == device()
    assert marks(Asked(kind="channel", channel="telegram")) == ()
    full = telegram(created_ms=7)
    assert set(full.marks) & set(telegram(code="", created_ms=7).marks)
    assert not set(full.marks) & set(telegram(code="", created_ms=8).marks)


def test_a_request_is_over_one_ms_after_its_end() -> None:
    channel = of_channel(
        ChannelRequest(channel="telegram", id="7", code="AB", created_at="1970-01-01T00:00:00Z")
    )
    assert channel is not None
    assert not is_expired(channel, 3_600_000)
    assert is_expired(channel, 3_600_001)
    asked = of_device(DeviceRequest(request_id=UUID, device_id="d", ts=0.0), has_scopes=True)
    assert asked is not None
    assert not is_expired(asked, 300_000)
    assert is_expired(asked, 300_001)
    untimed = of_device(DeviceRequest(request_id=UUID, device_id="d"), has_scopes=False)
    assert untimed is not None
    assert (untimed.expires_ms, untimed.scopes) == (None, None)


@pytest.mark.parametrize(
    "told",
    [
        ChannelRequest(channel="telegram", id="", code="AB"),
        ChannelRequest(channel="telegram", id="7", code=""),
        ChannelRequest(channel="telegram", id="7", code="A-B"),
        DeviceRequest(request_id="no-uuid", device_id="d"),
        DeviceRequest(request_id=UUID + "\n", device_id="d"),
        DeviceRequest(request_id=UUID, device_id=""),
    ],
)
def test_what_nobody_could_decide_about_is_left_out(told: ChannelRequest | DeviceRequest) -> None:
    if isinstance(told, ChannelRequest):
        assert of_channel(told) is None
    else:
        assert of_device(told, has_scopes=True) is None


def test_one_bad_item_does_not_spoil_a_printed_list() -> None:
    text = 'a hint\n{"requests": [5, {"id": "7", "code": "AB"}, {"id": 5, "code": "x"}]}'
    found = read_list(text, "requests", ChannelRequest, channel="telegram")
    assert found == [ChannelRequest(channel="telegram", id="7", code="AB")]
    for nonsense in ("", "[]", '{"requests": 5}', "{", '{"ok": false}'):
        assert read_list(nonsense, "requests", ChannelRequest, channel="telegram") is None


def test_what_was_decided_is_not_shown_and_what_failed_is() -> None:
    def state(status: Any) -> Pairing:
        decision = Decision(
            serial=1, verb="approve", status=status, marks=telegram().marks, at_ms=0,
            until_ms=0, forget_ms=9,
        )  # fmt: skip
        return Pairing(instance=INSTANCE, decisions=(decision,))

    listed = (telegram(), device(), device())
    for status in ("done", "doubted"):
        assert shown(listed, state(status), 0) == (Shown(device()),)
    for status in ("asked", "sent", "failed"):
        first, second = shown(listed, state(status), 0)
        assert first.decision is not None
        assert second == Shown(device())
    assert shown((telegram(expires_ms=5),), Pairing(instance=INSTANCE), 6) == ()


def test_a_decision_is_remembered_longer_than_its_request_lives() -> None:
    assert forget_at(telegram(expires_ms=100), 10) == 100 + FORGET_SLACK_MS
    assert forget_at(telegram(), 10) == 10 + FORGET_UNTIMED_MS
    assert forget_at(None, 10) == 10 + FORGET_UNTIMED_MS


def test_names_go_both_ways() -> None:
    for request in (telegram(), device()):
        assert request_id(named(request_id(request.asked))) == request_id(request.asked)


def test_command_lines_are_the_contracts() -> None:
    home = ("/usr/bin/env", "HOME=/root", "openclaw")
    assert approve("image", telegram().asked) == (
        *home, "pairing", "approve", "telegram", "AB12", "--notify",
    )  # fmt: skip
    assert approve("image", device().asked) == (*home, "devices", "approve", UUID)
    assert dismiss("image", telegram().asked) is None
    process = approve("process", telegram().asked)
    assert process[:2] == ("/bin/sh", "-c")
    assert process[3:] == ("holdfast", "pairing", "approve", "telegram", "AB12", "--notify")


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ('{"channels":{"telegram":{"enabled":true,"botToken":"x"}}}', ("telegram",)),
        ('{"channels":{"telegram":{"enabled":false,"botToken":"x"}}}', ()),
        ('{"channels":{"slack":{"enabled":1,"appToken":"x"}}}', ("slack",)),
        ('{"channels":{"discord":{"enabled":true}}}', ()),
        ('{"channels":5}', ()),
        ("{}", ()),
        ("[]", None),
        ("{", None),
    ],
)
def test_channels_are_those_that_are_on_and_have_a_token(
    config: str, wanted: tuple[str, ...] | None
) -> None:
    assert detect_channels(config) == wanted
