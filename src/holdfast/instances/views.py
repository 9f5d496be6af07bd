"""The view rows of an instance, computed from its state for the API and other packages.

    instance         the wire's `InstanceView`, without the fields of the last contact
    instance-detail  what only its own page shows; a secret appears by name only
    budget           keyed by node: `letters.spend.BudgetFacts`, for content, where there is one
    machine          keyed by sandbox id: `letters.machine.MachineFacts`, for telemetry

A row is gone when the instance is. Nothing here decides, and no row holds a plaintext secret.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, TypeAlias

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from holdfast.actors.definition import ViewRow
from holdfast.instances import spend, upgrades
from holdfast.instances.health import BLOCKED_WORDS, health, needs_look
from holdfast.instances.state import CPUS, MEMORY_MB, Fault, Incident, Instance, exists
from holdfast.letters.machine import MachineFacts
from holdfast.letters.spend import BudgetFacts
from holdfast.wire.api.instances import InstanceView, RecoveryView
from holdfast.wire.api.instances import Status as ShownStatus
from holdfast.wire.api.upgrades import UpgradeView
from holdfast.wire.budget import REACHED
from holdfast.wire.controller.checkin import Recovery
from holdfast.wire.health import Health
from holdfast.wire.limits import REASON_MAX
from holdfast.wire.salvage import salvage, shown_id
from holdfast.wire.times import time_text

INSTANCE_VIEW: Final = "instance"
DETAIL_VIEW: Final = "instance-detail"
MACHINE_VIEW: Final = "machine"
BUDGET_VIEW: Final = "budget"

ContactWord: TypeAlias = Literal["never", "here", "lost"]

_HEARD: Final[dict[str, ContactWord]] = {"unknown": "never", "heard": "here", "lost": "lost"}
_STOPPED: Final = frozenset({"stopped", "provisioned"})


class DetailRow(Struct, frozen=True, kw_only=True):
    """What only the instance's own page shows; times are ms since the epoch, 0 for never."""

    sandbox_id: str
    provider: str
    env: dict[str, str] = {}
    secret_names: tuple[str, ...] = ()
    secret_paths: dict[str, str] = {}
    started_ms: int = 0
    stopped_ms: int = 0
    failures: int = 0
    config_version: int = 0
    launched_version: int = 0
    volume_id: str = ""
    agent_version: str = ""
    agent_version_before: str = ""
    cpus: int = CPUS
    memory_mb: int = MEMORY_MB
    faults: dict[str, Fault] = {}
    incidents: tuple[Incident, ...] = ()


_encode = msgspec.json.Encoder().encode
decode_instance = msgspec.json.Decoder(InstanceView).decode
decode_detail = msgspec.json.Decoder(DetailRow).decode
decode_machine = msgspec.json.Decoder(MachineFacts).decode
decode_budget = msgspec.json.Decoder(BudgetFacts).decode


def read_instance(key: str, body: bytes, *, account: str = "") -> InstanceView:
    """Return the instance of a committed row, also of one that is damaged.

    What cannot be read of that is said in `attention`, and its status is `unknown` unless it can
    be. `account` is whose the row is.
    """
    try:
        return decode_instance(body)
    except ValueError as error:
        said = f"its stored row is damaged ({error}); what is shown is what could be read"
        unread = InstanceView(
            id=shown_id(key),
            name=shown_id(key),
            account=account,
            agent="",
            desired="stopped",
            status="unknown",
            restarts=0,
            last_contact_at=None,
            created_at=None,
            health=Health(code="damaged", text="its stored row is damaged"),
        )
        known = salvage(InstanceView, body)
        return replace(unread, **(known | {"id": unread.id, "attention": said[:REASON_MAX]}))


def read_detail(body: bytes) -> DetailRow:
    """Return what only the instance's own page shows; of a damaged row what can be read."""
    try:
        return decode_detail(body)
    except ValueError:
        return replace(DetailRow(sandbox_id="", provider=""), **salvage(DetailRow, body))


def views(before: Instance | None, after: Instance, _touched: Iterable[str]) -> Iterable[ViewRow]:
    """Return the rows that show `after`; a rebuild passes None for `before`."""
    facts = budget_facts(after)
    if facts != (None if before is None else budget_facts(before)):
        known = after if exists(after) or before is None else before
        body = None if facts is None else _encode(facts)
        yield ViewRow(BUDGET_VIEW, spend.node_of(known), known.account, body)
    if not exists(after):
        if before is not None and exists(before):
            yield ViewRow(INSTANCE_VIEW, after.id, before.account, None)
            yield ViewRow(DETAIL_VIEW, after.id, before.account, None)
            yield ViewRow(MACHINE_VIEW, before.sandbox_id, before.account, None)
        return
    account = after.account
    yield ViewRow(INSTANCE_VIEW, after.id, account, _encode(instance_view(after)))
    fresh = before is None or not exists(before)
    detail = _encode(detail_row(after))
    if fresh or before is None or detail != _encode(detail_row(before)):
        yield ViewRow(DETAIL_VIEW, after.id, account, detail)
    machine = machine_facts(after)
    if fresh or before is None or machine != machine_facts(before):
        yield ViewRow(MACHINE_VIEW, after.sandbox_id, account, _encode(machine))


