"""What a field that a message leaves out is read as: older senders leave out newer fields.

A default is part of the wire format. One that changes alters what is read from controllers, brains
and programs that were installed before, so each is written down here once more.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import msgspec
import pytest
from msgspec import NODEFAULT, UNSET, Raw, Struct

import holdfast.wire

# An absent field is one of which the reader can tell that it was left out.
DEFAULTS = """
api.accounts.AccountView
    damaged=""
api.accounts.AuditList
    next=""
api.accounts.AuditVerdict
    broken_at=null head="" reason="" purged=0 head_kept=false
api.accounts.AuditView
    damaged=""
api.accounts.PasswordChange
    current=""
api.accounts.PersonCreate
    account=""
api.accounts.PersonView
    damaged=""
api.accounts.SessionView
    csrf=""
api.accounts.TokenCreate
    scope="owner" account="" expires_in_s=null
api.accounts.TokenView
    expires_at=null last_used_at=null revoked_at=null damaged=""
api.brains.BrainCreate
    account="" instance=""
api.brains.BrainKeyCreate
    account="" brain=""
api.brains.BrainKeyView
    last_used_at=null revoked_at=null damaged=""
api.brains.BrainList
    next=""
api.brains.BrainView
    alerts=[] damaged=""
api.brains.CorrectionList
    next=""
api.brains.CorrectionView
    damaged=""
api.brains.LessonList
    next=""
api.brains.LessonView
    taken=false damaged=""
api.call.Problem
    field="" fix="" operation="" detail=""
api.ingest.BrainStanding
    last_sync_at=null status="connected"
api.ingest.ConnectAnswer
    status="connected"
api.ingest.ConnectRequest
    brain_name=null brain_id=null domain=null manifest=null
api.ingest.CorpusRequest
    patterns=null
api.ingest.CorrectAnswer
    tags=[] deduplicated=false diff=null classifications=[]
api.ingest.CorrectRequest
    brain_id=null draft=null final=null category=null context=null session=null applies_to=null
api.ingest.CorrectedData
    summary=""
api.ingest.IngestAnswer
    refused=[] high_water=0 verdicts=0
api.ingest.IngestRequest
    version=null sdk=null source=null brain=null queue=null rows=null brain_id=null correction=null
    event_id=null
api.ingest.MetricsRequest
    brain_id=null session=null sent_at=null
api.ingest.PushAnswer
    rejected=[] deduplicated=0
api.ingest.PushRequest
    brain_id=null device_id=null events=null
api.ingest.QueueState
    depth=0 oldest_ms=0
api.ingest.RefusedRow
    id="" status=422
api.ingest.RulesRequest
    brain_id=null task=null context=null
api.ingest.SyncAnswer
    deduplicated=0 corrections_synced=0 lessons_synced=0 events_synced=0 meta_rules_synced=0
api.ingest.SyncRequest
    brain_name=null brain_id=null manifest=null events=null corrections=null lessons=null
    meta_rules=null cursor=null
api.ingest.Taken
    status="ok"
api.ingest.VerdictsAnswer
    items=[]
api.ingest.VerdictsRequest
    version=null sdk=null brain=null of=null known=null
api.ingest.WhoAmI
    brain_id=""
api.instances.BulkItem
    code="" message="" operation=""
api.instances.BulkOrder
    reason=""
api.instances.Climb
    reason="" done=null detail=""
api.instances.Explanation
    facts=[] waiting_for="" next_at=null fix=""
api.instances.Fact
    at=null
api.instances.InstanceCreate
    agent="demo" desired="running" region="" account="" env={} secrets={}
api.instances.InstanceDestroy
    reason=""
api.instances.InstanceDetail
    env={} secret_names=[] started_at=null stopped_at=null next_alarm_at=null sandbox_id=""
    start=null climbs=[] details=[]
api.instances.InstanceList
    next="" total=0 counts={}
api.instances.InstanceOrder
    reason=""
api.instances.InstancePatch
    env={} secrets={}
api.instances.InstanceRotation
    overlap_s=86400 key=true reason=""
api.instances.InstanceView
    region="" machine_id="" agent_version="" controller_version="" agent_ready=null contact="never"
    load=null epoch=0 seq=0 attention="" error="" recovery=null confinement="unknown"
api.instances.LogLine
    stream="stdout" at=null
api.instances.LogTail
    next="" note=""
api.instances.RecoveryView
    rung="restart" reason="" held=false blocked="" work_cuts=0 config="" config_reason=""
api.instances.StartPhase
    state="ahead" deadline_ms=0 took_ms=0 critical=false reason=""
api.instances.StartView
    phases=[] told_at=null again_at=null
api.instances.Timeline
    next=""
api.instances.TimelineEntry
    seq=0 tick=0 outcome="" rule="" reason="" cause="" details=[]
api.maintenance.ConfigPatch
    etag="" force=false
api.maintenance.ConfigReplace
    etag="" force=false
api.maintenance.ConfigRestore
    force=false
