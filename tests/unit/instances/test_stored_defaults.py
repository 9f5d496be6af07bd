"""What a field is read as that stored rows of before it leave out.

They stay in a data folder through upgrades. A default that changes alters what is made of the rows
that are there already.
"""

from __future__ import annotations

import pytest

from holdfast.instances import events, ports, state
from holdfast.letters import instances, machine, spend
from holdfast.wire import budget
from tests.support.declared_defaults import declared, written

DEFAULTS = """
instances.events.AgentsHosted
    destroyed=false
instances.events.BudgetChanged
    crossings=[]
instances.events.BudgetPaused
    currency=""
instances.events.CallFailed
    retry_after_ms=0 repeated=false
instances.events.ConfigChanged
    env={} secrets={} paths={} cpus=null memory_mb=null agent_version=null model=null
instances.events.ContactLost
    level=1
instances.events.DestroyRequested
    reason=""
instances.events.GoOnRequested
    reason=""
instances.events.InstanceCreated
    region="" desired="running" config={} key_expires_ms=0
instances.events.KeyRotated
    key_expires_ms=0
instances.events.LadderRetryRequested
    reason=""
instances.events.LadderStopRequested
    reason=""
instances.events.MachineAdopted
    repeated=false
instances.events.MachineCreated
    config_version=0 repeated=false key_hash="" token_version=0
instances.events.MachineDestroyed
    missing=false
instances.events.MachineReported
    machine_id="" boot_id="" agent_ready=null agent_version="" controller_version="" restarts=0
    reason="" recovery=null agent_state="" phase="" degraded="" failures=0 failure="" repair=""
    next_try_at_ms=0 version_change=null channel_trouble=""
instances.events.MachineStarted
    repeated=false
instances.events.MachineUpdated
    config_version=0 repeated=false key_hash="" token_version=0
instances.events.MachinesFound
    machines=[]
instances.events.RestartBegun
    silent=false boot=null
instances.events.RestartRequested
    reason=""
instances.events.Restored
    machines=[] hold=true
instances.events.SpendAlerted
    currency=""
instances.events.SpendReported
    currency=""
instances.events.StartBegun
    boot=null
instances.events.StartRequested
    reason=""
instances.events.StopRequested
    reason=""
instances.events.TokenRotated
    renew_key=false
instances.events.UpgradeRequested
    restore=false reason=""
instances.events.VolumeSeen
    region=""
instances.ports.HandOverCall
    with_key=true with_tokens=true
instances.ports.Launch
    region="" env={} secrets={} paths={} sealed_key="" key_hash="" token_version=1 cpus=1
    memory_mb=1024 cpu_kind="shared" agent_version="" agent_turn=0 model="" volume_id=""
    config_version=0
instances.ports.Listed
    machines=[]
instances.ports.Made
    adopted=false
instances.ports.Seen
    region="" incarnation="" epoch=0 volume_id=""
instances.ports.VolumeFound
    region=""
instances.state.Config
    version=1 env={} secrets={} paths={} cpus=1 memory_mb=1024 cpu_kind="shared" agent_version=""
    model="" agent_turn=0
instances.state.Contact
    heard="unknown" level=0 since_ms=0 looked=false silent_restarts=0 machine_id="" boot_id=""
    agent_ready=null agent_version="" controller_version="" restarts=0 reason="" recovery=null
    agent_state="" phase="" degraded="" failures=0 failure="" repair="" next_try_at_ms=0
    version_change=null channel_trouble=""
instances.state.Credentials
    key_hash="" sealed_key="" key_expires_ms=0 previous_hash="" previous_expires_ms=0
    token_version=1 previous_token_version=0 previous_token_expires_ms=0 pending_hash=""
    pending_sealed="" pending_expires_ms=0 live_hash="" live_token_version=0 renew_until_ms=0
    tries=0 tried_ms=0 doubt_until_ms=0
instances.state.HostedTown
    told="?"
instances.state.Incident
    worst="" back_ms=0 ended_ms=0 dropped=false restarts=0 launches=0 cuts=0 last_restarts=0
    last_launches=0 last_cuts=0 repairs=[]
instances.state.Instance
    account="" name="" sandbox_id="" agent="" provider="" region="" desired="stopped"
    status="absent" aim="" epoch=0 revision=0 since_ms=0 created_ms=0 started_ms=0 stopped_ms=0
    ever_started=false restart_wanted=false ladder_held=false ladder_turn=0 machine={}
    verdict="unknown" pending_create=null doomed=[] volume_id="" volume_region=""
    volume_checked=false volume_swept=false volume_tries=0 volume_asked_ms=0 late_create_ms=0
    late_launch_ms=0 looked=false looked_ms=0 swept_ms=0 sent=false job=null serial=0 tries=0
    tried_ms=0 tried_step="" try_after_ms=0 failures=0 failed_ms=0 retry_after_ms=0 down_count=0
    suspect_ms=0 twin_ms=0 blocked="" faults={} lost_claims=[] config={} credentials={} contact={}
    budget=null meters=[] budget_turn=0 paused_ms=0 health_ms=0 incidents=[] towns=[] upgrade=null
    aim_boot=null
instances.state.Machine
    id="" state="" incarnation="" before="" epoch=0 config_version=0 seen_ms=0 region=""
instances.state.PendingCreate
    serial=0
instances.state.Upgrade
    step="" reason=""
letters.machine.Condition
    machine_id="" boot_id="" agent_ready=null agent_version="" controller_version="" restarts=0
    reason="" recovery=null agent_state="" phase="" degraded="" failures=0 failure="" repair=""
    next_try_at_ms=0 version_change=null channel_trouble=""
letters.machine.LastContact
    heard_ms=0 lost=false region="" restarts=0 crashes=0 bytes_in=0 bytes_out=0 epoch=0
    pairing_count=0 status_ms=0 status=null
letters.machine.MachineFacts
    previous_key_hash="" previous_key_until_ms=0 next_key_hash="" token_version=1
    live_token_version=1 previous_token_until_ms=0 epoch=0 desired="running" expected=false
    heard=true machine_id="" region="" ladder="auto" ladder_turn=0 revision=0
letters.spend.BudgetFacts
    meters=[] turn=0 paused=false
letters.spend.Crossing
    currency=""
letters.spend.Meter
    currency="" alerted=0 excused=false at_ms=0
letters.spend.SpendCrossed
    currency=""
wire.budget.Budget
    day_micro=0 month_micro=0 day_tokens=0 month_tokens=0 currency="USD" cap=false
"""
FOUND = declared((events, ports, state, instances, machine, spend, budget))
WRITTEN = written(DEFAULTS)


def test_each_stored_form_with_defaults_is_listed() -> None:
    assert sorted(FOUND) == sorted(WRITTEN)


@pytest.mark.parametrize("name", WRITTEN)
def test_a_field_that_is_left_out_is_read_as_before(name: str) -> None:
    assert FOUND[name] == WRITTEN[name]
