"""What a field that a message leaves out is read as: older senders leave out newer fields.

A default is part of the wire format. One that changes alters what is read from controllers, brains
and programs that were installed before, so each is written down here once more.
"""

from __future__ import annotations

import importlib
import pkgutil

import msgspec
import pytest
from msgspec import Struct

import holdfast.wire
from tests.support.declared_defaults import declared, structs, written

# An absent field is one of which the reader can tell that it was left out.
DEFAULTS = """
wire.api.accounts.AccountView
    damaged=""
wire.api.accounts.AuditList
    next=""
wire.api.accounts.AuditVerdict
    broken_at=null head="" reason="" purged=0 head_kept=false
wire.api.accounts.AuditView
    damaged=""
wire.api.accounts.PasswordChange
    current=""
wire.api.accounts.PersonCreate
    account=""
wire.api.accounts.PersonView
    damaged=""
wire.api.accounts.SessionView
    csrf=""
wire.api.accounts.TokenCreate
    scope="owner" account="" expires_in_s=null
wire.api.accounts.TokenView
    expires_at=null last_used_at=null revoked_at=null damaged=""
wire.api.brains.BrainCreate
    account="" instance=""
wire.api.brains.BrainKeyCreate
    account="" brain=""
wire.api.brains.BrainKeyView
    last_used_at=null revoked_at=null damaged=""
wire.api.brains.BrainList
    next=""
wire.api.brains.BrainView
    alerts=[] damaged=""
wire.api.brains.CorrectionList
    next=""
wire.api.brains.CorrectionView
    damaged=""
wire.api.brains.LessonList
    next=""
wire.api.brains.LessonView
    taken=false damaged=""
wire.api.browser_keys.BrowserKeyCreate
    kind="browser" locked="" account=""
wire.api.browser_keys.BrowserKeyView
    revoked_at=null locked=""
wire.api.browser_keys.NodeBrowser
    revoked_at=null locked="" copies=[]
wire.api.browser_keys.SamplesView
    number=0 sealed=""
wire.api.budgets.BudgetSet
    day_micro=0 month_micro=0 day_tokens=0 month_tokens=0 currency="USD" cap=false
wire.api.budgets.BudgetView
    instance="" node="" paused="" day=null month=null projection=null alerts=[]
wire.api.call.Problem
    field="" fix="" operation="" detail=""
wire.api.clawmetry.AccountAnswer
    plan="free"
wire.api.clawmetry.AuthAnswer
    plan="free" e2e=true node="" plane_key=""
wire.api.clawmetry.AuthRequest
    hostname=null existing_node_id=null
wire.api.clawmetry.Heartbeat
    node_id=null platform=null version=null e2e=null seen_number=null ts=null queue=null client=null
    local_store_size_mb=null tool_calls_today=null exec_calls_today=null
    browser_actions_today=null unique_tools_today=null messages_today=null node_meta=null
    cache_pushes=null
wire.api.clawmetry.HeartbeatAnswer
    plan="free" pending_queries=[] grant=null keys=[] node="" preview=null
wire.api.clawmetry.NodeAnswer
    accepted=1 error="" message=""
wire.api.clawmetry.NodeProblem
    ok=false error="" sync_allowed=false reason="intent_pending" field="" fix="" operation=""
wire.api.clawmetry.PendingQuery
    shape="transcript"
wire.api.clawmetry.PoliciesAnswer
    policies=[]
wire.api.clawmetry.RegisterAnswer
    plan="free" node="" plane_key=""
wire.api.clawmetry.RegisterRequest
    hostname=null machine_id=null source=null sandbox=null
wire.api.clawmetry.TranscriptArgs
    limit=5000
wire.api.clawmetry.Upload
    node_id=null blob=null session_file=null id=null events=null lines=null sessions=null
    memory_content=null snapshots=null
wire.api.clawmetry.WakeAnswer
    assistant_actions=[]
wire.api.consent.ConsentClass
    at=null by="" credential="" address="" text_version="" until=null backfill_from=null reason=""
wire.api.consent.ConsentDetail
    first_intent_at=null first_intent_by="" last_view_at=null registered_by="" unsigned=0
    deleting=0 trouble=""
wire.api.consent.ConsentEntry
    classes=[] by="" credential="" address="" message="" refused=""
wire.api.consent.ConsentGrant
    days=null backfill="nothing" backfill_days=null
wire.api.consent.ConsentHistory
    next=""
wire.api.consent.ConsentIntent
    classes=null
wire.api.consent.ConsentList
    next=""
wire.api.consent.ConsentReceipt
    reason="" until=null deleted={} text_version=""
wire.api.consent.ConsentRevoke
    delete=false reason=""
wire.api.consent.NodeConsent
    looked_at=null title=""
wire.api.consent.ReceiptBundle
    grant=null
wire.api.consent.ReceiptList
    next=""
wire.api.consent.SigningKeys
    successors=[]
wire.api.content.CronJob
    schedule="" enabled=null next_at=null last_at=null result="" error="" took_ms=null
wire.api.content.CronList
    next=""
wire.api.content.ExportedRow
    body=null blob=null
wire.api.content.LogList
    looked_to=null next=""
wire.api.content.LogRow
    cut=false id="" level="" message=""
wire.api.content.MemoryList
    next=""
wire.api.content.MemoryVersion
    cut=false id=""
wire.api.content.MemoryVersions
    next=""
wire.api.content.NodeDetail
    gaps_open=0 intents_refused=0 sealed=[] senders=[] sender_chosen_at=null sender_chosen_by=""
wire.api.content.NodeKeyCreate
    account=""
wire.api.content.NodeKeyList
    next=""
wire.api.content.NodeKeyView
    last_used_at=null revoked_at=null
wire.api.content.NodeList
    next=""
wire.api.content.NodeView
    second_sender=false sender_silent=false title=""
wire.api.content.SealedCount
    first_at=null last_at=null
wire.api.content.SealedList
    next=""
wire.api.content.SenderView
    undecided=false
wire.api.content.SessionList
    sealed=[] next=""
wire.api.content.SessionView
    key="" parent=""
wire.api.content.ToolCall
    took_ms=null failed=false
wire.api.content.Turn
    blob="" cut=false calls=[]
wire.api.content.TurnList
    next=""
wire.api.costs.CostList
    next=""
wire.api.costs.CostRow
    day="" model="" node="" name="" account="" instance="" counters=true title=""
wire.api.costs.Used
    plans=[]
wire.api.ingest.BrainStanding
    last_sync_at=null status="connected"
wire.api.ingest.ConnectAnswer
    status="connected"
wire.api.ingest.ConnectRequest
    brain_name=null brain_id=null domain=null manifest=null
wire.api.ingest.CorpusRequest
    patterns=null
wire.api.ingest.CorrectAnswer
    tags=[] deduplicated=false diff=null classifications=[]
wire.api.ingest.CorrectRequest
    brain_id=null draft=null final=null category=null context=null session=null applies_to=null
wire.api.ingest.CorrectedData
    summary=""
wire.api.ingest.IngestAnswer
    refused=[] high_water=0 verdicts=0
wire.api.ingest.IngestRequest
    version=null sdk=null source=null brain=null queue=null rows=null brain_id=null
    correction=null event_id=null
wire.api.ingest.MetricsRequest
    brain_id=null session=null sent_at=null
wire.api.ingest.PushAnswer
    rejected=[] deduplicated=0
wire.api.ingest.PushRequest
    brain_id=null device_id=null events=null
wire.api.ingest.QueueState
    depth=0 oldest_ms=0
wire.api.ingest.RefusedRow
    id="" status=422
wire.api.ingest.RulesRequest
    brain_id=null task=null context=null
wire.api.ingest.SyncAnswer
    deduplicated=0 corrections_synced=0 lessons_synced=0 events_synced=0 meta_rules_synced=0
wire.api.ingest.SyncRequest
    brain_name=null brain_id=null manifest=null events=null corrections=null lessons=null
    meta_rules=null cursor=null
wire.api.ingest.Taken
    status="ok"
wire.api.ingest.VerdictsAnswer
    items=[]
wire.api.ingest.VerdictsRequest
    version=null sdk=null brain=null of=null known=null
wire.api.ingest.WhoAmI
    brain_id=""
wire.api.instances.BulkItem
    code="" message="" operation=""
wire.api.instances.BulkOrder
    reason=""
wire.api.instances.Climb
    reason="" done=null detail=""
wire.api.instances.Explanation
    facts=[] waiting_for="" next_at=null fix=""
wire.api.instances.Fact
    at=null
wire.api.instances.InstanceCreate
    agent="demo" desired="running" region="" account="" env={} secrets={}
wire.api.instances.InstanceDestroy
    reason=""
wire.api.instances.InstanceDetail
    env={} secret_names=[] started_at=null stopped_at=null next_alarm_at=null sandbox_id=""
    start=null climbs=[] observer=null details=[]
wire.api.instances.InstanceList
    next="" total=0 counts={}
wire.api.instances.InstanceOrder
    reason=""
wire.api.instances.InstancePatch
    env={} secrets={}
wire.api.instances.InstanceRotation
    overlap_s=86400 key=true reason=""
wire.api.instances.InstanceView
    region="" machine_id="" agent_version="" controller_version="" agent_ready=null
    contact="never" load=null epoch=0 seq=0 attention="" error="" recovery=null
    confinement="unknown" paused=false budget=""
wire.api.instances.LogLine
    stream="stdout" at=null
wire.api.instances.LogTail
    next="" note=""
wire.api.instances.ObserverView
    reason="" work=null
wire.api.instances.RecoveryView
    rung="restart" reason="" held=false blocked="" work_cuts=0 config="" config_reason=""
wire.api.instances.StartPhase
    state="ahead" deadline_ms=0 took_ms=0 critical=false reason=""
wire.api.instances.StartView
    phases=[] told_at=null again_at=null
wire.api.instances.Timeline
    next=""
wire.api.instances.TimelineEntry
    seq=0 tick=0 outcome="" rule="" reason="" cause="" details=[]
wire.api.maintenance.ConfigPatch
    etag="" force=false
wire.api.maintenance.ConfigReplace
    etag="" force=false
wire.api.maintenance.ConfigRestore
    force=false
wire.api.maintenance.ConfigVersion
    verdict="unknown" verdict_at=null reason=""
wire.api.maintenance.ConfigView
    plain=true
wire.api.maintenance.DoctorRun
    run_id="" fix=true started_at=null finished_at=null exit_code=null error="" output=""
    truncated=false next=0
wire.api.maintenance.DoctorStart
    fix=true
wire.api.maintenance.FileEntry
    more=false
wire.api.maintenance.FileList
    truncated=false
wire.api.maintenance.FileWrite
    etag="" create=false
wire.api.operations.Operation
    code="" message="" by="" seq=0 done=false steps=[] damaged=""
wire.api.operations.OperationList
    next=""
wire.api.operations.OperationStep
    at=null state="pending" rule="" reason="" message="" attempts=0 cause=""
wire.api.operations.QuarantineList
    next=""
wire.api.operations.QuarantineOrder
    reason=""
wire.api.operations.QuarantinedEvent
    attempts=0 damaged=""
wire.api.pairing.PairingApprove
    request_id=null channel=null code=null remember=false fingerprint=""
wire.api.pairing.PairingDismiss
    request_id=null channel=null code=null fingerprint=""
wire.api.pairing.PairingEntry
    request_id="" kind=null channel="" sender="" by="" rule="" via="" message=""
wire.api.pairing.PairingHistory
    next=""
wire.api.pairing.PairingInbox
    counts={} next="" troubles=[]
wire.api.pairing.PairingList
    epoch=0 fetched_at=null error="" note="" sources=[]
wire.api.pairing.PairingOutcome
    remembered=""
wire.api.pairing.PairingPolicy
    rules=[]
wire.api.pairing.PairingPolicySet
    rules=[] version=null
wire.api.pairing.PairingRequest
    sender_name="" channel="" code="" channel_account="" role="" scopes=[] platform="" client=""
    created_at=null expires_at=null deciding=null error="" fingerprint=""
wire.api.pairing.PairingRule
    channel=null role=null scopes=[] expires_at=null id="" by="" created_at=null
wire.api.pairing.PairingSource
    last_success_at=null error="" stale=false
wire.api.pairing.PairingTrouble
    at=null
wire.api.plane.AgentView
    version="" fix=""
wire.api.plane.DoctorCheck
    fix=""
wire.api.plane.KeysRotate
    after=""
wire.api.plane.KeysRotated
    next=""
wire.api.rehearsals.DryRunRequest
    ticks=1 at_ms=null
wire.api.rehearsals.ExplainRequest
    tick=null event="" entity=""
wire.api.rehearsals.Rehearsal
    ticks=[] events_folded=0 differences=0 bit_equal=null truncated=false changes=[] summary=""
wire.api.rehearsals.RehearsedAction
    expect="" effect="" lane="" conflict=""
wire.api.rehearsals.RehearsedEvent
    code="" message=""
wire.api.rehearsals.RehearsedTick
    events=[] actions=[] suppressed=[] notes=[] deadline_at=null state_hash="" differs=""
wire.api.rehearsals.ReplayRequest
    from_seq=0 to_seq=null decisions=true
wire.api.rehearsals.Suppressed
    until=null
wire.api.rehearsals.WhatIfRequest
    policy={} events=[] from_seq=null ticks=1 at_ms=null
wire.api.secrets.CustomSecret
    config_path=""
wire.api.secrets.SecretList
    restart_needed=false
wire.api.secrets.SecretsPatch
    secrets={} config_paths={}
wire.budget.Budget
    day_micro=0 month_micro=0 day_tokens=0 month_tokens=0 currency="USD" cap=false
wire.api.towns.BeadList
    next=""
wire.api.towns.BeadSling
    content="" priority=2 blocked_by=[]
wire.api.towns.RigAdd
    branch="main" gates=[]
wire.api.towns.TownCreate
    account="" code_review=true agents_max=50
wire.api.towns.TownList
    next=""
wire.consent.Grant
    until_ms=0
wire.consent.Receipt
    reason="" until_ms=0 deleted={}
wire.consent.Standing
    preview=null preview_number=0
wire.controller.agent.ConfigState
    state="" etag="" reason=""
wire.controller.agent.GatewayStatus
    state="" pid=null uptime=0 restarts=0 lastExit=null ready=false draining=false repairing=null
    crashes=0 cleanExits=0 misconfigurations=0 stuck=0 slowStarts=0 workCuts=0 parked=null
    blocked=null rung="" lastEnd=null config=null
wire.controller.agent.HoldOrder
    reason=""
wire.controller.agent.LadderAnswer
    ok=absent
wire.controller.agent.LastEnd
    reason="" workCut=null tookMs=0 at=""
wire.controller.agent.LastExit
    code=null signal=null at="" requested=false cause=null
wire.controller.agent.OrderedAnswer
    workCut=absent
wire.controller.checkin.BootCounters
    sequence=0 restarts=0 crashes=0 bytesIn=0 bytesOut=0
wire.controller.checkin.CheckIn
    diskUsedBytes=null diskTotalBytes=null agentKind="" confinement="" cpus=0 memoryBytes=0
    failedCheckins=0 lastError="" observer="" observerReason="" observerWork=null start=null
    climbs=[]
    machineId="" lastExitReason="" protocol=null bootId="" sequence=0 epoch=0
    bytesInTotal=0 bytesOutTotal=0 crashesTotal=0
    agentReady=null phase="" degraded="" lastExitAtMs=null lastExitRequested=false capabilities=[]
    recovery=null pairingEpoch=0 pairingCount=0 intervalMs=0 earlierBoots=[] outcomes=[]
wire.controller.checkin.Climb
    reason="" done=null detail=""
wire.controller.checkin.CommandOutcome
    code="" message=""
wire.controller.checkin.MachineStatus
    diskUsedBytes=null diskTotalBytes=null agentKind="" confinement="" cpus=0 memoryBytes=0
    failedCheckins=0 lastError="" observer="" observerReason="" observerWork=null start=null
    climbs=[]
wire.controller.checkin.ObserverWork
    heard=0 looked=0 stuck="" paused="" waiting=0 sources=0 bytes=0 oversized=0 unread=[]
wire.controller.checkin.Recovery
    rung="restart" reason="" held=false blocked="" workCuts=0 config="" configReason=""
wire.controller.checkin.Start
    phases=[] againInMs=0
wire.controller.checkin.StartPhase
    state="ahead" deadlineMs=0 tookMs=0 critical=false reason=""
wire.controller.checkin.UnreadSources
    sources=0
wire.controller.config.ChangeAnswer
    etag="" changed=true signaled=absent
wire.controller.config.ConfigAnswer
    plain=true
wire.controller.config.ReplaceOrder
    etag=absent
wire.controller.config.VersionAnswer
    verdict="unknown" verdictAt=absent reason=absent
wire.controller.directive.Command
    epoch=0 validUntilMs=9007199254740991
wire.controller.directive.Directive
    protocol=1 revision=0 epoch=0 desired="running" checkinIntervalMs=0 ladder="auto" ladderTurn=0
    commands=[]
wire.controller.doctor.DoctorAnswer
    runId=absent status=null fix=absent startedAt=absent finishedAt=absent exitCode=absent
    error=absent output="" outputTruncated=absent nextOffset=0
wire.controller.doctor.DoctorOrder
    fix=true
wire.controller.doctor.StartedAnswer
    runId="" startedAt=""
wire.controller.endpoint.ControllerProblem
    code="" field=""
wire.controller.files.Node
    name=absent children=absent truncated=absent
wire.controller.files.TreeAnswer
    truncated=false
wire.controller.files.WriteOrder
    etag=absent create=false
wire.controller.files.WrittenAnswer
    ok=true
wire.controller.machine.ControllerVersion
    version="" commit="" apiVersion=0 capabilities=[] openclawVersion=null openclawCommit=null
    agent="" gateway=null controllerState="" devicePairingRepair=null
wire.controller.machine.DeviceRepairTold
    because="" repairedCount=0 removedCount=0 tokenUpdated=false warnings=[]
wire.controller.machine.EnvAnswer
    reloaded=false signaled=false migratedProfiles=0
wire.controller.machine.EnvOrder
    HOLDFAST_API_KEY=absent KILOCODE_API_KEY=absent
wire.controller.machine.HealthAnswer
    status="ok" state=absent phase=absent error=absent agentReady=absent
    observer=absent
wire.controller.machine.TokenAnswer
    token=""
wire.controller.pairing.ChannelList
    epoch=0 state="known" stale=false error=null statuses=[] refreshed=null
wire.controller.pairing.ChannelOrder
    code="" requestId="" fingerprint=""
wire.controller.pairing.ChannelRequest
    requestId="" accountId="" createdAt="" lastSeenAt="" expiresAt="" fingerprint="" meta={}
wire.controller.pairing.DeviceList
    epoch=0 state="known" stale=false error=null statuses=[] refreshed=null
wire.controller.pairing.DeviceOrder
    fingerprint=""
wire.controller.pairing.DeviceRequest
    role="" roles=[] scopes=[] platform="" deviceFamily="" displayName="" clientId=""
    clientMode="" remoteIp="" isRepair=false ts=null expiresAt="" fingerprint=""
wire.controller.pairing.PairingAnswer
    code="" field=""
wire.controller.pairing.PairingList
    epoch=0 state="known" stale=false error=null statuses=[] refreshed=null
wire.controller.pairing.SourceStatus
    source="" lastSuccess="" stale=false error=null note=""
"""
MODULES = [
    importlib.import_module(module.name)
    for module in pkgutil.walk_packages(holdfast.wire.__path__, "holdfast.wire.")
]
FOUND, WRITTEN = declared(MODULES), written(DEFAULTS)
EMPTY = [
    kind
    for _, kind in structs(MODULES)
    if not any(field.required for field in msgspec.structs.fields(kind))
]


def test_each_message_with_defaults_is_listed() -> None:
    assert sorted(FOUND) == sorted(WRITTEN)


@pytest.mark.parametrize("name", WRITTEN)
def test_a_field_that_is_left_out_is_read_as_before(name: str) -> None:
    assert FOUND[name] == WRITTEN[name]


@pytest.mark.parametrize("kind", EMPTY, ids=lambda kind: kind.__name__)
def test_an_empty_message_is_read_as_the_defaults(kind: type[Struct]) -> None:
    assert msgspec.json.decode(b"{}", type=kind) == kind()