api.maintenance.ConfigVersion
    verdict="unknown" verdict_at=null reason=""
api.maintenance.ConfigView
    plain=true
api.maintenance.DoctorRun
    run_id="" fix=true started_at=null finished_at=null exit_code=null error="" output=""
    truncated=false next=0
api.maintenance.DoctorStart
    fix=true
api.maintenance.FileEntry
    more=false
api.maintenance.FileList
    truncated=false
api.maintenance.FileWrite
    etag="" create=false
api.operations.Operation
    code="" message="" by="" seq=0 done=false steps=[] damaged=""
api.operations.OperationList
    next=""
api.operations.OperationStep
    at=null state="pending" rule="" reason="" message="" attempts=0 cause=""
api.operations.QuarantineList
    next=""
api.operations.QuarantineOrder
    reason=""
api.operations.QuarantinedEvent
    attempts=0 damaged=""
api.pairing.PairingApprove
    request_id=null channel=null code=null remember=false fingerprint=""
api.pairing.PairingDismiss
    request_id=null channel=null code=null fingerprint=""
api.pairing.PairingEntry
    request_id="" kind=null channel="" sender="" by="" rule="" via="" message=""
api.pairing.PairingHistory
    next=""
api.pairing.PairingInbox
    counts={} next="" troubles=[]
api.pairing.PairingList
    epoch=0 fetched_at=null error="" note="" sources=[]
api.pairing.PairingOutcome
    remembered=""
api.pairing.PairingPolicy
    rules=[]
api.pairing.PairingPolicySet
    rules=[] version=null
api.pairing.PairingRequest
    sender_name="" channel="" code="" channel_account="" role="" scopes=[] platform="" client=""
    created_at=null expires_at=null deciding=null error="" fingerprint=""
api.pairing.PairingRule
    channel=null role=null scopes=[] expires_at=null id="" by="" created_at=null
api.pairing.PairingSource
    last_success_at=null error="" stale=false
api.pairing.PairingTrouble
    at=null
api.plane.AgentView
    version="" fix=""
api.plane.DoctorCheck
    fix=""
api.plane.KeysRotate
    after=""
api.plane.KeysRotated
    next=""
api.rehearsals.DryRunRequest
    ticks=1 at_ms=null
api.rehearsals.ExplainRequest
    tick=null event=""
api.rehearsals.Rehearsal
    ticks=[] events_folded=0 differences=0 bit_equal=null truncated=false changes=[] summary=""
api.rehearsals.RehearsedAction
    expect="" effect="" lane="" conflict=""
api.rehearsals.RehearsedEvent
    code="" message=""
api.rehearsals.RehearsedTick
    events=[] actions=[] suppressed=[] notes=[] deadline_at=null state_hash="" differs=""
api.rehearsals.ReplayRequest
    from_seq=0 to_seq=null decisions=true
api.rehearsals.Suppressed
    until=null
api.rehearsals.WhatIfRequest
    policy={} events=[] from_seq=null ticks=1 at_ms=null
api.secrets.CustomSecret
    config_path=""
api.secrets.SecretList
    restart_needed=false
api.secrets.SecretsPatch
    secrets={} config_paths={}
controller.agent.ConfigState
    state="" etag="" reason=""
controller.agent.GatewayStatus
    state="" pid=null uptime=0 restarts=0 lastExit=null ready=false draining=false repairing=null
    crashes=0 cleanExits=0 misconfigurations=0 stuck=0 slowStarts=0 workCuts=0 parked=null
    blocked=null rung="" lastEnd=null config=null
controller.agent.HoldOrder
    reason=""
controller.agent.LadderAnswer
    ok=absent
controller.agent.LastEnd
    reason="" workCut=null tookMs=0 at=""
controller.agent.LastExit
    code=null signal=null at="" requested=false cause=null
controller.agent.OrderedAnswer
    workCut=absent
controller.checkin.BootCounters
    sequence=0 restarts=0 crashes=0 bytesIn=0 bytesOut=0
controller.checkin.CheckIn
    diskUsedBytes=null diskTotalBytes=null agentKind="" confinement="" cpus=0 memoryBytes=0
    failedCheckins=0 lastError="" start=null climbs=[] machineId="" lastExitReason="" protocol=null
    bootId="" sequence=0 epoch=0 bytesInTotal=0 bytesOutTotal=0 crashesTotal=0 agentReady=null
    phase="" degraded="" lastExitAtMs=null lastExitRequested=false capabilities=[] recovery=null
    pairingEpoch=0 pairingCount=0 intervalMs=0 earlierBoots=[] outcomes=[]
controller.checkin.Climb
    reason="" done=null detail=""
controller.checkin.CommandOutcome
    code="" message=""
controller.checkin.MachineStatus
    diskUsedBytes=null diskTotalBytes=null agentKind="" confinement="" cpus=0 memoryBytes=0
    failedCheckins=0 lastError="" start=null climbs=[]
controller.checkin.Recovery
    rung="restart" reason="" held=false blocked="" workCuts=0 config="" configReason=""
