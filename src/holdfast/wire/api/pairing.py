"""Endpoints about pairing and secrets: the inbox, decisions, policies, channel tokens.

The inbox is answered from the machines' last reports, without a call to any machine; an instance's
own list calls its controller. A decision answers 200 once the machine has carried it out, 202 if
that takes longer, 404 for a request that does not exist (any more), 409 if it was decided already
or the instance does not run, and 502, 503 or 504 if the machine answered wrongly, not at all or too
late.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from holdfast.wire.api.endpoint import (
    ACCOUNT,
    AFTER,
    LIMIT,
    PAGING,
    Counter,
    Cursor,
    Id,
    Label,
    Param,
    Reason,
    Time,
    look,
)
from holdfast.wire.api.operations import followed
from holdfast.wire.api.secrets import SecretList, SecretsPatch
from holdfast.wire.limits import (
    INSTANCE_BODY_BYTES_MAX,
    INSTANCES_MAX,
    PAGE_ITEMS_MAX,
    PAIRING_PENDING_MAX,
    PAIRING_RULES_MAX,
    PAIRING_SCOPES_MAX,
    PAIRING_SOURCES_MAX,
    TEXT_MAX,
)

CHANNEL_PATTERN: Final = r"[a-z][a-z0-9_-]{0,63}"
CODE_PATTERN: Final = r"[A-Za-z0-9]{1,32}"
UUID_PATTERN: Final = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
REQUEST_PATTERN: Final = rf"({CHANNEL_PATTERN}:[A-Za-z0-9_-]{{1,62}}|{UUID_PATTERN})"
ANYBODY: Final = "*"
"""What a rule says for any sender, any role or any scope; nothing means it by being left out."""

_END: Final = r"$(?!\n)"

Channel = Annotated[str, Meta(max_length=64, pattern=rf"^{CHANNEL_PATTERN}{_END}")]
Code = Annotated[str, Meta(max_length=32, pattern=rf"^{CODE_PATTERN}{_END}")]
RequestId = Annotated[str, Meta(max_length=TEXT_MAX, pattern=rf"^{REQUEST_PATTERN}{_END}")]
RuleText = Annotated[str, Meta(min_length=1, max_length=TEXT_MAX)]
Scopes = Annotated[tuple[Label, ...], Meta(max_length=PAIRING_SCOPES_MAX)]

PairingKind = Literal["channel", "device"]
Decision = Literal["approve", "dismiss"]
Via = Literal["controller", "exec", "cache", "none"]
"""The source of a list: the controller, a command in the machine, its answer of a moment ago, or
`none` because the machine does not run."""
Mode = Literal["manual", "rules"]


class PairingRequest(Struct, frozen=True, kw_only=True):
    """One request that waits for a decision.

    `sender` is the sender's id at the channel or the device's id, `sender_name` what they call
    themselves. `expires_at` is None where it does not expire. `deciding` names a decision that is
    on its way to the machine, `error` why the last one failed. `fingerprint` changes when what
    would be approved changes; it is empty where the machine gives none.
    """

    request_id: Label
    instance: Id
    instance_name: Label
    account: Label
    kind: PairingKind
    sender: Label
    sender_name: Label = ""
    channel: Label = ""
    code: Label = ""
    channel_account: Label = ""
    role: Label = ""
    scopes: Scopes = ()
    platform: Label = ""
    client: Label = ""
    created_at: Time | None = None
    expires_at: Time | None = None
    deciding: Decision | None = None
    error: Reason = ""
    fingerprint: Label = ""


class PairingSource(Struct, frozen=True, kw_only=True):
    """How one source of a list stands: a channel's name, or `devices`.

    `stale` says that its rows are older than the list, because the last look failed.
    """

    name: Label
    last_success_at: Time | None = None
    error: Reason = ""
    stale: bool = False


class PairingList(Struct, frozen=True, kw_only=True):
    """The requests of one instance, newest first.

    `complete` is false when a source could not be read, so that more may wait than is shown;
    `error` then says why. `note` says why there is nothing, where that is no fault. `epoch`
    grows with everything that makes an older list worthless.
    """

    instance: Id
    items: Annotated[tuple[PairingRequest, ...], Meta(max_length=PAIRING_PENDING_MAX)]
    via: Via
    complete: bool
    epoch: Counter = 0
    fetched_at: Time | None = None
    error: Reason = ""
    note: Reason = ""
    sources: Annotated[tuple[PairingSource, ...], Meta(max_length=PAIRING_SOURCES_MAX)] = ()


class PairingTrouble(Struct, frozen=True, kw_only=True):
    """An instance of which the inbox does not know everything, and why."""

    instance: Id
    instance_name: Label
    error: Reason
    at: Time | None = None


class PairingInbox(Struct, frozen=True, kw_only=True):
    """The waiting requests of all visible instances, newest first, as last reported.

    `counts` is how many wait for each instance that has any, `total` for all; neither is
    filtered. `troubles` names instances whose list is not complete.
    """

    items: Annotated[tuple[PairingRequest, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    total: Counter
    counts: Annotated[dict[Id, Counter], Meta(max_length=INSTANCES_MAX)] = {}
    next: Cursor = ""
    troubles: Annotated[tuple[PairingTrouble, ...], Meta(max_length=PAGE_ITEMS_MAX)] = ()


class PairingApprove(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Let a request in: named by `request_id`, or by `channel` and `code` together.

    With `remember`, a rule is added that approves the same sender from now on. With a
    `fingerprint`, only if the request is still what it was when that was read.
    """

    request_id: RequestId | None = None
    channel: Channel | None = None
    code: Code | None = None
    remember: bool = False
    fingerprint: Label = ""


