"""Effects of reads on the cache and its views: the contract's cases, and excluded ones."""

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


class Bench:
    """A cache with a clock, and reads by number."""

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
def bench() -> Bench:
    return Bench()


def device(bench: Bench, name: str = "a", *, ago_ms: int | None = 0) -> Row:
    ts = {} if ago_ms is None else {"ts": bench.clock.now_ms() - ago_ms}
    (row,) = device_rows([{"requestId": name, "deviceId": "d", "publicKey": "p", **ts}])
    return row


def test_before_the_first_look_it_is_warming(bench: Bench) -> None:
    body = bench.body()
    assert (body["requests"], body["lastUpdated"], body["state"]) == ([], "", "warming")
    assert not body["stale"]
    assert msgspec.convert(body, ChannelList).error is None


def test_channels_are_merged_in_order_with_their_names(bench: Bench) -> None:
    slack = (bench.person("B", channel="slack"),)
    assert bench.look(telegram=(bench.person("A"),), slack=slack) == "read"
    body = bench.body()
    assert [(row["channel"], row["code"]) for row in body["requests"]] == [
        ("telegram", "A"), ("slack", "B"),
    ]  # fmt: skip
    assert body["lastUpdated"] == time_text(bench.clock.now_ms())
    assert [status["channel"] for status in body["statuses"]] == ["telegram", "slack"]
    assert body["state"] == "known"


def test_a_configuration_that_cannot_be_read_leaves_everything(bench: Bench) -> None:
    assert bench.take(NO_CONFIG) == "failed"
    body = bench.body()
    assert (body["requests"], body["lastUpdated"]) == ([], "")
    assert (body["stale"], body["error"]["code"]) == (True, "config_unreadable")
    bench.look(telegram=(bench.person("A"),))
    updated = bench.body()["lastUpdated"]
    bench.clock.advance(1_000)
    bench.take(NO_CONFIG)
    assert (bench.codes(), bench.body()["lastUpdated"]) == (["A"], updated)
    assert bench.body()["statuses"][0]["stale"]


def test_a_channel_that_fails_cold_costs_the_others_nothing(bench: Bench) -> None:
    assert bench.look(telegram=BROKEN, slack=(bench.person("B", channel="slack"),)) == "read"
    assert bench.codes() == ["B"]
    body = bench.body()
    assert (body["state"], body["error"]["code"]) == ("stale", "store_unreadable")
    assert [status["stale"] for status in body["statuses"]] == [True, False]
    assert body["statuses"][0]["lastSuccess"] == ""


def test_a_channel_that_fails_keeps_its_rows_but_not_for_ever(bench: Bench) -> None:
    bench.look(telegram=(bench.person("A"),), slack=(bench.person("B", channel="slack"),))
    first = bench.body()["lastUpdated"]
    bench.clock.advance(59 * MINUTE)
    fresh = bench.person("C", channel="slack")
    assert bench.look(telegram=BROKEN, slack=(fresh,)) == "read"
    assert bench.codes() == ["A", "C"]
    status = bench.body()["statuses"][0]
    assert (status["lastSuccess"], status["stale"]) == (first, True)
    bench.clock.advance(MINUTE + 1)
    assert bench.codes() == ["C"], "its time is over, although nobody could read it again"


def test_when_all_channels_fail_all_stays(bench: Bench) -> None:
    bench.look(telegram=(bench.person("A"),))
    updated = bench.body()["lastUpdated"]
    bench.clock.advance(1_000)
    assert bench.look(telegram=BROKEN) == "failed"
    assert (bench.codes(), bench.body()["lastUpdated"]) == (["A"], updated)
    assert bench.look(telegram=(bench.person("B"),)) == "read"
    assert (bench.codes(), bench.body()["state"]) == (["B"], "known")


def test_a_missing_file_means_that_nobody_ever_asked(bench: Bench) -> None:
    assert bench.look(telegram=MISSING) == "read"
    body = bench.body()
    assert (body["requests"], body["state"], body["error"]) == ([], "known", None)


def test_a_file_that_goes_missing_is_believed_the_second_time(bench: Bench) -> None:
    bench.look(telegram=(bench.person("A"),))
    assert bench.look(telegram=MISSING) == "again"
    assert (bench.codes(), bench.body()["state"]) == (["A"], "stale")
    assert bench.look(telegram=MISSING) == "read"
    assert (bench.codes(), bench.body()["state"]) == ([], "known")
    bench.look(telegram=(bench.person("B"),))
    assert bench.look(telegram=MISSING) == "again", "each time anew"


