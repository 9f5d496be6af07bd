"""The one status of an instance: a pure function of its state, and nothing else decides it.

Lists, pages, chips, the command line, explanations, the doctor, metrics and incidents all show
what `health` returns. What is not known is never shown as well: an agent is `ready` only while its
machine is heard and has said so.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from holdfast.instances import spend, upgrades
from holdfast.instances.state import Contact, Instance
from holdfast.kernel.clock import SECOND_MS
from holdfast.wire.health import HEALTHS, Health, HealthCode
from holdfast.wire.limits import REASON_MAX
from holdfast.wire.times import time_text

BLOCKED_WORDS: Final = {
    "collision": "a stranger's machine holds its name; remove that or destroy this instance",
    "invalid": "the cloud refuses its configuration; change it, then start it again",
    "unsupported": "the cloud cannot do what it needs; choose another provider",
    "denied": "the cloud denies us; look at the credentials",
    "volume_lost": "its volume is gone; start it again to go on with an empty one",
    "restored": "it comes from a backup and its machine is gone; start it to make one, or destroy"
    " it",
}
"""What each `blocked` of a state means, and what a person can do."""

LOOP: Final = 2
"""Ends of an agent in a row that make a crash loop, which needs attention."""

_REPAIRS: Final = {
    "mend": "its own repair",
    "roll_back": "going back to its last healthy configuration after a trial",
    "last_healthy_config": "going back to its last healthy configuration",
    "reinstall": "installing its program anew",
    "previous_version": "going back to its previous version",
}


class Found(NamedTuple):
    """A status without its times; `try_ms` is when it is started again by itself, 0 for never."""

    code: HealthCode
    text: str
    fix: str = ""
    phase: str = ""
    try_ms: int = 0


def health(state: Instance) -> Health:
    """Return the status of an instance."""
    found, contact = find_health(state), state.contact
    speaks = state.status == "running" and contact.heard == "heard"
    return Health(
        code=found.code,
        text=found.text[:REASON_MAX],
        fix=found.fix[:REASON_MAX],
        since=time_text(state.health_ms) if state.health_ms else None,
        phase=found.phase,
        failures=_failures(state, found.code) if speaks or found.code == "failing" else 0,
        failure=contact.failure if speaks else "",
        next_try=time_text(found.try_ms) if found.try_ms else None,
    )


def _failures(state: Instance, code: HealthCode) -> int:
    """Return the failures in a row of launches, or of the agent in a machine that runs."""
    return state.failures if code == "failing" else state.contact.failures


def find_health(state: Instance) -> Found:
    """Return the status of an instance without its times."""
    wanted = spend.wanted(state)
    if state.status in {"absent", "destroyed"}:
        return Found("destroyed", "it is gone")
    if wanted == "destroyed" or state.status == "destroying":
        stuck = state.faults.get("destroy")
        text = "it is being destroyed" if stuck is None else f"not yet: {stuck.message}"
        return Found("destroying", text)
    if state.blocked:
        text = BLOCKED_WORDS.get(state.blocked, state.blocked)
        return Found("blocked", text)
    if wanted == "stopped":
        return _at_rest(state)
    if state.status == "running" and state.aim == "" and not state.restart_wanted:
        return _agent(state)
    return _launching(state)


def _at_rest(state: Instance) -> Found:
    """Return the status of one that is not to run."""
    is_down = state.status in {"stopped", "provisioned"}
    if state.paused_ms and is_down:
        return Found("paused", spend.pause_words(state) or "paused by the cap of its budget")
    if not is_down:
        why = spend.pause_words(state) if state.paused_ms else "as was asked for"
        return Found("stopping", f"it is being stopped, {why}")
    if state.status == "provisioned":
        return Found("stopped", "it has never been started")
    return Found("stopped", "it is stopped, as was asked for")


def _launching(state: Instance) -> Found:
    """Return the status of one that is to run and whose machine does not run, or is replaced."""
    if state.failures and state.status != "running":
        now = "; launching it again now" if state.status == "starting" else ""
        return Found("failing", launch_words(state) + now, f"holdfast instance why {state.name}")
    if state.restart_wanted or state.status == "restarting" or state.aim == "restart":
        return Found("restarting", "its machine is being launched anew", phase="machine")
    if state.status == "running":
        return Found("stopping", "its machine is being stopped")
    return Found("starting", "its machine is being launched", phase="machine")


def launch_words(state: Instance) -> str:
    """Return what keeps the machine from running: starts that failed, or a machine that ended."""
    times = _row(state.failures)
    run, start = state.faults.get("run"), state.faults.get("start")
    if start is not None and (run is None or start.at_ms >= run.at_ms):
        return f"its machine could not be started, {times}: {start.message}"
    if run is not None:
        return f"its machine ended by itself, {times}: {run.message}"
    return f"its machine did not stay up, {times}"


def _agent(state: Instance) -> Found:
    """Return the status of one whose machine runs: what that reported of its agent."""
    contact, name = state.contact, state.name
    log = f"look at its log: holdfast instance logs {name}"
    if contact.heard == "lost":
        return Found("silent", "its machine missed three check-ins; whether its agent works is"
                     " not known", log)  # fmt: skip
    if contact.heard == "unknown":
        return Found("starting", "its machine runs and has not reported yet", phase="machine")
    changing = upgrades.words(contact)
    if changing and contact.version_change is not None:
        return Found("upgrading", changing, phase=contact.version_change.step)
    recovery = contact.recovery
    if contact.agent_state == "parked" or (recovery is not None and recovery.rung == "parked"):
        why = recovery.reason if recovery is not None else contact.failure
        text = f"its agent will not stay up and is left alone: {why}"
        return Found("parked", text, f"{log}, then: holdfast instance ladder retry {name}")
    if recovery is not None and recovery.blocked:
        return Found("port-taken", f"its agent cannot start: {recovery.blocked}", log,
                     try_ms=contact.next_try_at_ms)  # fmt: skip
    if contact.agent_state == "repairing":
        return Found("repairing", f"its agent failed ({_failure(contact)}); under way:"
                     f" {_REPAIRS.get(contact.repair, contact.repair)}",
                     phase=contact.repair)  # fmt: skip
    if contact.agent_ready and contact.channel_trouble:
        return Found("channel-down", f"its agent runs, but {contact.channel_trouble}", log)
    if contact.agent_ready:
        return _ready(contact)
    if contact.degraded and contact.agent_state in {"", "stopped"}:
        return Found("start-failed", contact.degraded, log)
    return _not_ready(contact, log)


def _ready(contact: Contact) -> Found:
    if not contact.failures:
        return Found("ready", "its agent runs and is ready")
    text = f"ready again, and not proven yet: it ended {_row(contact.failures)}"
    return Found("recovering", f"{text} ({_failure(contact)})")


def _not_ready(contact: Contact, log: str) -> Found:
    """Return the status of an agent that is not ready, by what its supervisor does about it."""
    if contact.agent_state in {"stopping", "stopped"} and not contact.failures:
        return Found("agent-stopped", "its agent was stopped inside of its machine",
                     "start it there, or restart the instance")  # fmt: skip
    if contact.agent_state == "unready":
        before = f"; before, it ended {_row(contact.failures)}" if contact.failures else ""
        return Found("unready", f"its agent runs and does not answer{before}", log)
    if contact.failures or contact.agent_state == "waiting":
        text = f"its agent ended {_row(contact.failures)} ({_failure(contact)})"
        doing = "; it is being started again" if contact.agent_state == "starting" else ""
        return Found("crashing", text + doing, log, try_ms=contact.next_try_at_ms)
    if contact.agent_state == "starting":
        phase = contact.phase if contact.phase not in {"", "ready"} else "agent"
        return Found("starting", "its agent is starting and not ready yet", phase=phase)
    return Found("unreported", HEALTHS["unreported"].text)


def _failure(contact: Contact) -> str:
    return contact.failure or "it is not known how"


def _row(count: int) -> str:
    return "once" if count <= 1 else f"{count} times in a row"


def needs_look(found: Health) -> bool:
    """Return whether a person should look at this status, whatever its recovery does."""
    if found.code in {"crashing", "recovering", "failing"}:
        return found.failures >= LOOP
    return found.code in {"parked", "port-taken", "start-failed", "silent", "channel-down"}


def next_words(try_ms: int, now_ms: int) -> str:
    """Return when it is started again by itself, in words; nothing where nothing is scheduled."""
    if not try_ms:
        return ""
    left_s = (try_ms - now_ms + SECOND_MS - 1) // SECOND_MS
    return f"next try in {left_s} s" if left_s > 0 else "trying again"
