"""The fold: what each event makes of an instance, and what it may not.

Guards stand here and nowhere else: a request that may not be is refused with a stable code and a
message that says what to do. The fold has no policy and no clock but the tick's; it is total: an
event of an older incarnation is ignored, never an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import msgspec
from msgspec.structs import replace

from holdfast.actors.definition import Applied, At, Ignored, Refused, Verdict
from holdfast.instances import (
    contact,
    events,
    incidents,
    intents,
    keys,
    outcomes,
    restored,
    spend,
    towns,
    upgrades,
)
from holdfast.instances.environment import reserved_reason
from holdfast.instances.limits import (
    CONFIG_BYTES_MAX,
    LOST_CLAIMS_MAX,
    START_FRESH_MS,
    VARIABLES_MAX,
)
from holdfast.instances.secret_catalogue import secrets_problem
from holdfast.instances.state import (
    NO_MACHINE,
    Config,
    Credentials,
    Instance,
    Upgrade,
    claim_lost,
)
from holdfast.instances.upgrades import STEP_WORDS

Fold: TypeAlias = Callable[[Instance, Any, At], "Verdict[Instance]"]

NAME_SCOPE: Final = "instance-name"
SANDBOX_SCOPE: Final = "sandbox"
MACHINE_SCOPE: Final = "machine"


def apply(state: Instance, event: events.Event, at: At) -> Verdict[Instance]:
    """Return what the event makes of the instance."""
    kind = type(event)
    guard = None if _answers(state, event) else _guard(state, kind)
    if guard is not None:
        return guard
    verdict = _FOLDS[kind](state, event, at)
    if not isinstance(verdict, Applied):
        return verdict
    new = verdict.state
    if new.paused_ms and new.desired != "running":  # a stop meanwhile holds, also after the pause
        new = replace(new, paused_ms=0)
    if _directs_otherwise(state, new):
        new = replace(new, revision=max(state.revision, new.revision) + 1)
    return Applied(incidents.follow(state, new, at.now_ms))


def _answers(state: Instance, event: events.Event) -> bool:
    """Return whether a tombstone answers: a town waits for what never comes back otherwise."""
    is_asked = isinstance(event, events.AgentsHosted) and event.destroyed
    return is_asked and state.status == "destroyed"


def _guard(state: Instance, kind: type) -> Refused | Ignored | None:
    """Refuse a request for an instance that does not exist; a letter to it is not answered."""
    if state.status in NO_MACHINE and kind in _LETTERS:
        return Ignored("there is no such instance")
    if state.status == "absent":
        if kind in _BEFORE:
            return None
        return Refused("no_such_instance", "there is no such instance")
    if kind is events.InstanceCreated and state.status != "destroyed":
        return Refused("already_exists", "this instance exists already")
    if state.status == "destroyed" and kind not in _AFTER:
        return Refused("destroyed", "the instance was destroyed; make a new one")
    return None


def _directs_otherwise(old: Instance, new: Instance) -> bool:
    """Return whether the machine's directive differs from the one before."""
    return (
        spend.wanted(old) != spend.wanted(new)
        or old.machine.epoch != new.machine.epoch
        or old.ladder_held != new.ladder_held
        or old.ladder_turn != new.ladder_turn
    )


def _created(state: Instance, event: events.InstanceCreated, at: At) -> Verdict[Instance]:
    if claim_lost(state, NAME_SCOPE, f"{event.account}/{event.name}"):
        text = f"the name {event.name!r} is taken; choose another or destroy the other instance"
        return Refused("name_taken", text)
    if claim_lost(state, SANDBOX_SCOPE, event.sandbox_id):
        return Refused("sandbox_taken", "another instance has this sandbox id; ask again")
    wrong = _config_problem(event.config)
    if wrong is not None:
        return wrong
    return Applied(
        Instance(
            id=state.id,
            account=event.account,
            name=event.name,
            sandbox_id=event.sandbox_id,
            agent=event.agent,
            provider=event.provider,
            region=event.region,
            desired=event.desired,
            status="provisioned",
            since_ms=at.now_ms,
            created_ms=at.now_ms,
            config=event.config,
            credentials=Credentials(
                key_hash=event.key_hash,
                sealed_key=event.sealed_key,
                key_expires_ms=event.key_expires_ms,
            ),
        )
    )


