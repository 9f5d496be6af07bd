"""Another version of an instance's agent: the order, what it would do, and what came of it."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from holdfast.wire.api.endpoint import Label, Reason
from holdfast.wire.limits import UPGRADE_STEPS_MAX, VERSIONS_SHOWN_MAX


class InstanceUpgrade(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Change the version of its agent, without one to what new instances get.

    An older one wants `restore`: it gets the state that it wrote itself, and what was done since is
    set aside. `reason` goes into the log of decisions.
    """

    version: Label = ""
    restore: bool = False
    reason: Reason = ""


class UpgradeView(Struct, frozen=True, kw_only=True):
    """The last order for another version of the agent, from `before` to `after`.

    `step` is empty until its machine has begun it; then `copy`, `doctor`, `start` or `back`; at
    last `done`, or, because of `reason`, `rolled_back`, `refused` or `failed`.
    """

    before: Label
    after: Label
    step: Label = ""
    reason: Reason = ""


class UpgradePreview(Struct, frozen=True, kw_only=True):
    """What an order for the version `after` would do now; asking changes nothing.

    `outcome` is `refused`, or `nothing` where it has that version, because of `reason`; else
    `changes`, by `steps` in their order, and `back` says what happens when one fails. `restore`:
    it is an older one, which wants that confirmed. `versions` are those it could have instead, the
    newest first.
    """

    before: Label
    after: Label
    outcome: Literal["changes", "nothing", "refused"]
    reason: Reason = ""
    restore: bool = False
    steps: Annotated[tuple[Reason, ...], Meta(max_length=UPGRADE_STEPS_MAX)] = ()
    back: Reason = ""
    versions: Annotated[tuple[Label, ...], Meta(max_length=VERSIONS_SHOWN_MAX)] = ()


VERSION_PATTERN: Final = r"[0-9A-Za-z][0-9A-Za-z._-]{0,119}"
"""A version of an agent, as it is installed."""

NOT_KEPT: Final = frozenset({"rolled_back", "refused", "failed"})
"""Steps of `UpgradeView` with which an order for another version did not have its way."""
