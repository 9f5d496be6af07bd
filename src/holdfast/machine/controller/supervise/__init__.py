"""How the agent is kept running: a state machine of values, without a process in sight.

`step` takes what is, what happened and the time, and returns what is now and what to do. The
supervisor carries the commands out; tests and the simulator do not need to. Times are whole
milliseconds of a clock that never goes back; only an `at_ms` is a time of day.

Between two starts lies at least `start_gap_ms`, whoever wants them. A crash waits for a backoff
that a healthy run resets. A clean exit (code 0, no signal) is the agent asking to be started
again, and it is, at once: the first time after a healthy run or an operator's start, and each
time after a healthy run; further clean exits of short runs wait for a backoff of their own. An
agent that will not stay up climbs the ladder; one whose configuration was just changed does not,
it gets the last healthy one back.

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
    Ending,
    Exit,
    Goodbye,
    Ladder,
    Repair,
    State,
    Status,
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
    "Ending",
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
    "Trial",
    "Verdict",
    "WorkEnded",
    "step",
]  # fmt: skip
