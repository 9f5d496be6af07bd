"""The one status of an instance: what it can be, what that is called, and what hurts first.

`instances.health` decides which of these an instance is in. Lists, pages, the command line, the
doctor and metrics show that decision and take words, tone and order from here. Their order in
`HEALTHS` is the order in which they hurt, the worst first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal, NamedTuple, TypeAlias

from msgspec import Meta, Struct

from holdfast.wire.limits import COUNTER_MAX, REASON_MAX, TEXT_MAX

Tone: TypeAlias = Literal["ok", "busy", "off", "warn", "bad"]
"""`ok` as wanted, `busy` under way, `off` at rest, `warn` look when you can, `bad` look now."""

HealthCode: TypeAlias = Literal[
    "damaged",
    "blocked",
    "parked",
    "port-taken",
    "start-failed",
    "failing",
    "crashing",
    "silent",
    "unready",
    "channel-down",
    "repairing",
    "agent-stopped",
    "paused",
    "recovering",
    "unreported",
    "upgrading",
    "starting",
    "restarting",
    "stopping",
    "destroying",
    "ready",
    "stopped",
    "destroyed",
]


class Meaning(NamedTuple):
    """What a status is called, its tone, and what it means."""

    title: str
    tone: Tone
    text: str


HEALTHS: Final[Mapping[HealthCode, Meaning]] = {
    "damaged": Meaning("Unknown", "bad", "Its stored row is damaged."),
    "blocked": Meaning("Needs a person", "bad", "Only a person can go on here."),
    "parked": Meaning("Parked", "bad", "Its agent kept failing; nothing more is tried."),
    "port-taken": Meaning("Port taken", "bad", "Something else holds its agent's port."),
    "start-failed": Meaning("Start failed", "bad", "Its controller could not start it."),
    "failing": Meaning("Cannot launch", "bad", "Its machine does not come up."),
    "crashing": Meaning("Crashing", "bad", "Its agent ended by itself."),
    "silent": Meaning("Silent", "bad", "Its machine missed three check-ins."),
    "unready": Meaning("Not answering", "bad", "Its agent runs and does not answer."),
    "channel-down": Meaning("Channel down", "bad", "It runs, and a channel of it does not."),
    "repairing": Meaning("Repairing", "warn", "Its agent is being repaired."),
    "agent-stopped": Meaning("Agent stopped", "warn", "Stopped inside of its machine."),
    "paused": Meaning("Paused", "warn", "The cap of its budget stopped it."),
    "recovering": Meaning("Recovering", "warn", "Ready again, and not proven yet."),
    "unreported": Meaning("Not known", "warn", "Its machine does not say if it is ready."),
    "upgrading": Meaning("Upgrading", "busy", "Its agent is given another version."),
    "starting": Meaning("Starting", "busy", "It is on its way up."),
    "restarting": Meaning("Restarting", "busy", "It is being launched anew."),
    "stopping": Meaning("Stopping", "busy", "It is on its way down, as was asked for."),
    "destroying": Meaning("Destroying", "busy", "It is being removed for good."),
    "ready": Meaning("Ready", "ok", "Its agent runs and is ready."),
    "stopped": Meaning("Stopped", "off", "It is stopped, as was asked for."),
    "destroyed": Meaning("Destroyed", "off", "It is gone."),
}

RANKS: Final[Mapping[HealthCode, int]] = {code: rank for rank, code in enumerate(HEALTHS)}
"""Position from what hurts most."""

_OUTAGES: Final[tuple[HealthCode, ...]] = (
    *(code for code, meaning in HEALTHS.items() if meaning.tone == "bad"),
    "repairing",
)

DOWN: Final = frozenset(_OUTAGES)
"""Statuses that are an outage where the instance is wanted running."""

WORKING: Final[frozenset[HealthCode]] = frozenset({"ready", "recovering"})
"""Statuses in which the agent is known to work."""

_Label = Annotated[str, Meta(max_length=TEXT_MAX)]
_Reason = Annotated[str, Meta(max_length=REASON_MAX)]
_Counter = Annotated[int, Meta(ge=0, le=COUNTER_MAX)]
_Time = Annotated[str, Meta(max_length=32)]


class Health(Struct, frozen=True, kw_only=True):
    """The status of an instance, with what is known of it.

    `text` is one clause that says what is so, `fix` what a person can do. `since` is when the
    status began. `phase` is how far a start or a repair is. `failures` counts ends of its agent in
    a row that nobody asked for, `failure` says how the last one came. `next_try` is when it is
    started again by itself, null where nothing is scheduled.
    """

    code: HealthCode = "unreported"
    text: _Reason = ""
    fix: _Reason = ""
    since: _Time | None = None
    phase: _Label = ""
    failures: _Counter = 0
    failure: _Reason = ""
    next_try: _Time | None = None
