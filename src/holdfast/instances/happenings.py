"""What an event of an instance means, in a sentence for people. Pure.

An event that says nothing to a person (a call that was begun, a machine that was described) has no
sentence: it is one of the details of what led to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from holdfast.wire.limits import REASON_MAX

Fields = Mapping[str, Any]

_PLAIN: Final[Mapping[str, str]] = {
    "InstanceCreated": "It was made",
    "StartRequested": "A start was asked for",
    "StopRequested": "A stop was asked for",
    "RestartRequested": "A restart was asked for",
    "LadderStopRequested": "A stop of its recovery was asked for",
    "LadderRetryRequested": "A new beginning of its recovery was asked for",
    "DestroyRequested": "Its destruction was asked for",
    "UpgradeRequested": "Another version of its agent was asked for",
    "KeyRotated": "Its key was replaced",
    "TokenRotated": "New tokens were asked for",
    "SecretsHandedOver": "Its machine has its new secrets",
    "BudgetChanged": "A change of its budget was asked for",
    "GoOnRequested": "Going on in spite of its budget was asked for",
    "StartBegun": "It is being started",
    "StopBegun": "It is being stopped",
    "RestartBegun": "It is being restarted",
    "DestroyBegun": "It is being destroyed",
    "StopSettled": "It is stopped",
    "StopOverdue": "Its stop takes long; it is shown as stopped meanwhile",
    "DownNoticed": "Its machine ended by itself",
    "SilenceNoticed": "Its machine was never heard",
    "DestroyFinished": "It is gone",
    "ClockSetBack": "The clock was set back",
    "SpendAlerted": "A limit of its budget gave an alert",
    "BudgetPaused": "The cap of its budget paused it",
    "BudgetPauseEnded": "The pause by its budget is over",
    "MachineCreated": "Its machine was made",
    "MachineAdopted": "Its machine was found and taken over",
    "MachineUpdated": "Its machine took its configuration and is launched",
    "MachineStarted": "Its machine is being started",
    "MachineStopped": "Its machine was told to stop",
    "MachinesFound": "The cloud was asked which machines it has",
    "MachineMissing": "The cloud knows no such machine",
    "MachineDestroyed": "Its machine was removed",
    "VolumeMissing": "Its volume is gone",
    "VolumeDestroyed": "Its volume was removed",
    "VolumeAbandoned": "Its volume could not be removed and is left; look at the cloud",
    "ContactLost": "Its machine fell silent",
    "ContactRegained": "Its machine was heard again",
    "TwinSeen": "A second machine reported for it",
    "ClaimLost": "Another instance holds its name",
    "Restored": "It was restored from a backup",
}


def _reported(fields: Fields) -> str:
    """Return what a report of its machine says of its agent."""
    failure, count = str(fields.get("failure") or ""), fields.get("failures") or 0
    row = f" {count} times in a row" if isinstance(count, int) and count > 1 else ""
    how = f" ({failure})" if failure else ""
    after = f" after it ended{row}" if count else ""
    match fields.get("agent_state"):
        case "ready":
            return f"Its agent is ready{after}"
        case "waiting":
            return f"Its agent ended{row}{how}"
        case "starting":
            return f"Its agent is starting{after}"
        case "unready":
            return "Its agent does not answer"
        case "repairing":
            return f"Its agent failed{how} and is being repaired"
        case "parked":
            return f"Its agent will not stay up{how} and was parked"
        case "blocked":
            return "Something else holds its agent's port"
        case "stopping" | "stopped":
            return "Its agent was stopped"
        case _:
            return "Its machine reported something new"


def _failed(fields: Fields) -> str:
    why = fields.get("message") or fields.get("code") or ""
    return f"The cloud could not {str(fields.get('step')).replace('_', ' ')}: {why}"


def _configured(fields: Fields) -> str:
    """Return what was changed of how it is run; nothing for an event that changes nothing."""
    version, model = fields.get("agent_version"), fields.get("model")
    changed = (
        ("its variables", fields.get("env")),
        ("its secrets", fields.get("secrets") or fields.get("paths")),
        ("its size", fields.get("cpus") is not None or fields.get("memory_mb") is not None),
        (f"its agent's version, to {version}", version),
        (f"its model, to {model}" if model else "its model", model is not None),
    )
    what = ", ".join(words for words, is_so in changed if is_so)
    return f"A change was asked for: {what}" if what else ""


def _ended(what: str) -> Callable[[Fields], str]:
    def words(fields: Fields) -> str:
        why = fields.get("message") or fields.get("code")
        return f"{what}: {why}" if why else what

    return words


_MADE: Final[Mapping[str, Callable[[Fields], str]]] = {
    "MachineReported": _reported,
    "CallFailed": _failed,
    "ConfigChanged": _configured,
    "StartEnded": _ended("Its start failed"),
    "RestartEnded": _ended("Its restart failed"),
    "ProvisionExpired": _ended("It was never started and is given up"),
}


def sentence(name: str, fields: Fields) -> str:
    """Return what an event of this name says to a person; nothing for a detail of another."""
    made = _MADE.get(name)
    text = made(fields) if made is not None else _PLAIN.get(name, "")
    reason = fields.get("reason")
    if name.endswith("Requested") and isinstance(reason, str) and reason:
        text = f"{text}: {reason}"
    return text[:REASON_MAX]
