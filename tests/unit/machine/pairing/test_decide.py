"""Decisions: once per request, distinguishable when they fail, final when they worked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from holdfast.kernel.clock import ManualClock
from holdfast.machine.agents.pairing import Means, Plan
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.pairing.cache import Cache
from holdfast.machine.controller.pairing.decider import Backend, Decider, Refused
from holdfast.machine.controller.pairing.decisions import Order
from holdfast.machine.controller.pairing.openclaw.entries import channel_rows, device_rows
from holdfast.machine.controller.pairing.state import DEVICES, Failure, Found, Look, Row
from holdfast.wire.controller.pairing import STATUS_OF, Kind, PairingAnswer
from holdfast.wire.times import time_text
from tests.integration.machine.rig import until

PLAN = Plan(
    channels=("json",),
    devices=("json",),
    decide_channels=("rpc", "command"),
    decide_devices=("rpc", "command"),
    dismiss_devices=("rpc",),
)
ID = "8d08d697-1111-4222-8333-444455556666"


@dataclass
class FakeArm:
    asked: list[tuple[Order, Row | None]] = field(default_factory=list)
    answers: list[Refused | None] = field(default_factory=list)
    hold: asyncio.Event | None = None

    async def decide(self, order: Order, row: Row | None) -> Refused | None:
        self.asked.append((order, row))
        if self.hold is not None:
            await self.hold.wait()
        return self.answers.pop(0) if self.answers else None


class Rig:
    def __init__(self, descriptor: int) -> None:
        self.clock = ManualClock()
        self.cache = Cache({}, on_change=lambda: None, clock=self.clock)
        self.rpc, self.command = FakeArm(), FakeArm()
        self.backends: dict[Means, Backend] = {"rpc": self.rpc, "command": self.command}
        self.plan, self.running, self.closing = PLAN, True, False
        self.kept: list[int] = []
        self.hinted: list[Kind] = []
        self.refreshed: list[Kind] = []
        self.on_refresh: Callable[[], object] = lambda: None
        self.number = 0
        self.decider = Decider(
            self.cache, self.backends, plan=lambda: self.plan, refresh=self.refresh,
            hint=self.hinted.append, keep=self.keep, is_running=lambda: self.running,
            is_closing=lambda: self.closing, clock=self.clock, log=Log(self.clock, descriptor),
        )  # fmt: skip

    async def refresh(self, kind: Kind) -> bool:
        self.refreshed.append(kind)
        self.on_refresh()
        return True

    async def keep(self) -> None:
        self.kept.append(len(self.cache.verdicts))

    def put(self, look: Look, kind: Kind = "channels") -> None:
        self.number += 1
        self.cache.commit(kind, look, self.number)

    def person(self, code: str = "AB", **more: Any) -> Row:
        at = time_text(self.clock.now_ms())
        (row,) = channel_rows("chat", [{"id": "1", "code": code, "createdAt": at, **more}])
        self.put({"chat": Found("json", (row,))})
        return row

    def device(self, **more: Any) -> Row:
        entry = {"requestId": ID, "deviceId": "d", "role": "operator", "ts": self.clock.now_ms()}
        (row,) = device_rows([{**entry, **more}])
        self.put({DEVICES: Found("json", (row,))}, "devices")
        return row

    @property
    def listed(self) -> int:
        return self.cache.count


@pytest.fixture
def rig(tmp_path: Path) -> Any:
    with (tmp_path / "log").open("wb") as log:
        yield Rig(log.fileno())


def by_code(code: str = "AB", **more: Any) -> Order:
    return replace(Order("channels", "approved", "chat", code), **more)


def by_id(request_id: str = ID, **more: Any) -> Order:
    return replace(Order("devices", "approved", request_id=request_id), **more)


def failed(answer: PairingAnswer, status: int) -> str:
    assert not answer.success
    assert STATUS_OF[answer.code] == status, answer
    return answer.code


async def test_an_approval_is_done_once_kept_and_taken_off_the_list(rig: Rig) -> None:
    row = rig.person()
    answer = await rig.decider.decide(by_code("ab"))
    assert (answer.success, answer.message) == (True, "Pairing approved")
    assert [asked for _, asked in rig.rpc.asked] == [row]
    assert rig.command.asked == []
    assert (rig.listed, rig.kept, rig.hinted) == (0, [1], ["channels"])
    assert failed(await rig.decider.decide(by_code()), 409) == "pairing_already"
    assert failed(await rig.decider.decide(by_code("", request_id=row.key)), 409)
    assert len(rig.rpc.asked) == 1


async def test_a_device_is_approved_by_its_id_in_any_case(rig: Rig) -> None:
    row = rig.device()
    answer = await rig.decider.decide(by_id(ID.upper()))
    assert answer.message == "Device approved"
    assert rig.rpc.asked[0][1] == row


async def test_many_at_the_same_time_are_one(rig: Rig) -> None:
    row = rig.person()
    rig.rpc.hold = asyncio.Event()
    orders = [by_code(), by_code("ab"), by_code("", request_id=row.key)] * 5
    tasks = [asyncio.create_task(rig.decider.decide(order)) for order in orders]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    rig.rpc.hold.set()
    answers = await asyncio.gather(*tasks)
    assert all(answer.success for answer in answers)
    assert len(rig.rpc.asked) == 1


async def test_an_approval_and_a_dismissal_at_once_do_not_both_happen(rig: Rig) -> None:
    row = rig.device()
    rig.rpc.hold = asyncio.Event()
    first = asyncio.create_task(rig.decider.decide(by_id()))
    second = asyncio.create_task(rig.decider.decide(by_id(row.key, ruling="dismissed")))
    await asyncio.sleep(0)
    rig.rpc.hold.set()
    assert (await first).success
    assert failed(await second, 409) == "pairing_already"
    assert len(rig.rpc.asked) == 1


async def test_it_is_done_although_nobody_waits_any_more(rig: Rig) -> None:
    rig.person()
    rig.rpc.hold = asyncio.Event()
    task = asyncio.create_task(rig.decider.decide(by_code()))
    await until(lambda: rig.rpc.asked, "the agent is asked")
    task.cancel()
    rig.rpc.hold.set()
    await asyncio.gather(task, return_exceptions=True)
    await until(lambda: not rig.listed, "it is off the list")
    assert rig.kept == [1]


async def test_a_way_that_cannot_be_used_is_passed_over(rig: Rig) -> None:
    rig.person()
    rig.rpc.answers = [Refused("agent_not_running", "not yet", unable=True)]
    assert (await rig.decider.decide(by_code())).success
    assert len(rig.command.asked) == 1


@pytest.mark.parametrize(
    ("code", "status"),
    [("pairing_not_found", 404), ("pairing_timeout", 504), ("pairing_failed", 500)],
)
async def test_a_refusal_of_the_agent_is_the_answer(rig: Rig, code: str, status: int) -> None:
    rig.person()
    rig.rpc.answers = [Refused(code, "said in our words", detail="secret words of the agent")]
    answer = await rig.decider.decide(by_code())
    assert failed(answer, status) == code
    assert answer.message == "said in our words"
    assert (rig.listed, rig.kept, rig.hinted) == (1, [], ["channels"])
    assert rig.command.asked == [], "who knows what was done; nobody is notified twice"
    assert (await rig.decider.decide(by_code())).success, "and it may be tried again"


async def test_what_is_not_listed_is_looked_for_once_and_then_not_found(rig: Rig) -> None:
    rig.put({"chat": Found("json", ())})
    assert failed(await rig.decider.decide(by_code()), 404) == "pairing_not_found"
    assert rig.refreshed == ["channels"]
    assert rig.rpc.asked == []
    rig.on_refresh = rig.person
    assert (await rig.decider.decide(by_code())).success


async def test_where_the_list_is_in_doubt_the_agent_is_asked(rig: Rig) -> None:
    rig.put({"chat": Found("json", Failure("store_unreadable", "cannot be read"))})
    assert (await rig.decider.decide(by_code("ABC"))).success
    assert rig.rpc.asked[0][1] is None
    late = channel_rows(
        "chat", [{"id": "1", "code": "ABC", "createdAt": time_text(rig.clock.now_ms())}]
    )
    rig.put({"chat": Found("json", late)})
    assert rig.listed == 0, "it is not shown when it turns up"


async def test_a_code_is_tried_where_the_list_tells_none(rig: Rig) -> None:
    at = time_text(rig.clock.now_ms())
    listed = channel_rows("chat", [{"id": "1", "createdAt": at}], coded=False)
    rig.put({"chat": Found("rpc", listed)})
    assert (await rig.decider.decide(by_code("ABC"))).success
    assert rig.rpc.asked[0][1] is None
    assert failed(await rig.decider.decide(by_code("ABC", channel="other")), 404)


async def test_only_what_was_seen_is_approved(rig: Rig) -> None:
    row = rig.device(scopes=["operator.read"])
    rig.on_refresh = lambda: rig.device(scopes=["operator.admin"])
    answer = await rig.decider.decide(by_id(fingerprint=row.fingerprint))
    assert failed(answer, 409) == "pairing_changed"
    assert rig.rpc.asked == []
    rig.on_refresh = lambda: rig.put(
        {DEVICES: Found("json", Failure("store_unreadable", "cannot be read"))}, "devices"
    )
    now = rig.cache.listing("devices").rows[0]
    answer = await rig.decider.decide(by_id(fingerprint=now.fingerprint))
    assert failed(answer, 503) == "pairing_unknown", "it may be another one by now"
    assert rig.rpc.asked == []
    rig.on_refresh = lambda: rig.device(scopes=["operator.admin"])
    now = rig.cache.listing("devices").rows[0]
    assert (await rig.decider.decide(by_id(fingerprint=now.fingerprint))).success


async def test_a_dismissal_is_ours_alone_where_the_agent_cannot(rig: Rig) -> None:
    row = rig.person()
    answer = await rig.decider.decide(by_code(ruling="dismissed"))
    assert (answer.success, answer.message) == (True, "Pairing dismissed")
    assert (rig.rpc.asked, rig.command.asked, rig.listed) == ([], [], 0)
    rig.put({"chat": Found("json", (row,))})
    assert rig.listed == 0
    rig.device()
    assert (await rig.decider.decide(by_id(ruling="dismissed"))).success
    assert rig.rpc.asked[0][0].ruling == "dismissed"


async def test_nothing_begins_while_the_agent_does_not_run_or_the_controller_ends(
    rig: Rig,
) -> None:
    rig.person()
    rig.running = False
    assert failed(await rig.decider.decide(by_code()), 503) == "agent_not_running"
    rig.running, rig.closing = True, True
    answer = await rig.decider.decide(by_code())
    assert (failed(answer, 500), answer.message) == ("shutting_down", "Cache is shutting down")
    assert rig.rpc.asked == []


@pytest.mark.parametrize(
    ("order", "field", "message"),
    [
        (by_code(channel="Chat"), "channel", "Invalid channel name"),
        (by_code(channel="chat\n"), "channel", "Invalid channel name"),
        (by_code(channel="c!at"), "channel", "Invalid channel name"),
        (by_code(""), "code", "Invalid pairing code"),
        (by_code("A" * 33), "code", "Invalid pairing code"),
        (by_code("ÄB"), "code", "Invalid pairing code"),
        (by_code(request_id="short"), "requestId", "Invalid request ID"),
        (by_id(f"{ID}\n"), "requestId", "Invalid request ID"),
        (by_id("g" + ID[1:]), "requestId", "Invalid request ID"),
        (by_id(""), "requestId", "Invalid request ID"),
        (by_id(fingerprint="XYZ"), "fingerprint", "Invalid fingerprint"),
    ],
)
async def test_malformed_orders_name_the_field_before_anything_else(
    rig: Rig, order: Order, field: str, message: str
) -> None:
    rig.running = False
    answer = await rig.decider.decide(order)
    assert failed(answer, 400) == "pairing_invalid"
    assert (answer.field, answer.message) == (field, message)


@pytest.mark.parametrize("channel", ["a", "a-b_c9", "c" * 64])
async def test_channels_may_have_these_names(rig: Rig, channel: str) -> None:
    rig.put({channel: Found("json", ())})
    assert failed(await rig.decider.decide(by_code(channel=channel)), 404)


async def test_the_end_ends_what_is_being_decided(rig: Rig) -> None:
    rig.person()
    rig.rpc.hold = asyncio.Event()
    task = asyncio.create_task(rig.decider.decide(by_code()))
    await until(lambda: rig.rpc.asked, "the agent is asked")
    await rig.decider.close()
    with pytest.raises(asyncio.CancelledError):
        await task
