"""What looks do to what is known and shown: the contract's cases, and what was designed out."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from holdfast.kernel.clock import ManualClock
from holdfast.machine.controller.pairing import limits, views
from holdfast.machine.controller.pairing.apply import make_verdict
from holdfast.machine.controller.pairing.cache import Cache
from holdfast.machine.controller.pairing.openclaw.entries import channel_rows, device_rows
from holdfast.machine.controller.pairing.state import (
    DEVICES,
    Failure,
    Found,
    Look,
    Row,
    Ruling,
)
from holdfast.wire.controller.pairing import ChannelList, DeviceList, Kind
from holdfast.wire.times import time_text

MISSING = Failure("store_missing", "There is no pairing file", missing=True)
BROKEN = Failure("store_unreadable", "The pairing file cannot be read")
STRANGE = Failure("store_unknown", "not known", strange=True)
NO_CONFIG = Failure("config_unreadable", "The agent's configuration cannot be read")
MINUTE = 60_000


class Room:
    """A cache with a clock, and looks by number."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.told: list[int] = []
        self.cache = Cache({}, on_change=lambda: self.told.append(1), clock=self.clock)
        self.number = 0

    def person(self, code: str, *, ago_ms: int = 0, channel: str = "telegram") -> Row:
        at = time_text(self.clock.now_ms() - ago_ms)
        entry = {"id": f"user-{code}", "code": code, "createdAt": at}
        (row,) = channel_rows(channel, [entry])
        return row

    def look(self, number: int | None = None, **found: tuple[Row, ...] | Failure) -> str:
        return self.take({name: Found("json", result) for name, result in found.items()}, number)

    def take(self, look: Look, number: int | None = None, kind: Kind = "channels") -> str:
        self.number = self.number + 1 if number is None else number
        return self.cache.commit(kind, look, self.number)

    def devices(self, result: tuple[Row, ...] | Failure) -> str:
        return self.take({DEVICES: Found("json", result)}, kind="devices")

    def body(self, kind: Kind = "channels") -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.cache.listing(kind).content)
        return found

    def codes(self) -> list[str]:
        return [row["code"] for row in self.body()["requests"]]

    def ids(self) -> list[str]:
        return [row["requestId"] for row in self.body("devices")["requests"]]

    def judge(self, row: Row, ruling: Ruling = "approved", kind: Kind = "channels") -> None:
        self.cache.judge(
            make_verdict(
                row,
                kind=kind,
                channel=row.channel,
                code=row.code,
                ruling=ruling,
                now_ms=self.clock.now_ms(),
            )
        )


@pytest.fixture
def room() -> Room:
    return Room()


def device(room: Room, name: str = "a", *, ago_ms: int | None = 0) -> Row:
    ts = {} if ago_ms is None else {"ts": room.clock.now_ms() - ago_ms}
    (row,) = device_rows([{"requestId": name, "deviceId": "d", "publicKey": "p", **ts}])
    return row


def test_before_the_first_look_it_is_warming(room: Room) -> None:
    body = room.body()
    assert (body["requests"], body["lastUpdated"], body["state"]) == ([], "", "warming")
    assert not body["stale"]
    assert msgspec.convert(body, ChannelList).error is None


def test_channels_are_merged_in_order_with_their_names(room: Room) -> None:
    slack = (room.person("B", channel="slack"),)
    assert room.look(telegram=(room.person("A"),), slack=slack) == "read"
    body = room.body()
    assert [(row["channel"], row["code"]) for row in body["requests"]] == [
        ("telegram", "A"), ("slack", "B"),
    ]  # fmt: skip
    assert body["lastUpdated"] == time_text(room.clock.now_ms())
    assert [status["channel"] for status in body["statuses"]] == ["telegram", "slack"]
    assert body["state"] == "known"


def test_a_configuration_that_cannot_be_read_leaves_everything(room: Room) -> None:
    assert room.take(NO_CONFIG) == "failed"
    body = room.body()
    assert (body["requests"], body["lastUpdated"]) == ([], "")
    assert (body["stale"], body["error"]["code"]) == (True, "config_unreadable")
    room.look(telegram=(room.person("A"),))
    updated = room.body()["lastUpdated"]
    room.clock.advance(1_000)
    room.take(NO_CONFIG)
    assert (room.codes(), room.body()["lastUpdated"]) == (["A"], updated)
    assert room.body()["statuses"][0]["stale"]


def test_a_channel_that_fails_cold_costs_the_others_nothing(room: Room) -> None:
    assert room.look(telegram=BROKEN, slack=(room.person("B", channel="slack"),)) == "read"
    assert room.codes() == ["B"]
    body = room.body()
    assert (body["state"], body["error"]["code"]) == ("stale", "store_unreadable")
    assert [status["stale"] for status in body["statuses"]] == [True, False]
    assert body["statuses"][0]["lastSuccess"] == ""


