"""Decodes machines' answers to listings and outcomes. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from holdfast.kernel.outcome import Permanent
from holdfast.pairing.limits import OUTPUT_ITEMS_MAX
from holdfast.pairing.ports import DOUBT, MAY_RUN, NOT_RUNNING, Listing, Source
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
"""What OpenClaw's command line prints for an unknown request, in lower case."""

_CERTAIN: Final = frozenset({PAIRING_FAILED, SHUTTING_DOWN, AGENT_NOT_RUNNING, PAIRING_UNKNOWN})
"""Codes of 5xx by which a controller reports that it did not carry out the order."""

_OVER: Final = frozenset({"controller_timeout", PAIRING_TIMEOUT})
"""Failures after which no order runs any more: the wait exceeded its longest run."""
_FAULT: Final = 500
_BAD_REQUEST: Final = 400


def of_channels(answer: ChannelList) -> Listing:
    """Return the channel requests of a controller's answer."""
    found = [of_channel(one) for one in answer.requests]
    return _listing(answer, found, {})


def of_devices(answer: DeviceList) -> Listing:
    """Return the device requests; a controller that has an epoch or statuses sends scopes too."""
    ours = bool(answer.epoch or answer.statuses)
    found = [of_device(one, has_scopes=ours) for one in answer.requests]
    return _listing(answer, found, {"": "devices"})


def _listing(
    answer: ChannelList | DeviceList, found: Iterable[Waiting | None], names: dict[str, str]
) -> Listing:
    kept = tuple(one for one in found if one is not None)
    sources = tuple(
        Source(
            name=names.get(one.channel, one.channel),
            last_success_ms=parse_time(one.last_success) or 0,
            error="" if one.error is None else one.error.message,
            stale=one.stale,
        )
        for one in answer.statuses
    )
    error = "" if answer.error is None else answer.error.message
    if answer.state == "warming":
        error = error or "its controller has not read the list yet"
    elif answer.state != "known":
        error = error or f"its controller calls the list {answer.state}"
    return Listing(
        via="controller",
        requests=kept,
        complete=answer.state == "known" and not answer.stale,
        sources=sources,
        error=error[:REASON_MAX],
    )


def join(lists: Iterable[Listing]) -> Listing:
    """Return one or more lists read the same way as one, newest first and bounded."""
    parts = tuple(lists)
    requests = newest_first(one for part in parts for one in part.requests)
    errors = dict.fromkeys(part.error for part in parts if part.error)
    return Listing(
        via=parts[0].via,
        requests=requests[:OUTPUT_ITEMS_MAX],
        complete=all(part.complete for part in parts) and len(requests) <= OUTPUT_ITEMS_MAX,
        sources=tuple(source for part in parts for source in part.sources),
        error="; ".join(errors)[:REASON_MAX],
    )


def does_not_pair(error: ControllerError) -> bool:
    """Return whether a controller reports that its agent has no pairing."""
    return error.code == PAIRING_UNSUPPORTED


def is_doubtful(error: ControllerError) -> bool:
    """Return whether a failed order may have been carried out."""
    match error.trouble:
        case "timeout" | "broken" | "unreachable":
            return error.arrived
        case "refused":
            return error.status >= _FAULT and error.code not in _CERTAIN
        case _:
            return False


def failure(error: ControllerError) -> Permanent:
    """Return a controller's failure as a Permanent with a code of pairing."""
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
    """Return whether a refusal means that the request is over, maybe by an earlier order."""
    return code in {PAIRING_NOT_FOUND, PAIRING_ALREADY}


def doubt(error: Permanent, *, runs: bool | None = None) -> Permanent:
    """Return an unknown outcome, with the first error.

    `runs` is whether the order may still run; None derives it from the error's code.
    """
    may_run = error.code not in _OVER if runs is None else runs
    return Permanent(MAY_RUN if may_run else DOUBT, f"{error.code}: {error.message}"[:REASON_MAX])
