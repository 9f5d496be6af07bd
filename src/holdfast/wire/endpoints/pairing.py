"""Endpoints about pairing and secrets: the inbox, decisions, policies, channel tokens.

The inbox answers from what the plane has heard, at no cost to any machine; an instance's own list
asks its controller. A decision answers 200 once the machine has carried it out, 202 where that
takes longer, 404 for a request that is not there (any more), 409 where it was decided already or
the instance does not run, and 502, 503 or 504 where the machine answered wrongly, not at all or
too late.
"""

from __future__ import annotations

from typing import Final

from holdfast.wire.endpoints.params import ACCOUNT, AFTER, ID, LIMIT, PAGING
from holdfast.wire.endpoints.row import Endpoint, Param
from holdfast.wire.limits import INSTANCE_BODY_BYTES_MAX
from holdfast.wire.messages.operations import Pending
from holdfast.wire.messages.pairing import (
    PairingApprove,
    PairingDismiss,
    PairingHistory,
    PairingInbox,
    PairingList,
    PairingOutcome,
    PairingPolicy,
    PairingPolicySet,
)
from holdfast.wire.messages.secrets import SecretList, SecretsPatch

_ONE: Final = "/api/instances/{id}/pairing"
_DECIDED: Final = (200, 202, 409, 502, 503, 504)
_SECRETS: Final = "/api/instances/{id}/secrets"

PAIRING: Final = (
    Endpoint(
        name="pairing.inbox",
        method="GET",
        path="/api/pairing",
        summary="The requests that wait over all visible instances, as the plane last heard.",
        scope="owner",
        response=PairingInbox,
        params=(
            *PAGING,
            ACCOUNT,
            Param("kind", r"channel|device", "Only this kind."),
            Param("text", r"[ -~]{1,64}", "Only where instance, channel or sender contains this."),
        ),
    ),
    Endpoint(
        name="pairing.list",
        method="GET",
        path=_ONE,
        summary="The requests that wait for one instance, asked of its machine.",
        scope="owner",
        response=PairingList,
        params=(ID, Param("refresh", r"true|false", "Have the machine look afresh first.")),
        statuses=(200, 502, 503, 504),
    ),
    Endpoint(
        name="pairing.approve",
        method="POST",
        path=f"{_ONE}/approve",
        summary="Let a request in, and remember its sender if told so.",
        scope="owner",
        request=PairingApprove,
        response=PairingOutcome,
        pending=Pending,
        params=(ID,),
        statuses=_DECIDED,
        mutates=True,
    ),
    Endpoint(
        name="pairing.dismiss",
        method="POST",
        path=f"{_ONE}/dismiss",
        summary="Put a request aside; it is not shown again.",
        scope="owner",
        request=PairingDismiss,
        response=PairingOutcome,
        pending=Pending,
        params=(ID,),
        statuses=_DECIDED,
        mutates=True,
    ),
    Endpoint(
        name="pairing.policy",
        method="GET",
        path=f"{_ONE}/policy",
        summary="How requests of an instance are decided.",
        scope="owner",
        response=PairingPolicy,
        params=(ID,),
    ),
    Endpoint(
        name="pairing.set-policy",
        method="PUT",
        path=f"{_ONE}/policy",
        summary="Set how requests of an instance are decided.",
        scope="owner",
        request=PairingPolicySet,
        response=PairingPolicy,
        pending=Pending,
        params=(ID,),
        statuses=(200, 202, 409),
        mutates=True,
    ),
    Endpoint(
        name="pairing.history",
        method="GET",
        path=f"{_ONE}/history",
        summary="What was decided for an instance, by whom, newest first.",
        scope="owner",
        response=PairingHistory,
        params=(ID, LIMIT, AFTER),
    ),
    Endpoint(
        name="instance.secrets",
        method="GET",
        path=_SECRETS,
        summary="Which channel tokens and secrets are set; never a value.",
        scope="owner",
        response=SecretList,
        params=(ID,),
    ),
    Endpoint(
        name="instance.set-secrets",
        method="PATCH",
        path=_SECRETS,
        summary="Set or remove channel tokens and secrets; the machine learns of it when started.",
        scope="owner",
        request=SecretsPatch,
        response=SecretList,
        pending=Pending,
        params=(ID,),
        statuses=(200, 202, 409),
        body_bytes_max=INSTANCE_BODY_BYTES_MAX,
        mutates=True,
    ),
)