def test_a_channel_that_fails_keeps_its_rows_but_not_for_ever(room: Room) -> None:
    room.look(telegram=(room.person("A"),), slack=(room.person("B", channel="slack"),))
    first = room.body()["lastUpdated"]
    room.clock.advance(59 * MINUTE)
    fresh = room.person("C", channel="slack")
    assert room.look(telegram=BROKEN, slack=(fresh,)) == "read"
    assert room.codes() == ["A", "C"]
    status = room.body()["statuses"][0]
    assert (status["lastSuccess"], status["stale"]) == (first, True)
    room.clock.advance(MINUTE + 1)
    assert room.codes() == ["C"], "its time is over, although nobody could read it again"


def test_when_all_channels_fail_all_stays(room: Room) -> None:
    room.look(telegram=(room.person("A"),))
    updated = room.body()["lastUpdated"]
    room.clock.advance(1_000)
    assert room.look(telegram=BROKEN) == "failed"
    assert (room.codes(), room.body()["lastUpdated"]) == (["A"], updated)
    assert room.look(telegram=(room.person("B"),)) == "read"
    assert (room.codes(), room.body()["state"]) == (["B"], "known")


def test_a_missing_file_means_that_nobody_ever_asked(room: Room) -> None:
    assert room.look(telegram=MISSING) == "read"
    body = room.body()
    assert (body["requests"], body["state"], body["error"]) == ([], "known", None)


def test_a_file_that_goes_missing_is_believed_the_second_time(room: Room) -> None:
    room.look(telegram=(room.person("A"),))
    assert room.look(telegram=MISSING) == "again"
    assert (room.codes(), room.body()["state"]) == (["A"], "stale")
    assert room.look(telegram=MISSING) == "read"
    assert (room.codes(), room.body()["state"]) == ([], "known")
    room.look(telegram=(room.person("B"),))
    assert room.look(telegram=MISSING) == "again", "each time anew"


def test_without_channels_the_list_is_empty_and_known(room: Room) -> None:
    room.look(telegram=(room.person("A"),))
    room.clock.advance(1_000)
    assert room.look() == "read"
    body = room.body()
    assert (body["requests"], body["statuses"]) == ([], [])
    assert body["lastUpdated"] == time_text(room.clock.now_ms())


def test_a_channel_that_is_switched_off_takes_its_rows_along(room: Room) -> None:
    room.look(telegram=(room.person("A"),), slack=(room.person("B", channel="slack"),))
    room.look(slack=BROKEN)
    assert room.codes() == ["B"]


@pytest.mark.parametrize(("ago_ms", "shown"), [(0, 1), (60 * MINUTE, 1), (60 * MINUTE + 1, 0)])
def test_a_person_waits_an_hour_to_the_millisecond(room: Room, ago_ms: int, shown: int) -> None:
    room.look(telegram=(room.person("A", ago_ms=ago_ms),))
    assert len(room.codes()) == shown


@pytest.mark.parametrize(
    ("ago_ms", "shown"), [(5 * MINUTE, 1), (5 * MINUTE + 1, 0), (6 * MINUTE, 0), (None, 1)]
)
def test_a_device_waits_five_minutes(room: Room, ago_ms: int | None, shown: int) -> None:
    room.devices((device(room, ago_ms=ago_ms),))
    assert len(room.ids()) == shown


def test_what_expires_is_gone_at_that_moment_and_makes_an_epoch(room: Room) -> None:
    room.devices((device(room),))
    epoch, told = room.cache.epoch, len(room.told)
    room.clock.advance(5 * MINUTE)
    assert (room.cache.count, room.cache.epoch) == (1, epoch)
    room.clock.advance(1)
    assert (room.cache.count, room.ids()) == (0, [])
    assert room.cache.epoch > epoch
    assert len(room.told) == told + 1


def test_devices_that_cannot_be_read_stay_and_a_missing_file_clears(room: Room) -> None:
    room.devices((device(room),))
    updated = room.body("devices")["lastUpdated"]
    room.clock.advance(1_000)
    assert room.devices(BROKEN) == "failed"
    assert (room.ids(), room.body("devices")["lastUpdated"]) == (["a"], updated)
    assert room.devices(MISSING) == "again"
    assert room.devices(MISSING) == "read"
    assert (room.ids(), room.body("devices")["state"]) == ([], "known")
    assert isinstance(msgspec.convert(room.body("devices"), DeviceList), DeviceList)


def test_what_is_not_understood_is_unknown_and_no_empty_list(room: Room) -> None:
    room.look(telegram=STRANGE)
    assert room.body()["state"] == "unknown"
    room.look(telegram=(room.person("A"),))
    room.look(telegram=STRANGE)
    assert room.body()["state"] == "stale", "what was known is still shown"
    room.clock.advance(61 * MINUTE)
    assert room.body()["state"] == "unknown"


