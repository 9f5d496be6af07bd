"""What a machine's answers mean for pairing: from its words to a listing or an outcome. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from holdfast.kernel.outcome import Permanent
from holdfast.pairing.limits import OUTPUT_ITEMS_MAX
from holdfast.pairing.ports import DOUBT, MAY_RUN, NOT_RUNNING, Source
from holdfast.pairing.requests import Waiting, newest_first, of_channel, of_device
from holdfast.wire.controller.calls import ControllerError
from holdfast.wire.controller.pairing import (
    AGENT_NOT_RUNNING,
    PAIRING_ALREADY,
    PAIRING_FAILED,
    PAIRING_INVALID,
    PAIRING_NOT_FOUND,
    PAIRING_TIMEOUT,
    PAIRING_UNKNOWN,
    PAIRING_UNSUPPORTED,
    SHUTTING_DOWN,
    ChannelList,
    DeviceList,
)
from holdfast.wire.limits import REASON_MAX
from holdfast.wire.times import parse_time

NOT_FOUND_TEXT: Final = "no pending pairing request"
"""How OpenClaw's command line says that a request is not there, in lower case."""

_CERTAIN: Final = frozenset({PAIRING_FAILED, SHUTTING_DOWN, AGENT_NOT_RUNNING, PAIRING_UNKNOWN})
"""Codes of 5xx with which a controller says that it did not do what was asked."""

_OVER: Final = frozenset({"controller_timeout", PAIRING_TIMEOUT})
"""Failures after which no order runs any more: each was waited for longer than it may run."""
_FAULT: Final = 500
_BAD_REQUEST: Final = 400


class Half(Struct, frozen=True, kw_only=True):
    """One of the two lists of a machine, and how sure it is."""

    requests: tuple[Waiting, ...] = ()
    complete: bool = True
    sources: tuple[Source, ...] = ()
    error: str = ""


def of_channels(told: ChannelList) -> Half:
    """Return the channels' half of what a controller tells."""
    found = [of_channel(one) for one in told.requests]
    return _half(told, found, {})


def of_devices(told: DeviceList) -> Half:
    """Return the devices' half; a controller that tells how sure it is tells scopes as well."""
    ours = bool(told.epoch or told.statuses)
    found = [of_device(one, tells_scopes=ours) for one in told.requests]
    return _half(told, found, {"": "devices"})


def _half(
    told: ChannelList | DeviceList, found: Iterable[Waiting | None], names: dict[str, str]
) -> Half:
    kept = tuple(one for one in found if one is not None)
    sources = tuple(
        Source(
            name=names.get(one.channel, one.channel),
            last_success_ms=parse_time(one.last_success) or 0,
            error="" if one.error is None else one.error.message,
            stale=one.stale,
        )
        for one in told.statuses
    )
    error = "" if told.error is None else told.error.message
    if told.state == "warming":
        error = error or "its controller has not read the list yet"
    elif told.state != "known":
        error = error or f"its controller calls the list {told.state}"
    return Half(
        requests=kept,
        complete=told.state == "known" and not told.stale,
        sources=sources,
        error=error[:REASON_MAX],
    )


def join(halves: Iterable[Half]) -> Half:
    """Return both halves as one, newest first and bounded."""
    both = tuple(halves)
    requests = newest_first(one for half in both for one in half.requests)
    errors = dict.fromkeys(half.error for half in both if half.error)
    return Half(
        requests=requests[:OUTPUT_ITEMS_MAX],
        complete=all(half.complete for half in both) and len(requests) <= OUTPUT_ITEMS_MAX,
        sources=tuple(source for half in both for source in half.sources),
        error="; ".join(errors)[:REASON_MAX],
    )


def does_not_pair(error: ControllerError) -> bool:
    """Return whether a controller says that its agent has no pairing at all."""
    return error.code == PAIRING_UNSUPPORTED


def is_doubtful(error: ControllerError) -> bool:
    """Return whether what was asked may have been done although it failed."""
    match error.trouble:
        case "timeout" | "broken" | "unreachable":
            return error.arrived
        case "refused":
            return error.status >= _FAULT and error.code not in _CERTAIN
        case _:
            return False


def failure(error: ControllerError) -> Permanent:
    """Return a controller's failure to decide in this subject's words."""
    if error.trouble == "not_running":
        return Permanent(NOT_RUNNING, "the instance is not running")
    codes = {
        "unreachable": "controller_unreachable",
        "timeout": "controller_timeout",
        "unauthorised": "controller_unauthorised",
        "broken": "controller_answer_broken",
    }
    plain = PAIRING_INVALID if error.status == _BAD_REQUEST else "controller_refused"
    code = codes.get(error.trouble) or error.code or plain
    return Permanent(code, error.message[:REASON_MAX])


def was_decided(code: str) -> bool:
    """Return whether a request that was refused so is over, so that an earlier order may be why."""
    return code in {PAIRING_NOT_FOUND, PAIRING_ALREADY}


def doubt(error: Permanent, *, runs: bool | None = None) -> Permanent:
    """Return that the outcome is not known, with what went wrong first.

    `runs` says whether the order may run on; None leaves it to the kind of the failure.
    """
    may_run = error.code not in _OVER if runs is None else runs
    return Permanent(MAY_RUN if may_run else DOUBT, f"{error.code}: {error.message}"[:REASON_MAX])