def _start(state: Instance, _event: events.StartRequested, at: At) -> Verdict[Instance]:
    if state.status == "destroying":
        return Refused("destroying", "the instance is being destroyed; make a new one")
    paused = spend.refusal(state, at.now_ms)
    if paused is not None:
        return paused
    wanted = replace(
        state, desired="running", failures=0, failed_ms=0, blocked="", lost_claims=(),
        ladder_held=False,
    )  # fmt: skip
    if state.desired == "stopped":
        return Applied(wanted)
    match state.status:
        case "restarting":
            return Refused("busy", "the instance is restarting; wait until it runs")
        case "running":
            return Ignored("it runs already")
        case "starting" if at.now_ms - state.since_ms < START_FRESH_MS:
            return Ignored("it is starting already")
        case "starting":
            return Applied(replace(wanted, status="stopped", aim="", since_ms=at.now_ms))
        case _:
            return Applied(wanted)


def _stop(state: Instance, _event: events.StopRequested, _at: At) -> Verdict[Instance]:
    if state.status == "destroying":
        return Ignored("it is being destroyed, which stops it")
    if state.desired == "stopped":
        return Ignored("it is to be stopped already")
    return Applied(
        replace(state, desired="stopped", restart_wanted=False, failures=0, failed_ms=0, blocked="")
    )


def _restart(state: Instance, _event: events.RestartRequested, at: At) -> Verdict[Instance]:
    if state.status in {"provisioned", "destroying", "starting", "restarting"}:
        return Refused("busy", f"the instance is {state.status}; wait, then ask again")
    if not state.machine.id:
        return Refused("no_machine", "the instance has no machine; start it instead")
    paused = spend.refusal(state, at.now_ms)
    if paused is not None:
        return paused
    wanted = replace(
        state, desired="running", restart_wanted=True, failures=0, failed_ms=0, blocked="",
        ladder_held=False, upgrade=_unsettled(state),
    )  # fmt: skip
    return Applied(wanted)


def _unsettled(state: Instance) -> Upgrade | None:
    """Return the last order for a version, unless it is over and a person went on from there."""
    last = state.upgrade
    return last if last is not None and (not last.step or last.step in STEP_WORDS) else None


def _upgrade(state: Instance, event: events.UpgradeRequested, at: At) -> Verdict[Instance]:
    if state.desired == "destroyed":
        return Refused("destroying", upgrades.DESTROYING)
    ordered = upgrades.order(state, event.version, restore=event.restore)
    if not isinstance(ordered, Instance):
        return ordered
    if spend.wanted(state) != "running" or not state.machine.id:
        return Applied(ordered)  # it applies with its next start
    return _restart(ordered, events.RestartRequested(), at)


def _hold_ladder(state: Instance, _event: events.LadderStopRequested, _at: At) -> Verdict[Instance]:
    if spend.wanted(state) != "running":
        text = f"the instance is wanted {spend.wanted(state)}; nothing recovers"
        return Refused("not_running", text)
    if state.ladder_held:
        return Ignored("its recovery is held already")
    return Applied(replace(state, ladder_held=True))


def _retry_ladder(
    state: Instance, _event: events.LadderRetryRequested, _at: At
) -> Verdict[Instance]:
    if spend.wanted(state) != "running":
        text = f"the instance is wanted {spend.wanted(state)}; start it instead"
        return Refused("not_running", text)
    return Applied(replace(state, ladder_held=False, ladder_turn=state.ladder_turn + 1))


def _destroy(state: Instance, _event: events.DestroyRequested, _at: At) -> Verdict[Instance]:
    if state.desired == "destroyed":
        return Ignored("it is being destroyed already")
    return Applied(replace(state, desired="destroyed", restart_wanted=False, blocked=""))


