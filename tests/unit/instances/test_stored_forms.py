"""What earlier versions stored is read, and stored again as it was: hashes depend on the state's.

An event may get fields behind those that it had. A state shows no field at its default, so one
that is added leaves the bytes of what was stored before as they are.
"""

from __future__ import annotations

from holdfast.instances.events import EVENT_VERSION, MachineReported, decode_event, encode_event
from holdfast.instances.state import STATE_VERSION, decode_state, encode_state
from holdfast.instances.views import decode_machine
from holdfast.letters.machine import MachineFacts
from holdfast.wire.controller.checkin import Recovery

EVENT = (
    b'{"type":"MachineReported","machine_id":"m1","boot_id":"b1","agent_ready":true,'
    b'"agent_version":"2026.1","controller_version":"1.0","restarts":3,"reason":"disk full",'
    b'"recovery":{"rung":"reinstall","reason":"exit code 1","workCuts":2}}'
)
STATE = (
    b'{"id":"i1","contact":{"heard":"heard","since_ms":5,"silent_restarts":1,"machine_id":"m1",'
    b'"boot_id":"b1","agent_ready":true,"agent_version":"2026.1","controller_version":"1.0",'
    b'"restarts":3,"reason":"disk full","recovery":{"rung":"reinstall","reason":"exit code 1",'
    b'"workCuts":2}}}'
)
MACHINE = (
    b'{"instance":"i1","sandbox":"s1","account":"ann","api_key_hash":"ab","previous_key_hash":"",'
    b'"previous_key_until_ms":0,"next_key_hash":"","token_version":1,"live_token_version":1,'
    b'"previous_token_until_ms":0,"epoch":0,"desired":"running","expected":true,"heard":true,'
    b'"machine_id":"m1","region":"","ladder":"auto","ladder_turn":0,"revision":0}'
)
RECOVERY = Recovery(rung="reinstall", reason="exit code 1", work_cuts=2)


def test_a_stored_report_is_read_and_written_alike() -> None:
    event = decode_event(EVENT, EVENT_VERSION)
    assert isinstance(event, MachineReported)
    assert (event.restarts, event.recovery) == (3, RECOVERY)
    assert encode_event(event).startswith(EVENT.removesuffix(b"}"))


def test_a_stored_state_is_read_and_written_alike() -> None:
    state = decode_state(STATE, STATE_VERSION)
    assert (state.contact.heard, state.contact.since_ms) == ("heard", 5)
    assert (state.contact.restarts, state.contact.recovery) == (3, RECOVERY)
    assert encode_state(state) == STATE


def test_a_stored_machine_row_is_read_as_the_facts_of_the_machine() -> None:
    assert decode_machine(MACHINE) == MachineFacts(
        instance="i1", sandbox="s1", account="ann", api_key_hash="ab", expected=True,
        machine_id="m1",
    )  # fmt: skip
    oldest = b'{"instance":"i1","sandbox":"s1","account":"ann","api_key_hash":"ab"}'
    facts = decode_machine(oldest)
    assert (facts.token_version, facts.live_token_version, facts.expected) == (1, 1, False)