class PairingDismiss(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Put a request aside: named by `request_id`, or by `channel` and `code` together.

    With a `fingerprint`, only if the request is still what it was when that was read.
    """

    request_id: RequestId | None = None
    channel: Channel | None = None
    code: Code | None = None
    fingerprint: Label = ""


class PairingOutcome(Struct, frozen=True, kw_only=True):
    """A decision that was carried out; `message` is what the machine said of it.

    `remembered` is the id of the rule that was added, or empty.
    """

    instance: Id
    request_id: Label
    decision: Decision
    message: Reason
    by: Label
    via: Via
    remembered: Label = ""


class PairingRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom to let in without asking a person.

    A channel's rule names `channel` and `sender`; a device's names `role`, the `scopes` it may
    ask for at most, and may name the device as `sender`. `*` means any. It ends at `expires_at`.
    `id`, `by` and `created_at` are the plane's; what a caller sends for them is not read, but an
    `id` that exists keeps its rule's history.
    """

    kind: PairingKind
    sender: RuleText
    channel: Channel | None = None
    role: RuleText | None = None
    scopes: Scopes = ()
    expires_at: Time | None = None
    id: Label = ""
    by: Label = ""
    created_at: Time | None = None


class PairingPolicy(Struct, frozen=True, kw_only=True):
    """How requests of one instance are decided: by people (`manual`), or by rules first.

    Under `manual` rules are kept and not used. `version` grows with each change.
    """

    instance: Id
    mode: Mode
    version: Counter
    rules: Annotated[tuple[PairingRule, ...], Meta(max_length=PAIRING_RULES_MAX)] = ()


class PairingPolicySet(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A policy in place of the one before; with `version` only if that is still the present."""

    mode: Mode
    rules: Annotated[tuple[PairingRule, ...], Meta(max_length=PAIRING_RULES_MAX)] = ()
    version: Counter | None = None


class PairingEntry(Struct, frozen=True, kw_only=True):
    """One entry of the history: a decision that was taken, done or refused, or a new policy.

    `by` is who decided; `rule` the id of the rule, where it was one.
    """

    event: Id
    at: Time
    what: Literal["approve", "dismiss", "approved", "dismissed", "failed", "policy"]
    request_id: Label = ""
    kind: PairingKind | None = None
    channel: Label = ""
    sender: Label = ""
    by: Label = ""
    rule: Label = ""
    via: Label = ""
    message: Reason = ""


class PairingHistory(Struct, frozen=True, kw_only=True):
    """What was decided for one instance, newest first."""

    entries: Annotated[tuple[PairingEntry, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    next: Cursor = ""


_ONE: Final = "/api/instances/{id}/pairing"
_DECIDED: Final = (200, 202, 409, 502, 503, 504)
_SECRETS: Final = "/api/instances/{id}/secrets"

PAIRING: Final = (
    look(
        "pairing.inbox", "/api/pairing", PairingInbox,
        "The waiting requests of all visible instances, as their machines last reported them.",
        *PAGING, ACCOUNT, Param("kind", r"channel|device", "Only this kind."),
        Param("text", r"[ -~]{1,64}", "Only where instance, channel or sender contains this."),
    ),
    look(
        "pairing.list", _ONE, PairingList,
        "The requests that wait for one instance, asked of its machine.",
        Param("refresh", r"true|false", "Have the machine look afresh first."),
        statuses=(200, 502, 503, 504),
    ),
    followed(
        "pairing.approve", f"{_ONE}/approve", PairingApprove, PairingOutcome,
        "Let a request in, and remember its sender if asked to.", statuses=_DECIDED,
    ),
    followed(
        "pairing.dismiss", f"{_ONE}/dismiss", PairingDismiss, PairingOutcome,
        "Put a request aside; it is not shown again.", statuses=_DECIDED,
    ),
    look(
        "pairing.policy", f"{_ONE}/policy", PairingPolicy,
        "How requests of an instance are decided.",
    ),
    followed(
        "pairing.set-policy", f"{_ONE}/policy", PairingPolicySet, PairingPolicy,
        "Set how requests of an instance are decided.", method="PUT",
    ),
    look(
        "pairing.history", f"{_ONE}/history", PairingHistory,
        "What was decided for an instance, by whom, newest first.", LIMIT, AFTER,
    ),
    look(
        "instance.secrets", _SECRETS, SecretList,
        "Which channel tokens and secrets are set; never a value.",
    ),
    followed(
        "instance.set-secrets", _SECRETS, SecretsPatch, SecretList,
        "Set or remove channel tokens and secrets; the machine learns of it when started.",
        method="PATCH", body_bytes_max=INSTANCE_BODY_BYTES_MAX,
    ),
)  # fmt: skip
