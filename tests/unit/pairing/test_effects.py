"""The pairing cases of the control-plane contract, section 7: by controller, else by command."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.actors.definition import EffectCall
from holdfast.kernel.ids import address
from holdfast.kernel.outcome import Ok, Outcome, Permanent, Retryable
from holdfast.machine.controller.pairing.limits import COMMAND_TIMEOUT_S
from holdfast.pairing import limits, ports
from holdfast.pairing.effects import MachineClient
from holdfast.pairing.requests import request_id
from holdfast.wire.controller.calls import ControllerError
from holdfast.world.clouds.port import Execution
from tests.support.logs import Lines
from tests.unit.pairing.rig import (
    INSTANCE,
    UUID,
    Fixed,
    Scripted,
    Shell,
    device,
    place,
    telegram,
)

ALL = ("pairing.channels", "pairing.devices", "pairing.dismiss")
ROW = {"channel": "telegram", "id": "777001", "code": "AB12"}
PENDING = {"requestId": UUID, "deviceId": "dev1", "role": "operator", "publicKey": "secret"}
TOO_OLD = (404, {"error": "Not Found"})
GONE_401 = (401, {"error": "Unauthorized", "code": "controller_route_unavailable"})


def listed(*requests: Any) -> tuple[int, Any]:
    return 200, {"requests": list(requests), "lastUpdated": "2026-01-01T00:00:00.000Z"}


class Rig:
    def __init__(self, *capabilities: str, kind: str = "fly") -> None:
        self.places = Fixed()
        self.controllers = Scripted(*capabilities)
        self.shell = Shell(kind)
        self.log = Lines()
        self.talk = MachineClient(
            self.places,
            self.controllers,
            {"there": self.shell},  # type: ignore[dict-item]
            log=self.log,
        )

    async def list_(self, *, refresh: bool = False) -> Outcome[ports.Listing]:
        return await self.talk.listing(place(), refresh=refresh)

    async def ids(self, *, refresh: bool = False) -> list[str]:
        found = await self.list_(refresh=refresh)
        assert isinstance(found, Ok), found
        return [request_id(one.asked) for one in found.value.requests]

    async def decide(self, verb: Any, request: Any, *, attempt: int = 1) -> Outcome[Any]:
        body = ports.DecideCall(1, verb, request.asked)
        call = EffectCall(
            "x", address("pairing", INSTANCE), "pairing", "pairing", body, 0, 1, "x", attempt
        )
        return await self.talk.execute(call)


def by_controller() -> Rig:
    rig = Rig(*ALL)
    rig.controllers.answers = {"channels": listed(ROW), "devices": listed(PENDING)}
    return rig


def by_command(answer: tuple[int, Any] | None = None) -> Rig:
    """A machine whose controller has no pairing routes, or lost them."""
    rig = Rig(*(ALL if answer else ()))
    if answer:
        routes = ("channels", "devices", "channels/approve", "devices/approve")
        rig.controllers.answers = dict.fromkeys(routes, answer)
    rig.shell.says("openclaw-pairing-list.js", f'{{"requests": [{_json(ROW)}]}}')
    rig.shell.says("openclaw-device-pairing-list.js", f'{{"requests": [{_json(PENDING)}]}}')
    rig.shell.says("pairing approve", "Approved")
    rig.shell.says("devices approve", "Approved")
    return rig


def _json(value: Any) -> str:
    return str(value).replace("'", '"')


async def test_the_controllers_list_is_used_and_a_forced_one_says_refresh() -> None:
    rig = by_controller()
    assert await rig.ids() == [UUID, "telegram:AB12"]
    assert await rig.ids(refresh=True) == [UUID, "telegram:AB12"]
    assert rig.controllers.asked == [
        "GET /_kilo/pairing/channels",
        "GET /_kilo/pairing/devices",
        "GET /_kilo/pairing/channels?refresh=true",
        "GET /_kilo/pairing/devices?refresh=true",
    ]
    assert rig.shell.ran == []


@pytest.mark.parametrize("answer", [None, TOO_OLD, GONE_401])
async def test_a_controller_without_the_route_is_passed_by(
    answer: tuple[int, Any] | None,
) -> None:
    rig = by_command(answer)
    assert await rig.ids() == [UUID, "telegram:AB12"]
    for request in (telegram(), device()):
        outcome = await rig.decide("approve", request)
        assert isinstance(outcome, Ok)
        assert outcome.value.via == "exec"
    assert [argv[:2] for argv in rig.shell.ran] == [("/usr/bin/env", "HOME=/root")] * 4


async def test_one_too_old_to_tell_what_it_can_is_passed_by() -> None:
    rig = by_command()
    rig.controllers.version_trouble = ControllerError("too_old", "no version", status=404)
    assert await rig.ids() == [UUID, "telegram:AB12"]


@pytest.mark.parametrize("route", ["channels", "devices"])
@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((401, {"error": "Unauthorized"}), "controller_unauthorised"),
        ((500, {"error": "boom"}), "controller_refused"),
        ((200, {"requests": "none"}), "controller_answer_broken"),
        ((200, {"lastUpdated": ""}), "controller_answer_broken"),
        ((200, b"<html>"), "controller_answer_broken"),
        (ControllerError("timeout", "slow"), "controller_timeout"),
        (ControllerError("unreachable", "gone"), "controller_unreachable"),
    ],
)
async def test_trouble_is_no_old_controller(route: str, answer: Any, code: str) -> None:
    rig = by_controller()
    rig.controllers.answers[route] = answer
    failed = await rig.list_()
    assert isinstance(failed, Permanent)
    assert failed.code == code
    assert rig.shell.ran == []
    assert [line[:2] for line in rig.log.lines] == [("warning", "pairing.list_failed")]


@pytest.mark.parametrize("request_", [telegram(), device()])
@pytest.mark.parametrize(
    ("answer", "code", "text"),
    [
        ((401, {"error": "Unauthorized"}), "controller_unauthorised", "Unauthorized"),
        ((400, {"error": "Invalid code"}), "pairing_invalid", "Invalid code"),
        ((400, {"success": False, "message": "No such"}), "pairing_invalid", "No such"),
        (
            (404, {"success": False, "message": "Gone", "code": "pairing_not_found"}),
            "pairing_not_found",
            "Gone",
        ),
        (
            (500, {"success": False, "message": "It broke", "code": "pairing_failed"}),
            "pairing_failed",
            "It broke",
        ),
    ],
)
async def test_what_a_controller_says_against_it_is_passed_on(
    request_: Any, answer: Any, code: str, text: str
) -> None:
    rig = by_controller()
    rig.controllers.answers[f"{request_.asked.kind}s/approve"] = answer
    failed = await rig.decide("approve", request_)
    assert failed == Permanent(code, text)
    assert rig.shell.ran == []


@pytest.mark.parametrize(
    ("answer", "may_still_run"),
    [
        ((500, {"error": "boom"}), True),
        ((500, {"error": "boom", "code": "internal"}), True),
        ((504, {"success": False, "message": "slow", "code": "pairing_timeout"}), False),
        ((200, b"cut sho"), True),
        (ControllerError("timeout", "slow"), False),
        (ControllerError("unreachable", "reset"), True),
    ],
)
async def test_an_unknown_outcome_is_found_out(answer: Any, may_still_run: bool) -> None:  # noqa: FBT001
    rig = by_controller()
    rig.controllers.answers["channels/approve"] = answer
    waits = await rig.decide("approve", telegram())
    assert isinstance(waits, Permanent)
    assert waits.code == (ports.MAY_RUN if may_still_run else ports.DOUBT)
    assert rig.shell.ran == []
    rig.controllers.answers["channels"] = listed()
    gone = await rig.decide("approve", telegram())
    assert isinstance(gone, Ok)
    assert "the request is gone" in gone.value.message
    rig.controllers.answers["channels"] = (500, {"error": "still down"})
    unknown = await rig.decide("approve", telegram())
    assert isinstance(unknown, Permanent)
    assert unknown == waits


@pytest.mark.parametrize("trouble", ["unreachable", "timeout"])
async def test_what_was_never_sent_is_certain(trouble: Any) -> None:
    rig = by_controller()
    refused = ControllerError(trouble, "no connection", arrived=False)
    rig.controllers.answers["channels/approve"] = refused
    failed = await rig.decide("approve", telegram())
    assert failed == Permanent(f"controller_{trouble}", "no connection")


@pytest.mark.parametrize("code", ["pairing_not_found", "pairing_already"])
async def test_an_order_given_again_may_be_refused_because_the_first_was_obeyed(code: str) -> None:
    rig = by_controller()
    rig.controllers.answers["channels/approve"] = (
        409, {"success": False, "message": "Gone", "code": code},
    )  # fmt: skip
    first = await rig.decide("approve", telegram())
    assert first == Permanent(code, "Gone")
    unsure = await rig.decide("approve", telegram(), attempt=2)
    assert unsure == Permanent(ports.MAY_RUN, f"{code}: Gone")


def test_the_plane_waits_longer_than_a_controller_lets_its_command_run() -> None:
    assert limits.APPROVE_TIMEOUT_MS > COMMAND_TIMEOUT_S * 1_000
    assert limits.ORDER_RUNS_MS >= COMMAND_TIMEOUT_S * 1_000
    assert limits.EFFECT_MS > limits.APPROVE_TIMEOUT_MS + 2 * limits.LIST_TIMEOUT_MS


async def test_a_second_try_looks_before_it_asks_again() -> None:
    rig = by_controller()
    rig.controllers.answers["channels/approve"] = (200, {"success": True, "message": "ok"})
    rig.controllers.answers["channels"] = listed()
    done = await rig.decide("approve", telegram(), attempt=2)
    assert isinstance(done, Ok)
    assert not [asked for asked in rig.controllers.asked if asked.startswith("POST")]
    rig.controllers.answers["channels"] = listed(ROW)
    assert await rig.decide("approve", telegram(), attempt=2) == Ok(
        ports.Carried("ok", "controller")
    )


async def test_what_a_list_of_an_agent_that_does_not_pair_is() -> None:
    rig = by_controller()
    refused = (404, {"error": "This agent does not pair", "code": "pairing_unsupported"})
    rig.controllers.answers = {"channels": refused, "devices": refused}
    found = await rig.list_()
    assert isinstance(found, Ok)
    assert (found.value.requests, found.value.complete) == ((), True)


async def test_a_command_that_fails_or_prints_nonsense_is_not_empty() -> None:
    rig = Rig()
    rig.shell.says("openclaw-pairing-list.js", f'{{"requests": [{_json(ROW)}]}}')
    rig.shell.says("openclaw-device-pairing-list.js", "Killed", code=137)
    found = await rig.list_()
    assert isinstance(found, Ok)
    assert [request_id(one.asked) for one in found.value.requests] == ["telegram:AB12"]
    assert not found.value.complete
    assert "devices: its command ended with 137" in found.value.error
    rig.shell.prints[1] = ("device-pairing", Ok(_printed("oops")))
    found = await rig.list_()
    assert isinstance(found, Ok)
    assert not found.value.complete


def _printed(text: str) -> Execution:
    return _execution(exit_code=0, stdout=text)


def _execution(**fields: Any) -> Execution:
    return Execution(**fields)


async def test_a_cloud_without_commands_says_to_redeploy() -> None:
    rig = Rig()
    assert await rig.list_() == await rig.decide("approve", telegram())
    failed = await rig.list_()
    assert isinstance(failed, Permanent)
    assert failed.code == ports.NO_MEANS


async def test_a_failed_command_says_little_and_a_missing_request_is_told_apart() -> None:
    rig = by_command()
    rig.shell.prints.insert(
        0,
        ("approve telegram", Ok(_execution(exit_code=1, stderr="boom: secret at /root/x"))),
    )
    failed = await rig.decide("approve", telegram())
    assert failed == Permanent("pairing_failed", "Approval failed")
    no_such = "No pending pairing request found for code AB12"
    rig.shell.prints[0] = (
        "approve telegram", Ok(_execution(exit_code=1, stderr=no_such)),
    )  # fmt: skip
    failed = await rig.decide("approve", telegram())
    assert isinstance(failed, Permanent)
    assert failed.code == "pairing_not_found"


async def test_a_command_that_timed_out_is_found_out() -> None:
    rig = by_command()
    rig.shell.prints.insert(0, ("approve telegram", Retryable("transient", "killed")))
    failed = await rig.decide("approve", telegram())
    assert isinstance(failed, Permanent)
    assert failed.code == ports.MAY_RUN
    assert failed.message.startswith("command_timeout")
    rig.shell.prints[1] = ("openclaw-pairing-list.js", Ok(_printed('{"requests": []}')))
    assert isinstance(await rig.decide("approve", telegram()), Ok)


async def test_what_does_not_run_is_told_nothing() -> None:
    rig = by_controller()
    rig.places.place = place(running=False)
    failed = await rig.decide("approve", telegram())
    assert failed == Permanent(ports.NOT_RUNNING, "the instance is not running")
    assert rig.controllers.asked == []


async def test_what_no_machine_can_dismiss_is_put_aside_here() -> None:
    rig = by_command()
    done = await rig.decide("dismiss", telegram())
    assert isinstance(done, Ok)
    assert done.value.via == "plane"
    rig = by_controller()
    rig.controllers.answers["devices/dismiss"] = (200, {"success": True, "message": "ok"})
    assert await rig.decide("dismiss", device()) == Ok(ports.Carried("ok", "controller"))


async def test_the_order_says_what_was_looked_at() -> None:
    rig = by_controller()
    row = {**ROW, "fingerprint": "0123456789abcdef", "requestId": "x" * 32}
    rig.controllers.answers["channels"] = listed(row)
    rig.controllers.answers["channels/approve"] = (200, {"success": True, "message": "ok"})
    found = await rig.list_()
    assert isinstance(found, Ok)
    await rig.decide("approve", found.value.requests[-1])
    assert rig.controllers.bodies[-1] == {
        "channel": "telegram",
        "code": "AB12",
        "requestId": "x" * 32,
        "fingerprint": "0123456789abcdef",
    }


async def test_a_process_machine_is_asked_channel_by_channel_one_after_the_other() -> None:
    rig = Rig(kind="process")
    config = '{"channels":{"telegram":{"enabled":true,"botToken":"t"}}}'
    rig.shell.says("/bin/cat", config)
    rig.shell.says("pairing list telegram", '{"channel":"telegram","requests":[]}')
    rig.shell.says("devices list", f'{{"pending": [{_json(PENDING)}], "paired": []}}')
    assert await rig.ids() == [UUID]
    assert len(rig.shell.ran) == 3
    rig.shell.prints[0] = ("/bin/cat", Ok(_printed("not json")))
    failed = await rig.list_()
    assert isinstance(failed, Permanent)
    assert failed.code == "config_unreadable"
