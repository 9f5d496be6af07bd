"""The rules of an instance: the next action, or the reason for none and the time it ends.

Only `decide` makes decisions. It returns one action, or a hold with its rule, its reason and the
time at which it ends. That time becomes the actor's deadline, so every hold is evaluated again. One
call is under way at a time; a change of the desired state supersedes it under a new epoch.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeAlias

from holdfast.actors.definition import Plan, Suppressed
from holdfast.instances import actions as act
from holdfast.instances import events, keys, spend, towns
from holdfast.instances.health import find_health
from holdfast.instances.limits import CLOCK_BACK_MS, LAUNCH_MS, LISTING_LAG_MS, VOLUME_TRIES_MAX
from holdfast.instances.policy import Policy, silence_backoff, start_backoff, step_backoff
from holdfast.instances.state import (
    DOWN,
    Instance,
    exists,
    may_be_up,
    may_launch_from,
    newest_ms,
)
from holdfast.kernel.backoff import spread_ms
from holdfast.wire.health import HealthCode


class Hold(NamedTuple):
    """Nothing is to be done, because; look again at `until_ms`, or only when something happens."""

    rule: str
    because: str
    until_ms: int | None = None


Answer: TypeAlias = act.Action | Hold

_AT_REST: Final = frozenset({"converged", "idle.look"})
"""Holds of what is as it should be."""

AGENT_RECOVERY: Final = "agent.recovery"
"""The rule of a machine that runs with an agent that does not work."""

_AGENT_NEXT: Final[dict[HealthCode, str]] = {
    "crashing": "its machine to start its agent again: later each time, then on the next rung of"
    " its recovery, until at last it is parked",
    "repairing": "its machine to repair its agent and start it",
    "recovering": "its agent to stay up for a while",
    "unready": "its agent to answer; its machine ends it and starts it again if it does not",
    "parked": "a person: nothing comes next until its recovery is begun anew",
    "port-taken": "the port of its agent; its machine looks again by itself",
    "start-failed": "the next try of its start, or a person; see the phases of its start",
    "agent-stopped": "somebody to start its agent inside of its machine",
}
"""What is waited for where the agent of a machine that runs does not work."""

_GOING_UP: Final = frozenset({"created", "starting", "replacing", "updating"})


def reconcile(state: Instance, policy: Policy, now_ms: int, _number: int) -> Plan[act.Action]:
    """Return the plan of this tick: at most one action, or what holds it back."""
    answer = decide(state, policy, now_ms)
    if isinstance(answer, Hold):
        return Plan(suppressed=(Suppressed(answer.rule, answer.because),))
    return Plan(actions=(answer,))


def deadline(state: Instance, policy: Policy, now_ms: int) -> int | None:
    """Return when the rules may want something without any event, in ms since the epoch."""
    answer = decide(state, policy, now_ms)
    return answer.until_ms if isinstance(answer, Hold) else now_ms


def decide(state: Instance, policy: Policy, now_ms: int) -> Answer:
    """Return what to do now, or what holds it back."""
    if not exists(state):
        nothing = Hold("none", "there is nothing to look after")
        return _tell_towns(state) or nothing
    due = spend.steps(state, now_ms)
    if due:
        return _do(act.KeepBudget, state, *spend.rule_of(due), events=due)
    answer = _decide(state, policy, now_ms)
    if isinstance(answer, Hold) and answer.rule in _AT_REST and state.status == "running":
        answer = _agent_hold(state, answer)
    if isinstance(answer, Hold) and (telling := _tell_towns(state)) is not None:
        return telling
    return _until_period_ends(state, answer) if isinstance(answer, Hold) else answer


def _tell_towns(state: Instance) -> act.Action | None:
    """Return what tells towns how the instance is, or None where they know; a tombstone too."""
    told = towns.untold(state)
    if told is None:
        return None
    text = "a town whose agents work on it knows something else, or nothing yet"
    return _do(act.TellTowns, state, "towns.tell", text, told=told)


def _agent_hold(state: Instance, answer: Hold) -> Hold:
    """Return what an agent that does not work waits for: its machine, not the plane, mends it."""
    because = _AGENT_NEXT.get(find_health(state).code)
    return answer if because is None else Hold(AGENT_RECOVERY, because, answer.until_ms)


def _until_period_ends(state: Instance, answer: Hold) -> Hold:
    """Return a hold that ends with the first period of the budget, at the latest."""
    ends = spend.next_end_ms(state)
    if ends is None:
        return answer
    if state.paused_ms and not state.aim and answer.rule in _AT_REST:
        answer = Hold("budget.paused", spend.pause_words(state), answer.until_ms)
    until = ends if answer.until_ms is None else min(ends, answer.until_ms)
    return answer._replace(until_ms=until)


def _decide(state: Instance, policy: Policy, now_ms: int) -> Answer:
    """Return what to do now apart from the budget, or what holds it back."""
    if newest_ms(state) > now_ms + CLOCK_BACK_MS:
        text = "the clock was set back; waits are measured from now"
        return _note(state, "clock.set_back", text, events.ClockSetBack())
    beginning = _overtake(state)
    if beginning is not None:
        return beginning
    if state.job is not None:
        return _busy(state, now_ms)
    match state.aim:
        case "destroy":
            return _destroy(state, policy, now_ms)
        case "stop":
            return _stop(state, policy, now_ms)
        case "start":
            return _start(state, policy, now_ms)
        case "restart":
            return _restart(state, policy, now_ms)
        case _:
            return _steady(state, policy, now_ms)


def _do(kind: type[Any], state: Instance, rule: str, reason: str, **more: Any) -> act.Action:
    """Return an action that is valid only for the present state."""
    action: act.Action = kind(rule=rule, reason=reason, expect=act.expect_of(state), **more)
    return action


def _note(state: Instance, rule: str, reason: str, event: events.Intent) -> act.Action:
    return _do(act.Note, state, rule, reason, event=event)


def _overtake(state: Instance) -> act.Action | None:
    """Return the action that begins a new aim if the desired state supersedes the present one."""
    if state.desired == "destroyed" and state.aim != "destroy":
        return _do(act.BeginDestroy, state, "destroy", f"it must go; it was {state.status}")
    wanted = spend.wanted(state)
    if wanted == "stopped" and state.aim in {"start", "restart"}:
        why = "its cap pauses it" if state.paused_ms else "a stop was asked for"
        return _do(act.BeginStop, state, "stop", f"{why} while {state.status}")
    if wanted == "running" and state.aim == "stop":
        return _do(act.BeginStart, state, "start", "it is to run again, and was being stopped")
    if state.restart_wanted and not state.aim:
        if state.machine.id:
            return _do(act.BeginRestart, state, "restart", "a restart was asked for")
        return _do(act.BeginStart, state, "start", "a restart was asked for; the machine is gone")
    return None


def _busy(state: Instance, now_ms: int) -> Answer:
    """Wait for the call under way, or give it up once its time is over."""
    job = state.job
    assert job is not None
    rule = f"{state.aim or 'look'}.{job.step}"
    if now_ms < job.until_ms:
        return Hold(rule, f"the call {job.step!r} is under way", job.until_ms)
    text = f"the call {job.step!r} was not answered in time"
    return _note(state, f"{rule}.expire", text, events.CallExpired(job.serial, job.step))


def _retry_at(state: Instance, policy: Policy) -> int:
    """Return when the present step may be tried again, in ms since the epoch."""
    if not state.tries:
        return 0
    wait = step_backoff(policy).delay_ms(state.tries, state.id)
    return state.tried_ms + max(wait, state.try_after_ms)


# -------------------------------------------------------------------------------- start


def _start(state: Instance, policy: Policy, now_ms: int) -> Answer:
    """Find or make the machine, with its volume, and wait until it is up."""
    ends = state.since_ms + policy.start_timeout_ms
    if now_ms >= ends:
        return _end_start(state, ends)
    again = _retry_at(state, policy)
    if now_ms < again:
        return Hold("start.retry", "a step failed; it is tried again soon", min(again, ends))
    if not state.sent and _key_is_due(state, policy, now_ms):
        return _do(act.MintKey, state, "key.renew", "the key ends soon; a launch brings a new one")
    if not state.machine.id:
        return _start_without(state, policy)
    if not state.machine.state:
        text = "the known machine is looked at before anything is done to it"
        return _do(act.DescribeMachine, state, "start.describe", text)
    if _wants_volume(state, policy):
        text = "the volume is looked at before every start"
        return _do(act.EnsureVolume, state, "start.volume", text)
    seen = state.machine.state
    if seen in {"stopping", "destroying"}:
        text = f"the machine is {seen}; it is launched when it has ended"
        return _do(act.WaitForMachine, state, "start.wait", text, until="stopped")
    if (state.sent and seen in _GOING_UP) or (not state.sent and seen in _GOING_UP - {"created"}):
        text = f"the machine is {seen}"
        return _do(act.WaitForMachine, state, "start.wait", text, until="started")
    text = f"the machine is {seen}; it is launched with its configuration"
    return _do(act.LaunchMachine, state, "start.launch", text)


def _start_without(state: Instance, policy: Policy) -> Answer:
    """Find by label before anything is made; the unique name then forbids a second one."""
    if state.doomed:
        text = "a machine that may not be used holds the name"
        return _do(act.DestroyMachine, state, "start.clear", text, machine_id=state.doomed[0])
    if not state.looked:
        text = "no machine is known; those with our labels are looked for first"
        return _do(act.FindMachines, state, "start.find", text)
    if _wants_volume(state, policy):
        text = "the volume is looked at before every start"
        return _do(act.EnsureVolume, state, "start.volume", text)
    gone = state.verdict == "gone"
    rule = "replace.gone" if gone else "start.create"
    text = "the machine is confirmed gone" if gone else "no machine with our labels exists"
    return _do(act.CreateMachine, state, rule, text)


def _wants_volume(state: Instance, policy: Policy) -> bool:
    return state.provider in policy.volumes and not state.volume_checked


def _end_start(state: Instance, ends: int) -> Answer:
    """Settle a start whose time is up: ask once more if there is anything to ask about."""
    tried = state.tried_ms >= ends and state.tried_step == "describe"
    if state.machine.id and not tried and state.machine.seen_ms < ends:
        text = "the time for the start is up; the machine is asked a last time"
        return _do(act.DescribeMachine, state, "start.deadline", text)
    known = state.faults.get("start")
    cause = f": {known.message}" if known is not None else ""
    text = f"the start did not settle in time{cause}"
    return _note(state, "start.deadline", text, events.StartEnded("start_timeout", text))


# ------------------------------------------------------------------------------ restart


def _restart(state: Instance, policy: Policy, now_ms: int) -> Answer:
    """Launch the machine anew and wait for the new incarnation; the window never moves."""
    soft = state.since_ms + policy.restart_soft_ms
    hard = state.since_ms + policy.restart_hard_ms
    if now_ms >= hard:
        return _end_restart(state, "stopped", "restart_timeout", "the restart did not settle")
    again = _retry_at(state, policy)
    if now_ms < again:
        return Hold("restart.retry", "a step failed; it is tried again soon", min(again, hard))
    if not state.machine.id:
        return _end_restart(state, "stopped", "machine_gone", "the machine is gone")
    seen = state.machine.state
    if now_ms >= soft:
        return _late_restart(state, soft)
    if not state.sent and state.volume_id and _wants_volume(state, policy):
        text = "the volume is looked at before every launch"
        return _do(act.EnsureVolume, state, "restart.volume", text)
    if not state.sent:
        text = "the machine takes its configuration and is launched anew"
        return _do(act.LaunchMachine, state, "restart.launch", text)
    if not seen:
        return _do(act.DescribeMachine, state, "restart.describe", "its state is not known")
    if seen in {"stopped", "suspended"}:
        text = "the configuration was taken but the machine is down; it is started"
        return _do(act.StartMachine, state, "restart.start", text)
    text = f"the machine is {seen}"
    return _do(act.WaitForMachine, state, "restart.wait", text, until="started")


def _late_restart(state: Instance, soft: int) -> Answer:
    """Settle a restart after its soft limit, by what the machine is found to be."""
    seen = state.machine.state
    if state.machine.seen_ms < soft or not seen:
        text = "the restart takes long; the machine is asked"
        return _do(act.DescribeMachine, state, "restart.soft", text)
    if seen in DOWN:
        return _end_restart(state, "stopped", "restart_timeout", f"the machine is {seen}")
    if seen == "started" and not state.sent:
        text = "the configuration was never taken; it runs as before"
        return _end_restart(state, "running", "restart_not_sent", text)
    text = f"the machine is {seen}; it may still settle"
    return _do(act.WaitForMachine, state, "restart.wait", text, until="started")


def _end_restart(state: Instance, status: Any, code: str, text: str) -> act.Action:
    return _note(state, "restart.deadline", text, events.RestartEnded(status, code, text))


# --------------------------------------------------------------------------------- stop


def _stop(state: Instance, policy: Policy, now_ms: int) -> Answer:
    """Stop what may be running, for as long as it takes; a stuck status leaves by its deadline."""
    launching = _launches_by(state)
    if not may_be_up(state) and now_ms >= launching:
        return _note(state, "stop.settle", "nothing of it runs", events.StopSettled())
    ends = _stop_overdue_at(state, policy)
    if ends is not None and now_ms >= ends:
        text = f"it has been {state.status} for too long; the stop goes on"
        return _note(state, "stop.deadline", text, events.StopOverdue())
    again = _retry_at(state, policy)
    if now_ms < again:
        text = "a step failed; it is tried again soon"
        return Hold("stop.retry", text, again if ends is None else min(again, ends))
    if not state.machine.id:
        return _stop_pending(state, now_ms)
    if launching:
        text = "the machine was just created and comes up by itself; it is stopped then"
        return _do(act.WaitForMachine, state, "stop.launching", text, until="started")
    if not state.machine.state and state.tries:
        text = "the call was refused; the machine is looked at"
        return _do(act.DescribeMachine, state, "stop.describe", text)
    if state.sent and not state.tries:
        text = f"the machine is {state.machine.state}"
        return _do(act.WaitForMachine, state, "stop.wait", text, until="stopped")
    return _do(act.StopMachine, state, "stop", f"the machine is {state.machine.state or 'unseen'}")


def _launches_by(state: Instance) -> int:
    """Return by when a machine that was just created comes up by itself, or 0 for none."""
    if state.machine.id and state.machine.state == "created":
        return state.machine.seen_ms + LAUNCH_MS
    return 0


def _stop_overdue_at(state: Instance, policy: Policy) -> int | None:
    """Return when a status that should pass quickly has passed, or None for a lasting one."""
    if state.status not in {"starting", "restarting"}:
        return None
    return state.since_ms + policy.start_timeout_ms


def _stop_pending(state: Instance, now_ms: int) -> Answer:
    """Look for a machine that was asked for and never answered, until a listing must show it."""
    asked = state.pending_create
    assert asked is not None
    sure = asked.requested_ms + LISTING_LAG_MS
    if state.looked and state.looked_ms < sure and now_ms < sure:
        return Hold("stop.find", "a machine asked for may not be listed yet", sure)
    text = "a machine was asked for and never answered; it is looked for"
    return _do(act.FindMachines, state, "stop.find", text)


# ------------------------------------------------------------------------------ destroy


def _destroy(state: Instance, policy: Policy, now_ms: int) -> Answer:
    """Destroy every machine of ours, look for more, then the volume; try for ever."""
    if state.tries:
        again = state.tried_ms + max(policy.destroy_retry_ms, state.try_after_ms)
        if now_ms < again:
            return Hold("destroy.retry", "a step failed; it is tried again each minute", again)
    if state.doomed:
        text = "a machine of this instance is left"
        return _do(act.DestroyMachine, state, "destroy.machine", text, machine_id=state.doomed[0])
    if not state.swept_ms:
        text = "nothing is final before a listing shows no machine with our labels"
        return _do(act.FindMachines, state, "destroy.find", text)
    sure = _listed_by(state)
    if sure and state.swept_ms < sure:
        if now_ms < sure:
            return Hold("destroy.find", "a machine asked for may not be listed yet", sure)
        text = "a machine that was asked for may have been made since; it is looked for again"
        return _do(act.FindMachines, state, "destroy.find", text)
    if not state.volume_swept and (state.volume_id or state.provider in policy.volumes):
        if state.volume_tries >= VOLUME_TRIES_MAX:
            text = "the volume could not be deleted; a person must look"
            abandoned = events.VolumeAbandoned(state.volume_id)
            return _note(state, "destroy.volume.abandon", text, abandoned)
        sure = state.volume_asked_ms + LISTING_LAG_MS
        if state.volume_asked_ms and now_ms < sure:
            return Hold("destroy.volume", "a volume asked for may not be listed yet", sure)
        return _do(act.DestroyVolume, state, "destroy.volume", "its volume is left")
    return _note(state, "destroy.finalize", "nothing of it is left", events.DestroyFinished())


def _listed_by(state: Instance) -> int:
    """Return by when a listing must show each machine that was asked for, or 0 for none, in ms."""
    asked = state.pending_create
    asked_ms = max(state.late_create_ms, 0 if asked is None else asked.requested_ms)
    return asked_ms + LISTING_LAG_MS if asked_ms else 0


# ------------------------------------------------------------------------------- steady


def _steady(state: Instance, policy: Policy, now_ms: int) -> Answer:
    """Keep what is as it should be, and begin what is wanted."""
    again = _retry_at(state, policy)
    if state.doomed:
        if now_ms < again:
            return Hold("twins.destroy", "a step failed; it is tried again soon", again)
        text = "a second machine carries our labels"
        return _do(act.DestroyMachine, state, "twins.destroy", text, machine_id=state.doomed[0])
    wanted = spend.wanted(state)
    if wanted == "stopped" and (may_be_up(state) or state.status == "running"):
        return _do(act.BeginStop, state, "stop", "it is to be stopped and may be running")
    if wanted == "running" and state.status != "running":
        return _want_start(state, policy, now_ms)
    look = _why_look(state)
    if look is not None:
        if now_ms < again:
            return Hold(look[0], "the look failed; it is tried again", again)
        kind = act.FindMachines if state.twin_ms or not state.machine.id else act.DescribeMachine
        return _do(kind, state, *look)
    return (
        _running(state, policy, now_ms)
        if state.status == "running"
        else _idle(state, policy, now_ms)
    )


def _want_start(state: Instance, policy: Policy, now_ms: int) -> Answer:
    """Begin a start unless a person is needed or the last one failed a moment ago."""
    if state.blocked == "denied":
        at = state.failed_ms + policy.denied_retry_ms
        if now_ms < at:
            return Hold("start.blocked", "the cloud denies it; tried again now and then", at)
    elif state.blocked:
        return Hold("start.blocked", f"a person is needed: {state.blocked}")
    elif state.failures:
        wait = start_backoff(policy).delay_ms(state.failures, state.id)
        at = state.failed_ms + max(wait, state.retry_after_ms)
        if now_ms < at:
            return Hold("start.backoff", "it did not stay up a moment ago", at)
    rule = "replace.gone" if state.verdict == "gone" else "start"
    return _do(act.BeginStart, state, rule, f"it is to run and is {state.status}")


def _why_look(state: Instance) -> tuple[str, str] | None:
    """Return the rule and reason to ask the cloud at once, or None."""
    if state.twin_ms:
        return "twins.find", "two machines spoke for this instance"
    if not state.machine.id:
        return None
    if state.suspect_ms:
        return "describe.on_watch", "its watcher says that the machine changed"
    if state.status == "running" and state.contact.heard == "lost" and not state.contact.looked:
        return "describe.on_silence", "the machine is silent; unreachable is not dead"
    return None


def _running(state: Instance, policy: Policy, now_ms: int) -> Answer:
    """Return the rule for a running machine: down, no check-in yet, silent, or due for a look."""
    if state.down_count >= policy.down_after:
        text = f"the machine is {state.machine.state}"
        return _note(state, "run.down", text, events.DownNoticed(state.down_count))
    holds: list[Hold] = []
    secrets = _secrets(state, policy, now_ms)
    if isinstance(secrets, Hold):
        holds.append(secrets)
    elif secrets is not None:
        return secrets
    contact = state.contact
    if contact.heard == "unknown" and policy.first_contact_ms:
        at = max(state.started_ms, contact.since_ms) + policy.first_contact_ms
        if now_ms >= at:
            text = "the machine runs but was never heard"
            return _note(state, "contact.never", text, events.SilenceNoticed())
        holds.append(Hold("contact.never", "the machine has not been heard yet", at))
    if contact.heard == "lost" and policy.silent_restart_ms:
        wait = silence_backoff(policy).delay_ms(contact.silent_restarts + 1)
        at = contact.since_ms + wait
        if now_ms >= at:
            text = "the machine is there but has been silent for too long"
            return _do(act.BeginRestart, state, "restart.silent", text, silent=True)
        holds.append(Hold("restart.silent", "the machine is there but silent", at))
    interval = policy.running_look_ms
    if not interval and state.down_count:
        interval = policy.destroy_retry_ms
    return _cadence(state, policy, now_ms, (interval, "run.look", holds))


def _key_is_due(state: Instance, policy: Policy, now_ms: int) -> bool:
    """Return whether a new key is to be made now."""
    due = keys.due_ms(state, policy)
    return due is not None and now_ms >= max(due, keys.retry_ms(state))


def _secrets(state: Instance, policy: Policy, now_ms: int) -> Answer | None:
    """Keep a running machine's key and tokens valid: renew, deliver, or finally launch anew."""
    again, last = keys.retry_ms(state), keys.relaunch_ms(state)
    if last is not None and now_ms >= last:
        text = "new secrets could not be handed over and the old ones end; a launch brings them"
        return _do(act.BeginRestart, state, "secrets.relaunch", text)
    lacks = keys.lacks(state)
    if lacks:
        if now_ms >= again:
            return _do(act.HandOver, state, "secrets.hand_over", lacks)
        text = f"{lacks}; handing over is tried again later"
        return Hold("secrets.hand_over", text, again if last is None else min(again, last))
    due = keys.due_ms(state, policy)
    if due is None:
        return None
    if _key_is_due(state, policy, now_ms):
        return _do(act.MintKey, state, "key.renew", "the machine's key ends soon")
    if now_ms >= due:
        return Hold("key.renew", "making a key came to nothing; it is tried again later", again)
    return Hold("converged", f"it is {state.status}, as it should be", max(due, again))