def _configure(state: Instance, event: events.ConfigChanged, _at: At) -> Verdict[Instance]:
    if state.desired == "destroyed":
        return Refused("destroying", "the instance is being destroyed; nothing can be changed")
    given = state
    if event.agent_version and state.config.agent_version not in {"", event.agent_version}:
        ordered = upgrades.order(state, event.agent_version, restore=False)
        if not isinstance(ordered, Instance):
            return ordered
        state = ordered
    old = state.config
    gone = {name: None for name, value in event.secrets.items() if value is None}
    config = replace(
        old,
        env=_merged(old.env, event.env),
        secrets=_merged(old.secrets, event.secrets),
        paths=_merged(old.paths, {**event.paths, **gone}),
        cpus=old.cpus if event.cpus is None else event.cpus,
        memory_mb=old.memory_mb if event.memory_mb is None else event.memory_mb,
        agent_version=old.agent_version if event.agent_version is None else event.agent_version,
        model=old.model if event.model is None else event.model,
    )
    # Of before instances had a status: what is folded gives it one, and writes its row.
    if config == old and state is given and state.health_ms:
        return Ignored("nothing differs")
    # The first version that is kept is the one that it runs already: nothing is to be applied.
    is_first = not old.agent_version and event == events.ConfigChanged(
        agent_version=event.agent_version
    )
    if config != old and not is_first:
        config = replace(config, version=old.version + 1)
    wrong = _config_problem(config)
    blocked = "" if state.blocked == "invalid" else state.blocked
    return wrong if wrong is not None else Applied(replace(state, config=config, blocked=blocked))


def _merged(old: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """Return the variables with the changes made, in the order of their names."""
    both = {**old, **changes}
    return {name: value for name, value in sorted(both.items()) if value is not None}


def _config_problem(config: Config) -> Refused | None:
    """Return why a configuration may not be, or None."""
    for name in (*config.env, *config.secrets):
        why = reserved_reason(name)
        if why is not None:
            return Refused("reserved_name", f"{name}: {why}")
    wrong = secrets_problem(config.secrets, config.paths)
    if wrong is not None:
        return Refused(*wrong)
    if len(config.env) > VARIABLES_MAX:
        return Refused("too_many_variables", f"env: at most {VARIABLES_MAX} for one instance")
    size = len(msgspec.json.encode((config.env, config.secrets, config.paths)))
    if size > CONFIG_BYTES_MAX:
        text = f"env and secrets take {size} bytes; at most {CONFIG_BYTES_MAX}: put large values"
        return Refused("config_too_large", f"{text} in a file that the agent reads")
    return None


def _claim_lost(state: Instance, event: events.ClaimLost, _at: At) -> Verdict[Instance]:
    lost = (*state.lost_claims, (event.scope, event.key))[-LOST_CLAIMS_MAX:]
    return Applied(replace(state, lost_claims=lost))


_FOLDS: Final[dict[type, Fold]] = {
    events.InstanceCreated: _created,
    events.StartRequested: _start,
    events.StopRequested: _stop,
    events.RestartRequested: _restart,
    events.LadderStopRequested: _hold_ladder,
    events.LadderRetryRequested: _retry_ladder,
    events.DestroyRequested: _destroy,
    events.ConfigChanged: _configure,
    events.UpgradeRequested: _upgrade,
    events.ClaimLost: _claim_lost,
    **intents.FOLDS,
    **outcomes.FOLDS,
    **contact.FOLDS,
    **keys.FOLDS,
    **restored.FOLDS,
    **spend.FOLDS,
    **towns.FOLDS,
}

_LETTERS: Final = frozenset({events.SpendReported, events.AgentsHosted})
"""Events that letters of others are."""

_BEFORE: Final = frozenset({events.InstanceCreated, events.ClaimLost})
"""Events that an instance takes before it exists."""

_AFTER: Final = frozenset({events.MachineCreated, events.MachineAdopted, events.TownsTold})
"""Events that a tombstone takes: a machine that came to light late must still be removed, and a
town that asks is told."""