def test_the_answer_is_the_same_object_until_something_changes(room: Room) -> None:
    room.look(telegram=(room.person("A"),))
    first = room.cache.listing("channels")
    room.clock.advance(30 * MINUTE)
    assert room.cache.listing("channels") is first
    room.look(telegram=(room.person("A", ago_ms=30 * MINUTE),))
    assert room.cache.listing("channels") is not first


def test_a_slow_look_does_not_overwrite_a_later_one(room: Room) -> None:
    room.look(2, telegram=(room.person("NEW"),))
    room.look(1, telegram=(room.person("OLD"),))
    assert room.codes() == ["NEW"]
    room.take({DEVICES: Found("json", (device(room, "new"),))}, 2, "devices")
    room.take({DEVICES: Found("json", (device(room, "old"),))}, 1, "devices")
    assert room.ids() == ["new"]


def test_a_slow_look_is_not_lost_because_a_later_one_failed(room: Room) -> None:
    room.look(1, telegram=(room.person("A"),))
    room.look(3, telegram=BROKEN)
    room.look(2, telegram=(room.person("B"),))
    assert room.codes() == ["B"]


@pytest.mark.parametrize("ruling", ["approved", "dismissed"])
def test_what_was_decided_is_never_shown_again(room: Room, ruling: Ruling) -> None:
    row = room.person("A")
    room.look(telegram=(row,))
    room.judge(row, ruling)
    assert room.codes() == []
    room.look(telegram=(row,))
    assert room.codes() == []
    room.clock.advance(1)
    again = room.person("B")
    assert again.entry["id"] != row.entry["id"] or again.key != row.key
    room.look(telegram=(row, again))
    assert room.codes() == ["B"]


def test_the_same_person_may_ask_anew(room: Room) -> None:
    row = room.person("A")
    room.look(telegram=(row,))
    room.judge(row)
    room.clock.advance(1)
    at = time_text(room.clock.now_ms())
    (anew,) = channel_rows("telegram", [{"id": "user-A", "code": "Z", "createdAt": at}])
    room.look(telegram=(anew,))
    assert room.codes() == ["Z"]


def test_a_decision_by_code_alone_holds_when_the_request_turns_up(room: Room) -> None:
    row = room.person("ABC")
    room.cache.judge(
        make_verdict(
            None,
            kind="channels",
            channel="telegram",
            code="abc",
            ruling="approved",
            now_ms=room.clock.now_ms(),
        )
    )
    room.look(telegram=(row,))
    assert room.codes() == []
    decided = room.cache.decided("channels", "telegram", key="", code="ABC")
    assert decided is not None
    assert decided.ruling == "approved"


def test_verdicts_are_forgotten_when_nobody_lists_the_request_any_more(room: Room) -> None:
    row, other = room.person("A"), device(room, ago_ms=None)
    room.look(telegram=(row,))
    room.devices((other,))
    room.judge(row)
    room.judge(other, kind="devices")
    room.clock.advance(limits.CHANNEL_TTL_MS + limits.VERDICT_SLACK_MS + 1)
    room.look(telegram=(row,))
    room.devices((other,))
    assert set(room.cache.verdicts) == {row.key, other.key}, "both are listed yet"
    assert (room.codes(), room.ids()) == ([], [])
    room.look(telegram=())
    room.devices(())
    assert not room.cache.verdicts


def test_there_are_not_endlessly_many_verdicts(room: Room) -> None:
    for number in range(limits.VERDICTS_MAX + 10):
        room.judge(room.person(f"C{number}"))
        room.clock.advance(1)
    assert len(room.cache.verdicts) == limits.VERDICTS_MAX
    assert room.cache.decided("channels", "telegram", key="", code="C0") is None


def test_the_epoch_moves_with_the_list_and_its_certainty_and_nothing_else(room: Room) -> None:
    row = room.person("A")
    room.look(telegram=(row,))
    epoch = room.cache.epoch
    room.clock.advance(1_000)
    room.look(telegram=(row,))
    assert room.cache.epoch == epoch
    for change in (
        lambda: room.look(telegram=BROKEN),
        lambda: room.look(telegram=(row,)),
        lambda: room.judge(row),
        room.look,
    ):
        change()
        assert room.cache.epoch > epoch
        epoch = room.cache.epoch
        assert room.body()["epoch"] == room.body("devices")["epoch"] == epoch


def test_a_controller_that_starts_again_repeats_no_epoch(room: Room) -> None:
    for number in range(50):
        room.look(telegram=(room.person(f"C{number}"),))
    before = room.cache.epoch
    room.clock.advance(1_000)
    assert Cache({}, on_change=lambda: None, clock=room.clock).epoch > before


def test_the_next_expiry_is_the_first(room: Room) -> None:
    rows = (room.person("A", ago_ms=MINUTE), room.person("B"))
    assert views.next_expiry_ms(rows) == (rows[0].expires_ms or 0) + 1
    assert views.next_expiry_ms((device(room, ago_ms=None),)) is None
