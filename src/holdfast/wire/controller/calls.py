"""What a controller's answer to the plane means: read with its schema, or an error with a class.

A controller that is too old says so by the code `controller_route_unavailable`, or by a 404 that
carries no code: the agent behind an old one answers that. A bare 401 is no sign of age but of a
token that went wrong, and an answer that breaks its schema is never taken for an empty one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, Protocol, TypeAlias

import msgspec

from holdfast.wire import parsers
from holdfast.wire.api.call import Refusal
from holdfast.wire.controller.endpoint import A, B, ControllerEndpoint
from holdfast.wire.limits import REASON_MAX, TEXT_MAX

ROUTE_UNAVAILABLE: Final = "controller_route_unavailable"
TIMEOUT_MS: Final = 30_000
"""How long one call may take unless it says otherwise (compat/controller.md)."""

Trouble: TypeAlias = Literal[
    "not_running", "unreachable", "timeout", "too_old", "refused", "unauthorised", "broken"
]

_OK: Final = range(200, 300)
_ANY: Final = msgspec.json.Decoder()
TOO_MANY_WRONG_PROOFS: Final = "too_many_wrong_proofs"
"""The code of 429 for a wrong token of a caller that showed too many."""

_UNAUTHORISED: Final = frozenset({401, 403})
_NOT_FOUND: Final = 404
_FAILED: Final = 500
_NOT_READY: Final = 503


class ControllerError(Exception):
    """A controller could not be asked, or did not do what it was asked.

    `status` is its answer's, 0 when there was none; `code` is stable; `message` is for people and
    holds no secret. `facts` is whatever else the answer's body held. `arrived` is False only when
    the request was certainly not sent, so that nothing can have come of it.
    """

    def __init__(
        self,
        trouble: Trouble,
        message: str,
        *,
        status: int = 0,
        code: str = "",
        facts: Mapping[str, Any] | None = None,
        arrived: bool = True,
    ) -> None:
        """Fail for this reason."""
        super().__init__(f"{trouble}: {message}")
        self.trouble: Trouble = trouble
        self.message = message
        self.status = status
        self.code = code
        self.facts: Mapping[str, Any] = facts or {}
        self.arrived = arrived


def understand(status: int, body: bytes, answer: type[A]) -> A:
    """Return a controller's answer in its declared type; raise ControllerError."""
    if status not in _OK:
        raise _error(status, body)
    try:
        return parsers.from_json(msgspec.json.Decoder(answer), body or b"{}")
    except msgspec.DecodeError as error:
        # The text of the error names a path and a type, never a value.
        message = f"The controller's answer cannot be understood: {error}"
        raise ControllerError("broken", message[:REASON_MAX], status=status) from error


def _error(status: int, body: bytes) -> ControllerError:
    said = _object(body)
    code = str(said.pop("code", ""))[:TEXT_MAX]
    text = said.pop("error", "") or said.pop("message", "") or f"It answered {status}"
    message = str(text)[:REASON_MAX]
    if code == ROUTE_UNAVAILABLE or (status == _NOT_FOUND and not code):
        return ControllerError("too_old", message, status=status, code=code)
    if status in _UNAUTHORISED or code == TOO_MANY_WRONG_PROOFS:
        return ControllerError("unauthorised", message, status=status, code=code)
    return ControllerError("refused", message, status=status, code=code, facts=said)


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = parsers.from_json(_ANY, body)
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def refusal_of(error: ControllerError) -> Refusal:
    """Return how the plane answers when a controller could not do what was asked."""
    match error.trouble:
        case "not_running":
            fix = "Start the instance."
            return Refusal(503, "instance_not_running", error.message, fix=fix)
        case "unreachable":
            fix = "Look whether its machine is running; try again."
            return Refusal(503, "controller_unreachable", error.message, fix=fix, retry_after_s=5)
        case "timeout":
            return Refusal(504, "controller_timeout", error.message, fix="Try again.")
        case "too_old":
            text = "The controller in this machine is too old for this."
            fix = "Restart the instance, which gives it this plane's controller."
            return Refusal(409, "controller_too_old", text, fix=fix)
        case "unauthorised":
            text = "The controller does not take this plane's token."
            fix = "Restart the instance, which gives it the present token."
            return Refusal(502, "controller_unauthorised", text, fix=fix)
        case "broken":
            return Refusal(502, "controller_answer_broken", error.message)
        case "refused":
            return _passed_on(error)


def _passed_on(error: ControllerError) -> Refusal:
    """Return a controller's own refusal; what failed inside it is not the caller's fault."""
    code = error.code or "controller_refused"
    if error.status == _NOT_READY:
        return Refusal(503, code, error.message, retry_after_s=5)
    if error.status >= _FAILED:
        return Refusal(502, code, error.message)
    return Refusal(error.status, code, error.message, field=str(error.facts.get("field", "")))


class Controllers(Protocol):
    """The controllers of instances' machines, asked over the wire.

    Both calls raise ControllerError, whose `trouble` says what went wrong.
    """

    async def call(
        self,
        instance_id: str,
        endpoint: ControllerEndpoint[B, A],
        *,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        body: B | None = None,
        timeout_ms: int = TIMEOUT_MS,
    ) -> A:
        """Return the answer in its type; one that breaks it is an error, never an empty one."""
        ...

    async def capabilities(self, instance_id: str) -> frozenset[str]:
        """Return what the controller announces, remembered for a while; empty for an old one."""
        ...