def test_without_channels_the_list_is_empty_and_known(bench: Bench) -> None:
    bench.look(telegram=(bench.person("A"),))
    bench.clock.advance(1_000)
    assert bench.look() == "read"
    body = bench.body()
    assert (body["requests"], body["statuses"]) == ([], [])
    assert body["lastUpdated"] == time_text(bench.clock.now_ms())


def test_a_channel_that_is_switched_off_takes_its_rows_along(bench: Bench) -> None:
    bench.look(telegram=(bench.person("A"),), slack=(bench.person("B", channel="slack"),))
    bench.look(slack=BROKEN)
    assert bench.codes() == ["B"]


@pytest.mark.parametrize(("ago_ms", "shown"), [(0, 1), (60 * MINUTE, 1), (60 * MINUTE + 1, 0)])
def test_a_person_waits_an_hour_to_the_millisecond(bench: Bench, ago_ms: int, shown: int) -> None:
    bench.look(telegram=(bench.person("A", ago_ms=ago_ms),))
    assert len(bench.codes()) == shown


@pytest.mark.parametrize(
    ("ago_ms", "shown"), [(5 * MINUTE, 1), (5 * MINUTE + 1, 0), (6 * MINUTE, 0), (None, 1)]
)
def test_a_device_waits_five_minutes(bench: Bench, ago_ms: int | None, shown: int) -> None:
    bench.devices((device(bench, ago_ms=ago_ms),))
    assert len(bench.ids()) == shown


def test_what_expires_is_gone_at_that_moment_and_makes_an_epoch(bench: Bench) -> None:
    bench.devices((device(bench),))
    epoch, told = bench.cache.epoch, len(bench.told)
    bench.clock.advance(5 * MINUTE)
    assert (bench.cache.count, bench.cache.epoch) == (1, epoch)
    bench.clock.advance(1)
    assert (bench.cache.count, bench.ids()) == (0, [])
    assert bench.cache.epoch > epoch
    assert len(bench.told) == told + 1


def test_devices_that_cannot_be_read_stay_and_a_missing_file_clears(bench: Bench) -> None:
    bench.devices((device(bench),))
    updated = bench.body("devices")["lastUpdated"]
    bench.clock.advance(1_000)
    assert bench.devices(BROKEN) == "failed"
    assert (bench.ids(), bench.body("devices")["lastUpdated"]) == (["a"], updated)
    assert bench.devices(MISSING) == "again"
    assert bench.devices(MISSING) == "read"
    assert (bench.ids(), bench.body("devices")["state"]) == ([], "known")
    assert isinstance(msgspec.convert(bench.body("devices"), DeviceList), DeviceList)


def test_what_is_not_understood_is_unknown_and_no_empty_list(bench: Bench) -> None:
    bench.look(telegram=STRANGE)
    assert bench.body()["state"] == "unknown"
    bench.look(telegram=(bench.person("A"),))
    bench.look(telegram=STRANGE)
    assert bench.body()["state"] == "stale", "what was known is still shown"
    bench.clock.advance(61 * MINUTE)
    assert bench.body()["state"] == "unknown"


def test_the_answer_is_the_same_object_until_something_changes(bench: Bench) -> None:
    bench.look(telegram=(bench.person("A"),))
    first = bench.cache.listing("channels")
    bench.clock.advance(30 * MINUTE)
    assert bench.cache.listing("channels") is first
    bench.look(telegram=(bench.person("A", ago_ms=30 * MINUTE),))
    assert bench.cache.listing("channels") is not first


def test_a_slow_look_does_not_overwrite_a_later_one(bench: Bench) -> None:
    bench.look(2, telegram=(bench.person("NEW"),))
    bench.look(1, telegram=(bench.person("OLD"),))
    assert bench.codes() == ["NEW"]
    bench.take({DEVICES: Found("json", (device(bench, "new"),))}, 2, "devices")
    bench.take({DEVICES: Found("json", (device(bench, "old"),))}, 1, "devices")
    assert bench.ids() == ["new"]


