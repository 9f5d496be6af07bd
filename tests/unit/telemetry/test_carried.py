"""What a check-in carries reaches whoever shows it or decides by it, field by field."""

from __future__ import annotations

import msgspec
import pytest

from holdfast.instances import events
from holdfast.letters.machine import Condition
from holdfast.telemetry.contact import (
    COMPARED,
    changed_fields,
    decode_contact,
    encode_contact,
    last_contact,
    new_contact,
    note,
    report_of,
)
from holdfast.wire.controller.checkin import (
    CheckIn,
    Climb,
    MachineStatus,
    ObserverWork,
    Recovery,
    Start,
    UnreadSources,
    VersionChange,
)
from holdfast.wire.controller.checkin import StartPhase as Phase
from tests.support.toys.machines import checkin
from tests.unit.instances.driver import Driver

STATUS = MachineStatus(
    uptime_seconds=12.5, load_avg_5m=0.5, disk_used_bytes=5, disk_total_bytes=10,
    agent_kind="demo", confinement="landlock", cpus=2, memory_bytes=1_024, failed_checkins=1,
    last_error="http_503", observer="failing", observer_reason="it ended",
    observer_work=ObserverWork(heard=7, unread=(UnreadSources(reason="a link", sources=2),)),
    start=Start(phases=(Phase(name="doctor", state="done"),)),
    climbs=(Climb(rung="reinstall", at_ms=1),),
)  # fmt: skip
CONDITION = Condition(
    machine_id="m1", boot_id="b1", agent_ready=True, agent_version="2026.1",
    controller_version="1.0", restarts=3, reason="disk full",
    recovery=Recovery(rung="reinstall", work_cuts=2), agent_state="waiting", phase="ready",
    degraded="disk full", failures=2, failure="SIGKILL", repair="mend", next_try_at_ms=9,
    version_change=VersionChange(before="2026.1", after="2026.2", step="done"),
    channel_trouble="telegram does not run",
)  # fmt: skip
OLD_ROW = b"""{"instance":"i1","heard_ms":1780000000000,"interval_ms":60000,"ledger":{"restarts":0,
"crashes":0,"bytes_in":0,"bytes_out":0,"returns":0,"streak":0,"boots":[]},"report":{"machine_id":
"m1","boot_id":"b1","epoch":2,"supervisor_state":"running","agent_ready":true,"agent_version":
"2026.1","controller_version":"1.0","degraded":"disk full","recovery":{"rung":"reinstall","reason":
"exit code 1","workCuts":2},"pairing_count":3},"report_key":"k","told":{"machine_id":"m1","boot_id":
"b1","epoch":2,"supervisor_state":"running","agent_ready":true,"agent_version":"2026.1",
"controller_version":"1.0","degraded":"disk full","recovery":{"rung":"reinstall","reason":
"exit code 1","workCuts":2},"pairing_count":3},"region":"fra","load_5m":0.5,"uptime_s":12.5,
"disk_used":5,"disk_total":10,"agent_kind":"demo","confinement":"landlock","cpus":2,"memory_bytes":
1024,"failed_checkins":1,"last_error":"http_503","start":{"phases":[{"name":"doctor","state":
"done"}]},"start_ms":1779999999000,"climbs":[{"rung":"reinstall","atMs":1}]}"""
"""A row as the version before `status` wrote it."""


def is_all_given(value: msgspec.Struct) -> bool:
    """Return whether no field of a sample has its default: one that was added is missed else."""
    return all(getattr(value, f.name) != f.default for f in msgspec.structs.fields(value))


def test_every_field_that_is_shown_is_kept_and_handed_on() -> None:
    assert is_all_given(STATUS)
    fields = {name: getattr(STATUS, name) for name in STATUS.__struct_fields__}
    contact = new_contact("i1")
    contact.heard_ms = 7
    note(contact, msgspec.structs.replace(checkin(), **fields), region="fra")
    kept = last_contact(decode_contact(encode_contact(contact)), lost=False)
    assert (kept.status, kept.status_ms, kept.heard_ms) == (STATUS, 7, 7)
    assert type(kept.status) is MachineStatus, "without what only the message needs"


def test_every_field_of_the_condition_is_decided_by() -> None:
    assert is_all_given(CONDITION)
    driver = Driver().running()
    event = msgspec.convert(CONDITION, events.MachineReported, from_attributes=True)
    assert driver.send(event).outcome == "applied"
    contact = driver.state.contact
    assert msgspec.convert(contact, Condition, from_attributes=True) == CONDITION
    assert driver.send(event).outcome == "ignored"


def test_a_report_takes_what_it_names_from_the_check_in() -> None:
    contact = new_contact("i1")
    heard = checkin(
        agentReady=True,
        agentState="ready",
        degraded="disk full",
        lastExitReason="code:1",
        pairingCount=4,
    )
    report = report_of(heard, contact.ledger, placed="m1")
    assert {n: getattr(heard, n) for n in COMPARED & set(CheckIn.__struct_fields__)} == {
        n: getattr(report, n) for n in COMPARED & set(CheckIn.__struct_fields__)
    }
    assert (report.agent_version, report.reason) == ("2026.9.6", "disk full")
    well = report_of(checkin(lastExitReason="code:1"), contact.ledger, placed="m1")
    assert well.reason == "code:1"
    assert changed_fields(report, well) == {
        "agent_ready", "agent_state", "degraded", "pairing_count"
    }  # fmt: skip


def test_a_row_of_the_version_before_is_read_whole_and_is_no_news() -> None:
    row = decode_contact(OLD_ROW)
    told_then = msgspec.structs.replace(STATUS, observer="", observer_reason="", observer_work=None)
    assert (row.status, row.status_ms) == (told_then, 1_779_999_999_000)
    assert row.report is not None
    assert row.report.reason == "disk full"
    assert row.report == row.told
    assert decode_contact(encode_contact(row)) == row


def test_a_row_that_was_never_heard_has_no_status() -> None:
    row = decode_contact(encode_contact(new_contact("i1")))
    assert (row.status, row.heard_ms) == (None, 0)


@pytest.mark.parametrize(
    ("supervisor", "ready", "state"),
    [
        ("running", True, "ready"),
        ("running", False, "unready"),
        ("running", None, ""),
        ("crashed", None, "waiting"),
        ("starting", False, "starting"),
        ("some word", True, ""),
    ],
)
def test_what_an_older_controller_says_is_read_as_far_as_it_goes(
    supervisor: str,
    ready: bool | None,  # noqa: FBT001  as a check-in has it
    state: str,
) -> None:
    heard = checkin(supervisorState=supervisor, agentReady=ready)
    assert report_of(heard, new_contact("i1").ledger, placed="m1").agent_state == state