controller.checkin.Start
    phases=[] againInMs=0
controller.checkin.StartPhase
    state="ahead" deadlineMs=0 tookMs=0 critical=false reason=""
controller.config.ChangeAnswer
    etag="" changed=true signaled=absent
controller.config.ConfigAnswer
    plain=true
controller.config.ReplaceOrder
    etag=absent
controller.config.VersionAnswer
    verdict="unknown" verdictAt=absent reason=absent
controller.directive.Command
    epoch=0 validUntilMs=9007199254740991
controller.directive.Directive
    protocol=1 revision=0 epoch=0 desired="running" checkinIntervalMs=0 ladder="auto" ladderTurn=0
    commands=[]
controller.doctor.DoctorAnswer
    runId=absent status=null fix=absent startedAt=absent finishedAt=absent exitCode=absent
    error=absent output="" outputTruncated=absent nextOffset=0
controller.doctor.DoctorOrder
    fix=true
controller.doctor.StartedAnswer
    runId="" startedAt=""
controller.endpoint.ControllerProblem
    code="" field=""
controller.files.Node
    name=absent children=absent truncated=absent
controller.files.TreeAnswer
    truncated=false
controller.files.WriteOrder
    etag=absent create=false
controller.files.WrittenAnswer
    ok=true
controller.machine.ControllerVersion
    version="" commit="" apiVersion=0 capabilities=[] openclawVersion=null openclawCommit=null
    agent="" gateway=null controllerState="" devicePairingRepair=null
controller.machine.DeviceRepairTold
    because="" repairedCount=0 removedCount=0 tokenUpdated=false warnings=[]
controller.machine.EnvAnswer
    reloaded=false signaled=false migratedProfiles=0
controller.machine.EnvOrder
    HOLDFAST_API_KEY=absent KILOCODE_API_KEY=absent
controller.machine.HealthAnswer
    status="ok" state=absent phase=absent error=absent agentReady=absent
controller.machine.TokenAnswer
    token=""
controller.pairing.ChannelList
    epoch=0 state="known" stale=false error=null statuses=[] refreshed=null
controller.pairing.ChannelOrder
    code="" requestId="" fingerprint=""
controller.pairing.ChannelRequest
    requestId="" accountId="" createdAt="" lastSeenAt="" expiresAt="" fingerprint="" meta={}
controller.pairing.DeviceList
    epoch=0 state="known" stale=false error=null statuses=[] refreshed=null
controller.pairing.DeviceOrder
    fingerprint=""
controller.pairing.DeviceRequest
    role="" roles=[] scopes=[] platform="" deviceFamily="" displayName="" clientId="" clientMode=""
    remoteIp="" isRepair=false ts=null expiresAt="" fingerprint=""
controller.pairing.PairingAnswer
    code="" field=""
controller.pairing.PairingList
    epoch=0 state="known" stale=false error=null statuses=[] refreshed=null
controller.pairing.SourceStatus
    source="" lastSuccess="" stale=false error=null note=""
"""


def structs() -> Iterator[tuple[str, type[Struct]]]:
    for module in pkgutil.walk_packages(holdfast.wire.__path__, "holdfast.wire."):
        for name, kind in vars(importlib.import_module(module.name)).items():
            if not isinstance(kind, type) or not issubclass(kind, Struct):
                continue
            if kind.__module__ == module.name:
                yield f"{module.name.removeprefix('holdfast.wire.')}.{name}", kind


def text(default: object) -> str:
    if default is UNSET:
        return "absent"
    return bytes(default if isinstance(default, Raw) else msgspec.json.encode(default)).decode()


def found(kind: type[Struct]) -> str:
    defaults = [
        (
            field.encode_name,
            field.default_factory() if field.default is NODEFAULT else field.default,
        )
        for field in msgspec.structs.fields(kind)
        if not field.required
    ]
    return " ".join(f"{name}={text(default)}" for name, default in defaults)


FOUND = {name: shown for name, kind in structs() if (shown := found(kind))}


def written() -> dict[str, str]:
    rows: dict[str, list[str]] = {}
    words: list[str] = []
    for line in DEFAULTS.strip().splitlines():
        if line.startswith(" "):
            words += line.split()
        else:
            words = rows.setdefault(line, [])
    return {name: " ".join(listed) for name, listed in rows.items()}


WRITTEN = written()


def test_each_message_with_defaults_is_listed() -> None:
    assert sorted(FOUND) == sorted(WRITTEN)


@pytest.mark.parametrize("name", WRITTEN)
def test_a_field_that_is_left_out_is_read_as_before(name: str) -> None:
    assert FOUND[name] == WRITTEN[name]


EMPTY = [
    kind
    for _, kind in structs()
    if not any(field.required for field in msgspec.structs.fields(kind))
]


@pytest.mark.parametrize("kind", EMPTY, ids=lambda kind: kind.__name__)
def test_an_empty_message_is_read_as_the_defaults(kind: type[Struct]) -> None:
    assert msgspec.json.decode(b"{}", type=kind) == kind()