def test_a_slow_look_is_not_lost_because_a_later_one_failed(bench: Bench) -> None:
    bench.look(1, telegram=(bench.person("A"),))
    bench.look(3, telegram=BROKEN)
    bench.look(2, telegram=(bench.person("B"),))
    assert bench.codes() == ["B"]


@pytest.mark.parametrize("ruling", ["approved", "dismissed"])
def test_what_was_decided_is_never_shown_again(bench: Bench, ruling: Ruling) -> None:
    row = bench.person("A")
    bench.look(telegram=(row,))
    bench.judge(row, ruling)
    assert bench.codes() == []
    bench.look(telegram=(row,))
    assert bench.codes() == []
    bench.clock.advance(1)
    again = bench.person("B")
    assert again.entry["id"] != row.entry["id"] or again.key != row.key
    bench.look(telegram=(row, again))
    assert bench.codes() == ["B"]


def test_the_same_person_may_ask_anew(bench: Bench) -> None:
    row = bench.person("A")
    bench.look(telegram=(row,))
    bench.judge(row)
    bench.clock.advance(1)
    at = time_text(bench.clock.now_ms())
    (anew,) = channel_rows("telegram", [{"id": "user-A", "code": "Z", "createdAt": at}])
    bench.look(telegram=(anew,))
    assert bench.codes() == ["Z"]


def test_a_decision_by_code_alone_holds_when_the_request_turns_up(bench: Bench) -> None:
    row = bench.person("ABC")
    bench.cache.judge(
        make_verdict(
            None,
            kind="channels",
            channel="telegram",
            code="abc",
            ruling="approved",
            now_ms=bench.clock.now_ms(),
        )
    )
    bench.look(telegram=(row,))
    assert bench.codes() == []
    decided = bench.cache.decided("channels", "telegram", key="", code="ABC")
    assert decided is not None
    assert decided.ruling == "approved"


def test_verdicts_are_forgotten_when_nobody_lists_the_request_any_more(bench: Bench) -> None:
    row, other = bench.person("A"), device(bench, ago_ms=None)
    bench.look(telegram=(row,))
    bench.devices((other,))
    bench.judge(row)
    bench.judge(other, kind="devices")
    bench.clock.advance(limits.CHANNEL_TTL_MS + limits.VERDICT_SLACK_MS + 1)
    bench.look(telegram=(row,))
    bench.devices((other,))
    assert set(bench.cache.verdicts) == {row.key, other.key}, "both are listed yet"
    assert (bench.codes(), bench.ids()) == ([], [])
    bench.look(telegram=())
    bench.devices(())
    assert not bench.cache.verdicts


def test_there_are_not_endlessly_many_verdicts(bench: Bench) -> None:
    for number in range(limits.VERDICTS_MAX + 10):
        bench.judge(bench.person(f"C{number}"))
        bench.clock.advance(1)
    assert len(bench.cache.verdicts) == limits.VERDICTS_MAX
    assert bench.cache.decided("channels", "telegram", key="", code="C0") is None


def test_the_epoch_moves_with_the_list_and_its_certainty_and_nothing_else(bench: Bench) -> None:
    row = bench.person("A")
    bench.look(telegram=(row,))
    epoch = bench.cache.epoch
    bench.clock.advance(1_000)
    bench.look(telegram=(row,))
    assert bench.cache.epoch == epoch
    for change in (
        lambda: bench.look(telegram=BROKEN),
        lambda: bench.look(telegram=(row,)),
        lambda: bench.judge(row),
        bench.look,
    ):
        change()
        assert bench.cache.epoch > epoch
        epoch = bench.cache.epoch
        assert bench.body()["epoch"] == bench.body("devices")["epoch"] == epoch


def test_a_controller_that_starts_again_repeats_no_epoch(bench: Bench) -> None:
    for number in range(50):
        bench.look(telegram=(bench.person(f"C{number}"),))
    before = bench.cache.epoch
    bench.clock.advance(1_000)
    assert Cache({}, on_change=lambda: None, clock=bench.clock).epoch > before


def test_the_next_expiry_is_the_first(bench: Bench) -> None:
    rows = (bench.person("A", ago_ms=MINUTE), bench.person("B"))
    assert views.next_expiry_ms(rows) == (rows[0].expires_ms or 0) + 1
    assert views.next_expiry_ms((device(bench, ago_ms=None),)) is None
