"""Statements that hold of every instance at every moment; a broken one is a note for people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from holdfast.actors.definition import Invariant
from holdfast.actors.limits import STATE_INLINE_BYTES_MAX
from holdfast.instances import spend
from holdfast.instances.state import Instance, encode_state, exists

Check = Callable[[Instance, str], str | None]


def _one_machine(state: Instance, _key: str) -> str | None:
    if state.machine.id and state.machine.id in state.doomed and state.desired != "destroyed":
        return f"machine {state.machine.id} is both bound and to be destroyed"
    return None


def _aim_fits(state: Instance, _key: str) -> str | None:
    fits = {
        "starting": {"start", "stop"},
        "restarting": {"restart", "stop"},
        "destroying": {"destroy"},
    }
    allowed = fits.get(state.status, {"", "stop"})
    return None if state.aim in allowed else f"{state.status} with the aim {state.aim!r}"


def _desired_fits(state: Instance, _key: str) -> str | None:
    if state.status in {"destroying", "destroyed"} and state.desired != "destroyed":
        return f"{state.status} but wanted {state.desired}"
    return None


def _job_numbered(state: Instance, _key: str) -> str | None:
    if state.job is not None and state.job.serial != state.serial:
        return f"the job under way is {state.job.serial}, the newest call {state.serial}"
    return None


def _named(state: Instance, _key: str) -> str | None:
    if exists(state) and not (state.account and state.name and state.sandbox_id):
        return "it exists without account, name or sandbox id"
    return None


def _tombstone_bare(state: Instance, _key: str) -> str | None:
    if state.status == "destroyed" and (state.machine.id or state.doomed or state.job):
        return "a tombstone still names a machine or a call"
    return None


def _small(state: Instance, _key: str) -> str | None:
    size = len(encode_state(state))
    if size > STATE_INLINE_BYTES_MAX:
        return f"the state takes {size} bytes; at most {STATE_INLINE_BYTES_MAX}"
    return None


def _running_known(state: Instance, _key: str) -> str | None:
    if state.status == "running" and not state.machine.id and state.aim != "stop":
        return "it runs without a machine"
    return None


def _paused_by_its_cap(state: Instance, _key: str) -> str | None:
    reached = state.desired == "running" and spend.over(state) is not None
    if reached != bool(state.paused_ms):
        return f"its cap is reached: {reached}, and it is paused since {state.paused_ms} ms"
    return None


_CHECKS: Final[tuple[tuple[int, str, Check], ...]] = (
    (1, "A machine is either bound or doomed, never both.", _one_machine),
    (2, "The aim fits the status.", _aim_fits),
    (3, "What is being destroyed is wanted destroyed.", _desired_fits),
    (4, "The job under way is the newest call.", _job_numbered),
    (5, "What exists has an owner and names.", _named),
    (6, "A tombstone holds nothing.", _tombstone_bare),
    (7, "The state fits in one row.", _small),
    (8, "What runs has a machine, unless it is being stopped.", _running_known),
    (9, "It is paused exactly while its cap is reached.", _paused_by_its_cap),
)
INVARIANTS: Final = tuple(Invariant(number, text, check) for number, text, check in _CHECKS)
