"""What clouds share about a specification: what none can run, and names of its variables."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeAlias

from holdfast.kernel.outcome import Failure, Permanent
from holdfast.kernel.secret import Secret
from holdfast.world.clouds.port import INVALID, MachineSpec

EnvKeys: TypeAlias = Callable[[MachineSpec], Secret | None]
"""Returns the key that opens a machine's sealed values; None if there is none."""

SEALED_PREFIX: Final = "HOLDFAST_ENC_"
KEY_NAME: Final = "HOLDFAST_ENV_KEY"
SEAL: Final = "enc:v1:"
CARRIED_PREFIX: Final = "HOLDFAST_AGENT_ENV_"
"""Prefix of a variable for the agent alone; the controller removes it."""

_LOADS_CODE: Final = re.compile(r"LD_.*|OPENSSL_.*|GCONV_PATH|LOCPATH|GLIBC_TUNABLES|MALLOC_.*")
"""Variables that change which code a program loads, or how its libraries work.

An owner may set them for an agent, which is confined; the controller, which is not, must not be
started with them. Python's own are ignored by it: it is run isolated.
"""

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,63}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_TAKEN_PREFIXES: Final = (
    "HOLDFAST_ENC_",
    "HOLDFAST_ENV_",
    CARRIED_PREFIX,
    "KILOCLAW_ENC_",
    "KILOCLAW_ENV_",
)


class DeclinedError(Exception):
    """A typed failure on its way to the caller, from code many calls deep; none leaves a cloud."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.code}: {failure.message}")
        self.failure = failure


def no_keys(spec: MachineSpec) -> Secret | None:
    """Return no key: for machines without sealed values."""
    del spec
    return None


def refusal(spec: MachineSpec) -> Permanent | None:
    """Return why no machine can have this name or these variables; None if one can."""
    if not _NAME.fullmatch(spec.name):
        text = f"name {spec.name!r}: want 1 to 63 letters, digits, hyphens or underscores"
        return Permanent(INVALID, text)
    for name, value in {**spec.env, **spec.sealed}.items():
        if not _VARIABLE.fullmatch(name) or name.startswith(_TAKEN_PREFIXES):
            text = f"env {name!r}: not a variable's name, or one that is reserved"
            return Permanent(INVALID, text)
        if "\0" in value:
            text = f"env {name}: the value holds a NUL, which no environment can carry"
            return Permanent(INVALID, text)
    for name, value in spec.sealed.items():
        if not value.startswith(SEAL):
            text = f"sealed {name}: want a value sealed as {SEAL}..., not plain text"
            return Permanent(INVALID, text)
    return None


def check_spec(spec: MachineSpec) -> None:
    """Decline what `refusal` refuses."""
    refused = refusal(spec)
    if refused is not None:
        raise DeclinedError(refused)


def carried(name: str) -> str:
    """Return the name under which an owner's variable is passed to the controller."""
    return f"{CARRIED_PREFIX}{name}" if _LOADS_CODE.fullmatch(name) else name
