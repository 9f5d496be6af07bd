"""Orders for another version of the agent, and what came of them. Pure.

The machine does it and can go back by itself (`machine/controller/agent/upgrade.py`). An instance
that went back keeps the version before again, so that its next launch gives that one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from holdfast.actors.definition import Ignored, Refused
from holdfast.instances import spend
from holdfast.instances.state import Contact, Instance, Upgrade
from holdfast.wire.agents import is_release, version_order
from holdfast.wire.api.upgrades import NOT_KEPT, UpgradePreview
from holdfast.wire.limits import VERSIONS_SHOWN_MAX

STEP_WORDS: Final = {
    "copy": "a copy of its state is made",
    "doctor": "the new version's doctor brings the copy to its form",
    "start": "it has to be ready and prove itself",
    "back": "going back to the version and state of before",
}
"""The steps of a change that is under way, as a machine reports them."""

DESTROYING: Final = "the instance is being destroyed; nothing can be changed"

_BACK: Final = frozenset({"rolled_back", "refused"})


def order(state: Instance, version: str, *, restore: bool) -> Instance | Refused | Ignored:
    """Return the state with another version to keep; it applies with the next launch.

    An older one only with `restore`: it gets the state that it wrote itself, and what was done
    since is set aside.
    """
    old, last = state.config, state.upgrade
    if not version or not old.agent_version:
        return Refused("no_versions", f"{state.agent} is part of Holdfast and has one version")
    if version == old.agent_version:
        return Ignored("it keeps this version already")
    if last is not None and last.step in STEP_WORDS and state.status == "running":
        text = f"its change to {last.after} is under way; wait until that is over"
        return Refused("upgrading", text)
    # One that was never begun, or never ended, leaves the version that wrote the state.
    unsettled = last is not None and (last.step in STEP_WORDS or not last.step)
    before = last.before if last is not None and unsettled else old.agent_version
    if version_order(version) < version_order(before) and not restore:
        text = (
            f"{version} is older than {before} and does not read what that wrote. To go back to"
            f" the state of before, with what was done since set aside: holdfast instance upgrade"
            f" {state.name} --version {version} --restore"
        )
        return Refused("older_version", text)
    turn = old.agent_turn + 1
    config = replace(old, agent_version=version, agent_turn=turn, version=old.version + 1)
    upgrade = Upgrade(before=before, after=version, turn=turn)
    return replace(state, config=config, upgrade=None if before == version else upgrade)


def preview(
    state: Instance, version: str, *, versions: Sequence[str], is_kept: bool
) -> UpgradePreview:
    """Return what an order would do; `is_kept`: the version that it has is installed here."""
    before = state.config.agent_version
    ordered, restore = order(state, version, restore=False), False
    if state.desired == "destroyed":
        ordered = Refused("destroying", DESTROYING)
    if isinstance(ordered, Refused) and ordered.code == "older_version":
        ordered, restore = order(state, version, restore=True), True
    told = UpgradePreview(
        before=before, after=version, outcome="changes", restore=restore,
        versions=tuple(one for one in reversed(versions) if one != before)[:VERSIONS_SHOWN_MAX],
    )  # fmt: skip
    if isinstance(ordered, Ignored):
        return replace(told, outcome="nothing", reason=ordered.reason)
    if isinstance(ordered, Refused):
        return replace(told, outcome="refused", reason=ordered.message)
    return replace(
        told,
        steps=_steps(state, before, version, restore=restore),
        back=_KEPT.format(before) if is_kept else _NOT_KEPT.format(before),
    )


_KEPT: Final = (
    "Whatever fails, {} runs again by itself, on the state that was set aside, to the byte. What is"
    " done to its workspace stays done"
)
_NOT_KEPT: Final = (
    "{} is not installed on this host any more: if the other one does not work, there is no way"
    " back until it is installed again"
)


def _steps(state: Instance, before: str, after: str, *, restore: bool) -> tuple[str, ...]:
    place = "a copy of it takes its place"
    if restore:
        place = f"the last one that {after} wrote takes its place; where none is kept, it stays"
        place = f"{place} with {before}"
    begin = "it begins with its next start"
    if spend.wanted(state) == "running" and state.machine.id:
        begin = "at once: its agent ends its work in the time it has for that, and is stopped"
    return (
        begin,
        f"its state, as {before} left it, is set aside, and {place}",
        f"the doctor of {after} brings that to its form",
        f"{after} starts, has to be ready in time and prove itself; until then nobody is answered",
    )


def follow(state: Instance) -> Instance:
    """Return the state with what its machine reported of the change that was asked for last."""
    upgrade, change = state.upgrade, state.contact.version_change
    if upgrade is None:
        return state
    if change is None or change.turn != upgrade.turn:
        runs = state.contact.agent_ready and is_release(
            upgrade.after, state.contact.agent_version or "-"
        )
        # A machine that had never run it before has nothing to change.
        return replace(state, upgrade=replace(upgrade, step="done")) if runs else state
    moved = replace(upgrade, step=change.step, reason=change.reason)
    if moved == upgrade:
        return state
    if moved.step in _BACK:
        # Launched with the other one, it runs this: there is nothing that a restart would apply.
        state = replace(state, config=replace(state.config, agent_version=upgrade.before))
    return replace(state, upgrade=moved)


def words(contact: Contact) -> str:
    """Return what a change of version is doing, if one is under way and not stuck."""
    change = contact.version_change
    if change is None or change.step not in STEP_WORDS or contact.degraded:
        return ""
    if contact.agent_state in {"stopped", "parked"} and contact.phase == "ready":
        return ""
    return f"its agent goes from {change.before} to {change.after}: {STEP_WORDS[change.step]}"


def attention(state: Instance) -> str:
    """Return why the last order for a version did not have its way, or nothing."""
    last = state.upgrade
    if last is None or last.step not in NOT_KEPT:
        return ""
    then = "" if last.step == "failed" else f"; it runs {last.before} as before"
    return f"it was not changed to {last.after}: {last.reason}{then}"
