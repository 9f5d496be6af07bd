"""Supervision of the agent: a state machine of values, without any process.

`step` takes the state, an event and the time, and returns the new state and commands. The
supervisor executes the commands; tests and the simulator do not need to. Times are whole
milliseconds of a monotonic clock; only an `at_ms` is a time of day.

Between two starts lies at least `start_gap_ms`, whatever their cause. A crash waits for a backoff
that a healthy run resets. A clean exit (code 0, no signal) is the agent's request for a restart,
which it gets at once: the first time after a healthy run or an operator's start, and each time
after a healthy run; further clean exits of short runs have a backoff of their own. An agent that
keeps failing climbs the ladder; one whose configuration was just changed gets the last healthy one
back instead.

It must never hold two children, start one while stopping, or leave `shutting_down`.
"""

from __future__ import annotations

from holdfast.machine.controller.supervise.actions import (
    BeginRepair,
    BeHealthy,
    CancelRepair,
    Command,
    Drain,
    Kill,
    Spawn,
    Terminate,
)
from holdfast.machine.controller.supervise.events import (
    ConfigChanged,
    Due,
    Event,
    Exited,
    HoldLadder,
    PortTaken,
    Probed,
    Repaired,
    Restart,
    RetryLadder,
    Shutdown,
    Spawned,
    SpawnFailed,
    Start,
    Stop,
    WorkEnded,
)
from holdfast.machine.controller.supervise.policy import EX_CONFIG, Policy
from holdfast.machine.controller.supervise.state import (
    Climb,
    Exit,
    Goodbye,
    Ladder,
    Repair,
    State,
    Status,
    Termination,
    Trial,
    Verdict,
)
from holdfast.machine.controller.supervise.step import step

__all__ = [
    "EX_CONFIG",
    "BeHealthy",
    "BeginRepair",
    "CancelRepair",
    "Climb",
    "Command",
    "ConfigChanged",
    "Drain",
    "Due",
    "Event",
    "Exit",
    "Exited",
    "Goodbye",
    "HoldLadder",
    "Kill",
    "Ladder",
    "Policy",
    "PortTaken",
    "Probed",
    "Repair",
    "Repaired",
    "Restart",
    "RetryLadder",
    "Shutdown",
    "Spawn",
    "SpawnFailed",
    "Spawned",
    "Start",
    "State",
    "Status",
    "Stop",
    "Terminate",
    "Termination",
    "Trial",
    "Verdict",
    "WorkEnded",
    "step",
]  # fmt: skip