def _idle(state: Instance, policy: Policy, now_ms: int) -> Answer:
    """Look after what does not run and should not: forget a stale provision, look now and then."""
    holds: list[Hold] = []
    abandoned = state.status == "provisioned" and not state.ever_started and not state.paused_ms
    if abandoned and not state.machine.id:
        at = state.created_ms + policy.stale_provision_ms
        if now_ms >= at:
            return _stale(state, policy, now_ms)
        holds.append(Hold("provision.stale", "it was never started", at))
    if may_launch_from(state):
        at = max(may_launch_from(state) + LISTING_LAG_MS, _retry_at(state, policy))
        if now_ms >= at:
            kind = act.DescribeMachine if state.machine.id else act.FindMachines
            text = "a launch that was given up may have been done since; it is looked at once more"
            return _do(kind, state, "stop.look", text)
        holds.append(Hold("stop.look", "a launch that was given up may yet be done", at))
    interval = policy.idle_look_ms
    return _cadence(state, policy, now_ms, (interval, "idle.look", holds))


def _stale(state: Instance, policy: Policy, now_ms: int) -> Answer:
    """Let an abandoned provision go, once a listing showed that it has no machine."""
    again = _retry_at(state, policy)
    if now_ms < again:
        return Hold("provision.stale", "the listing was not conclusive", again)
    due = state.created_ms + policy.stale_provision_ms
    if not state.looked or state.looked_ms < due:
        text = "before it is abandoned, its machine is looked for"
        return _do(act.FindMachines, state, "provision.stale", text)
    text = "it was never started and has no machine"
    return _note(state, "provision.stale", text, events.ProvisionExpired())


def _cadence(
    state: Instance, policy: Policy, now_ms: int, about: tuple[int, str, list[Hold]]
) -> Answer:
    """Look at a steady interval where the policy has one; `about` is interval, rule and holds."""
    interval, rule, holds = about
    if interval:
        last = max(state.machine.seen_ms, state.looked_ms, state.since_ms, state.tried_ms)
        at = last + interval + spread_ms(policy.look_jitter_ms, state.id, state.serial)
        if now_ms >= at:
            kind = act.DescribeMachine if state.machine.id else act.FindMachines
            return _do(kind, state, rule, "a look is due")
        holds.append(Hold(rule, "the next look is not due", at))
    if not holds:
        return Hold("converged", f"it is {state.status}, as it should be")
    return min(holds, key=lambda hold: hold.until_ms or 0)
