"""The fold of a restore: the journal is older than the cloud, and the cloud is believed.

Between the backup and the restore a machine may have been replaced, launched anew, given other
tokens, or destroyed. So numbers go on above those that the machine has seen, no call of the backup
is waited for, and the machine that is there now becomes the known one. Nothing is created here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from msgspec.structs import replace

from holdfast.actors.definition import Applied, At, Ignored, Verdict
from holdfast.instances import events, keys, spend
from holdfast.instances.limits import REVISIONS_SKIPPED
from holdfast.instances.outcomes import progressed
from holdfast.instances.state import Instance
from holdfast.instances.transitions import (
    begin,
    doom,
    given_up,
    observed,
    went_down,
    without_machine,
)

BLOCKED: Final = "restored"
"""Why nothing is created in the place of a machine that is gone: a person decides."""


def _restored(state: Instance, event: events.Restored, at: At) -> Verdict[Instance]:
    ids = [seen.id for seen in event.machines]
    renumbered = _renumbered(state, event, at)
    if state.desired == "destroyed":
        return Applied(doom(renumbered, *ids))
    if not ids:
        return _without(renumbered, at, hold=event.hold)
    kept = next((seen for seen in event.machines if seen.id == state.machine.id), event.machines[0])
    others = (one for one in ids if one != kept.id)
    bound = observed(
        doom(renumbered, *others), kept, at.now_ms, epoch=kept.epoch or state.machine.epoch
    )
    if kept.volume_id and not bound.volume_id:
        bound = replace(bound, volume_id=kept.volume_id, volume_checked=False)
    doubted = keys.doubted(bound.credentials, at.now_ms)
    return Applied(progressed(replace(bound, credentials=doubted), at, current=True))


def _renumbered(state: Instance, event: events.Restored, at: At) -> Instance:
    """Return the state under an epoch and revision that no machine has seen, its aim begun anew."""
    epoch = max(state.epoch, *(seen.epoch for seen in event.machines), 0) + 1
    revision = state.revision + REVISIONS_SKIPPED
    if state.aim:
        return replace(begin(state, state.aim, epoch, at.now_ms), revision=revision)
    return replace(
        given_up(state), epoch=epoch, revision=revision, job=None, tries=0, tried_ms=0,
        try_after_ms=0, looked=False, twin_ms=0,
    )  # fmt: skip


def _without(state: Instance, at: At, *, hold: bool) -> Verdict[Instance]:
    """Return the state where the cloud has no machine of the instance."""
    gone = without_machine(state) if state.machine.id else state
    if spend.wanted(state) != "running":
        return Applied(gone)
    if state.aim == "" and state.status == "stopped" and state.blocked:
        return Ignored("it waits for a person already")
    text = "there is no machine of it after a restore"
    down = replace(went_down(gone, "machine_gone", text, at.now_ms), failures=0)
    return Applied(replace(down, blocked=BLOCKED) if hold else down)


FOLDS: Final[dict[type, Callable[[Instance, Any, At], Verdict[Instance]]]] = {
    events.Restored: _restored,
}
