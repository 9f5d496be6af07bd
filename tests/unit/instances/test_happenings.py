"""Each event says what happened in a sentence, or is a detail of what led to it."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from holdfast.instances import events
from holdfast.instances.definition import INSTANCE
from holdfast.instances.happenings import sentence
from holdfast.machine.controller.report.facts import AgentState

DETAILS = {
    "CallBegun", "CallExpired", "MachineCreateBegun", "MachineDescribed", "MachineWatched",
    "ConfigChanged", "SecretsResealed", "SpendPeriodEnded", "SpendReported", "VolumeSeen",
    "KeyMinted", "AgentsHosted", "TownsTold",
}  # fmt: skip


SENTENCES = {
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


def test_every_event_has_its_sentence_or_is_a_detail() -> None:
    made = {"CallFailed", "MachineReported", "ProvisionExpired", "RestartEnded", "StartEnded"}
    names = {kind.__name__ for kind in get_args(events.Event)}
    assert SENTENCES.keys() | made | DETAILS == names
    assert {name: sentence(name, {}) for name in names - made} == {
        **SENTENCES,
        **dict.fromkeys(DETAILS, ""),
    }


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"agent_state": "waiting", "failures": 3, "failure": "SIGKILL"},
         "Its agent ended 3 times in a row (SIGKILL)"),
        ({"agent_state": "waiting", "failures": 1, "failure": "exit code 1"},
         "Its agent ended (exit code 1)"),
        ({"agent_state": "ready"}, "Its agent is ready"),
        ({"agent_state": "ready", "failures": 2},
         "Its agent is ready after it ended 2 times in a row"),
        ({"agent_state": "parked", "failure": "exit code 78"},
         "Its agent will not stay up (exit code 78) and was parked"),
        ({"agent_state": 7, "failures": "x"}, "Its machine reported something new"),
    ],
)  # fmt: skip
def test_a_report_is_told_by_what_it_says_of_the_agent(
    fields: dict[str, object], said: str
) -> None:
    assert sentence("MachineReported", fields) == said


def test_a_persons_reason_is_part_of_it() -> None:
    assert sentence("StopRequested", {"reason": "too loud"}) == "A stop was asked for: too loud"


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (events.ConfigChanged(), ""),
        (events.ConfigChanged(env={"A": "1"}), "A change was asked for: its variables"),
        (events.ConfigChanged(secrets={"A": "s"}), "A change was asked for: its secrets"),
        (events.ConfigChanged(paths={"A": "/a"}), "A change was asked for: its secrets"),
        (events.ConfigChanged(cpus=0), "A change was asked for: its size"),
        (events.ConfigChanged(memory_mb=512), "A change was asked for: its size"),
        (
            events.ConfigChanged(agent_version="2"),
            "A change was asked for: its agent's version, to 2",
        ),
        (events.ConfigChanged(model="a/b"), "A change was asked for: its model, to a/b"),
        (events.ConfigChanged(model=""), "A change was asked for: its model"),
        (
            events.ConfigChanged(env={"A": None}, agent_version="2"),
            "A change was asked for: its variables, its agent's version, to 2",
        ),
    ],
)
def test_a_change_is_told_by_what_it_changes(event: events.ConfigChanged, said: str) -> None:
    assert sentence("ConfigChanged", msgspec.json.decode(INSTANCE.encode_event(event))) == said


_STATES = {
    "ready": ("Its agent is ready", "Its agent is ready after it ended 2 times in a row"),
    "waiting": ("Its agent ended (boom)", "Its agent ended 2 times in a row (boom)"),
    "starting": ("Its agent is starting", "Its agent is starting after it ended 2 times in a row"),
    "unready": ("Its agent does not answer", "Its agent does not answer"),
    "repairing": ("Its agent failed (boom) and is being repaired",) * 2,
    "parked": ("Its agent will not stay up (boom) and was parked",) * 2,
    "blocked": ("Something else holds its agent's port",) * 2,
    "stopping": ("Its agent was stopped",) * 2,
    "stopped": ("Its agent was stopped",) * 2,
    "": ("Its machine reported something new",) * 2,
}


def test_every_state_of_an_agent_has_its_sentence() -> None:
    assert set(_STATES) == {*get_args(AgentState), ""}, "an older controller says none"
    for state, sentences in _STATES.items():
        for failures, said in zip((0, 2), sentences, strict=True):
            fields = {"agent_state": state, "failures": failures, "failure": "boom"}
            assert sentence("MachineReported", fields) == said


@pytest.mark.parametrize(
    ("name", "fields", "said"),
    [
        ("CallFailed", {"step": "create_machine", "code": "denied", "message": "no key"},
         "The cloud could not create machine: no key"),
        ("StartEnded", {"message": "too slow"}, "Its start failed: too slow"),
        ("StartEnded", {}, "Its start failed"),
        ("RestartEnded", {"code": "timeout"}, "Its restart failed: timeout"),
        ("ProvisionExpired", {}, "It was never started and is given up"),
    ],
)  # fmt: skip
def test_what_failed_is_told_with_its_reason(name: str, fields: dict[str, str], said: str) -> None:
    assert sentence(name, fields) == said