def instance_view(state: Instance) -> InstanceView:
    """Return the instance as lists show it; load and last contact are added by who reads it."""
    contact, worst = state.contact, spend.worst(state)
    return InstanceView(
        id=state.id,
        name=state.name,
        account=state.account,
        agent=state.agent,
        desired=state.desired,
        status=shown_status(state),
        restarts=contact.restarts,
        last_contact_at=None,
        created_at=time_text(state.created_ms),
        region=state.machine.region or state.region,
        machine_id=state.machine.id,
        agent_version=contact.agent_version,
        controller_version=contact.controller_version,
        agent_ready=contact.agent_ready if state.status == "running" else None,
        contact=_HEARD[contact.heard],
        epoch=state.epoch,
        attention=attention(state),
        error=last_error(state),
        recovery=_recovery_view(contact.recovery),
        paused=bool(state.paused_ms),
        budget="" if worst is None else spend.alert_words(worst),
        health=health(state),
        upgrade=_upgrade_view(state),
    )


def shown_status(state: Instance) -> ShownStatus:
    """Return the status as it is shown: one that its cap stopped is paused, not stopped."""
    if state.status == "absent":
        return "destroyed"
    return "paused" if state.paused_ms and state.status in _STOPPED else state.status


def _recovery_view(recovery: Recovery | None) -> RecoveryView | None:
    """Return the recovery as the API writes it, its fields matched by their names."""
    if recovery is None:
        return None
    return msgspec.convert(recovery, RecoveryView, from_attributes=True)


def _upgrade_view(state: Instance) -> UpgradeView | None:
    if state.upgrade is None:
        return None
    return msgspec.convert(state.upgrade, UpgradeView, from_attributes=True)


def version_before(state: Instance) -> str:
    """Return the version of its agent that it may yet go back to by itself; or nothing."""
    last = state.upgrade
    is_open = last is not None and (not last.step or last.step in upgrades.STEP_WORDS)
    return last.before if last is not None and is_open else ""


def attention(state: Instance) -> str:
    """Return why a person should look, or nothing."""
    if state.blocked:  # before a pause, which ends by itself
        return BLOCKED_WORDS.get(state.blocked, state.blocked)
    if state.paused_ms:
        return spend.pause_words(state)[:REASON_MAX]
    if "destroy_volume" in state.faults:
        return state.faults["destroy_volume"].message
    if state.status == "destroying" and "destroy" in state.faults:
        return f"it cannot be destroyed yet: {state.faults['destroy'].message}"[:REASON_MAX]
    found = health(state)
    if needs_look(found):
        return "; ".join(filter(None, (found.text, found.fix)))[:REASON_MAX]
    if state.upgrade is not None and (text := upgrades.attention(state)):
        return text[:REASON_MAX]
    worst = spend.worst(state)
    if worst is not None and worst.level >= REACHED and not worst.excused:
        return spend.used_up(worst)
    if state.twin_ms or (state.doomed and state.desired != "destroyed"):
        return "a second machine reports for it"
    return ""


def last_error(state: Instance) -> str:
    """Return the newest failure that still matters, as `code: message`."""
    if not state.faults:
        return ""
    newest = max(state.faults.values(), key=lambda fault: (fault.at_ms, fault.code))
    return f"{newest.code}: {newest.message}"[:REASON_MAX]


def detail_row(state: Instance) -> DetailRow:
    """Return what only the instance's own page shows."""
    return DetailRow(
        sandbox_id=state.sandbox_id,
        provider=state.provider,
        env=state.config.env,
        secret_names=tuple(sorted(state.config.secrets)),
        secret_paths=state.config.paths,
        started_ms=state.started_ms,
        stopped_ms=state.stopped_ms,
        failures=state.failures,
        config_version=state.config.version,
        launched_version=state.machine.config_version,
        volume_id=state.volume_id,
        agent_version=state.config.agent_version,
        agent_version_before=version_before(state),
        cpus=state.config.cpus,
        memory_mb=state.config.memory_mb,
        faults=state.faults,
        incidents=state.incidents,
    )


def budget_facts(state: Instance) -> BudgetFacts | None:
    """Return what is to be measured of the instance, and what it knows; None without a budget."""
    if state.budget is None or not exists(state):
        return None
    return BudgetFacts(
        instance=state.id,
        account=state.account,
        budget=state.budget,
        meters=state.meters,
        turn=state.budget_turn,
        paused=bool(state.paused_ms),
    )


def machine_facts(state: Instance) -> MachineFacts:
    """Return what authenticates the instance's machine and directs it."""
    credentials = state.credentials
    return MachineFacts(
        instance=state.id,
        sandbox=state.sandbox_id,
        account=state.account,
        api_key_hash=credentials.key_hash,
        previous_key_hash=credentials.previous_hash,
        previous_key_until_ms=credentials.previous_expires_ms,
        next_key_hash=credentials.pending_hash,
        token_version=credentials.token_version,
        live_token_version=credentials.live_token_version or credentials.token_version,
        previous_token_until_ms=credentials.previous_token_expires_ms,
        epoch=state.machine.epoch,
        desired=spend.wanted(state),
        expected=spend.wanted(state) == "running" and state.status == "running",
        heard=state.contact.heard == "heard",
        machine_id=state.machine.id,
        region=state.machine.region or state.region,
        ladder="held" if state.ladder_held else "auto",
        ladder_turn=state.ladder_turn,
        revision=state.revision,
    )
