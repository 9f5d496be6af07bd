"""The effects of an instance, their results, and the ports that carry them out.

Bodies of effects are complete: carrying one out needs no access to the state, so a replay shows
exactly what was requested. Secrets in them are sealed; they are opened at the moment of the call
and sealed again with the machine's key.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol, TypeAlias

import msgspec
from msgspec import Struct

from holdfast.instances.state import Step
from holdfast.letters.machine import LastContact
from holdfast.letters.spend import Spending


class Launch(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything a machine is launched with; `secrets` and `sealed_key` are sealed texts.

    `paths` says where the agent's configuration refers to a secret, by the secret's variable.
    """

    instance_id: str
    sandbox_id: str
    account: str
    epoch: int
    agent: str
    region: str = ""
    env: dict[str, str] = {}
    secrets: dict[str, str] = {}
    paths: dict[str, str] = {}
    sealed_key: str = ""
    key_hash: str = ""
    token_version: int = 1
    cpus: int = 1
    memory_mb: int = 1_024
    cpu_kind: Literal["shared", "performance"] = "shared"
    agent_version: str = ""
    agent_turn: int = 0
    model: str = ""
    volume_id: str = ""
    config_version: int = 0


class FindCall(Struct, frozen=True, tag="find", gc=False):
    """List the machines that carry this instance's labels."""

    serial: int
    instance_id: str
    sandbox_id: str


class VolumeCall(Struct, frozen=True, tag="volume", gc=False):
    """Look whether the known volume exists; with no id find it by name, else create it."""

    serial: int
    volume_id: str
    sandbox_id: str
    region: str


class CreateCall(Struct, frozen=True, tag="create"):
    """Create and launch a machine under its unique name, or adopt ours that has it."""

    serial: int
    launch: Launch


class UpdateCall(Struct, frozen=True, tag="update"):
    """Give the machine its present configuration and launch it under a new incarnation."""

    serial: int
    machine_id: str
    launch: Launch


class StartCall(Struct, frozen=True, tag="start", gc=False):
    """Start a machine that has its configuration already."""

    serial: int
    machine_id: str


class WaitCall(Struct, frozen=True, tag="wait", gc=False):
    """Wait at most `timeout_ms` until this incarnation is in `state`."""

    serial: int
    machine_id: str
    state: Literal["started", "stopped"]
    incarnation: str
    timeout_ms: int


class DescribeCall(Struct, frozen=True, tag="describe", gc=False):
    """Ask the cloud what became of the machine."""

    serial: int
    machine_id: str


class StopCall(Struct, frozen=True, tag="stop", gc=False):
    """Ask the machine to end, then kill it after `grace_ms`."""

    serial: int
    machine_id: str
    grace_ms: int


class DestroyCall(Struct, frozen=True, tag="destroy", gc=False):
    """Remove the machine."""

    serial: int
    machine_id: str


class DestroyVolumeCall(Struct, frozen=True, tag="destroy_volume", gc=False):
    """Remove the volume, known by id or found by the sandbox's own volume name."""

    serial: int
    volume_id: str
    sandbox_id: str


class MintCall(Struct, frozen=True, tag="mint", gc=False):
    """Make a new key for the instance, within `timeout_ms`."""

    serial: int
    instance_id: str
    account: str
    timeout_ms: int


class HandOverCall(Struct, frozen=True, tag="hand_over"):
    """Write the secrets of `launch` into the machine's configuration and to its controller.

    The key goes there only `with_key`, the tokens only `with_tokens`; those that they replace
    stay valid for `overlap_ms`.
    """

    serial: int
    machine_id: str
    launch: Launch
    overlap_ms: int
    with_key: bool = True
    with_tokens: bool = True


Body: TypeAlias = (
    FindCall
    | VolumeCall
    | CreateCall
    | UpdateCall
    | StartCall
    | WaitCall
    | DescribeCall
    | StopCall
    | DestroyCall
    | DestroyVolumeCall
    | MintCall
    | HandOverCall
)

encode_body = msgspec.json.Encoder(order="deterministic").encode
decode_body = msgspec.json.Decoder(Body).decode


def step_of(body: Body) -> Step:
    """Return the step that a body belongs to: its tag."""
    step: Step = type(body).__struct_config__.tag  # type: ignore[assignment]
    return step


class Seen(Struct, frozen=True, gc=False, omit_defaults=True):
    """A machine as the cloud describes it, without what changes by itself: usage and times."""

    id: str
    state: str
    region: str = ""
    incarnation: str = ""
    epoch: int = 0
    volume_id: str = ""


class Made(Struct, frozen=True, gc=False):
    """The answer of a create; `adopted` when a machine of ours held the name already."""

    machine: Seen
    adopted: bool = False


class Listed(Struct, frozen=True, gc=False):
    """The living machines of this instance, the best to take over first."""

    machines: tuple[Seen, ...] = ()


class VolumeFound(Struct, frozen=True, gc=False):
    """The volume as the cloud describes it."""

    id: str
    region: str = ""


class Minted(Struct, frozen=True, gc=False):
    """A key that was made: its hash, itself sealed, and its expiry in ms since the epoch."""

    key_hash: str
    sealed_key: str
    expires_ms: int


class HandedOver(Struct, frozen=True, gc=False):
    """Where secrets arrived; at least one of the two."""

    stored: bool
    pushed: bool


class Destroyed(Struct, frozen=True, gc=False):
    """It is gone: removed now, or not there before."""


class Context(NamedTuple):
    """What a secret is bound to, so that a sealed text cannot be moved to another place."""

    account: str
    instance_id: str
    name: str


class UnsealError(Exception):
    """A sealed text does not open: wrong key, wrong place, or damaged. It names no content."""


class Sealer(Protocol):
    """Seals texts with the plane's key ring; opening needs the same context."""

    def seal(self, text: str, context: Context) -> str:
        """Return `text` sealed under the newest key."""
        ...

    def open(self, sealed: str, context: Context) -> str:
        """Return the text; raise UnsealError when it does not open."""
        ...

    def env_key(self, instance_id: str) -> bytes:
        """Return the 32-byte key with which this instance's machine opens `enc:v1:` values."""
        ...

    def seal_env(self, text: str, key: bytes) -> str:
        """Return `enc:v1:` and base64 of nonce, ciphertext and tag, as a controller reads it."""
        ...


class KeyMint(Protocol):
    """The source of machine keys: this plane itself, or an external issuer."""

    async def mint(self, instance_id: str, account: str) -> tuple[str, int]:
        """Return a new key and its expiry in ms since the epoch; it may be cancelled."""
        ...


class Secrets(NamedTuple):
    """What is handed to a controller, empty where nothing is new; never to be logged or stored."""

    api_key: str = ""
    gateway_token: str = ""
    proxy_token: str = ""

    def __repr__(self) -> str:
        """Return a form without the texts."""
        return "Secrets([hidden])"


class Holders(Protocol):
    """The controllers that run, as holders of secrets."""

    async def tell(self, instance_id: str, secrets: Secrets, *, overlap_ms: int) -> str:
        """Hand secrets to an instance's controller; return why it did not take them, or nothing."""
        ...


class Agents(Protocol):
    """The agents that can run on this host, and their versions."""

    def names(self) -> frozenset[str]:
        """Return the agents that can run."""
        ...

    def versions(self, agent: str) -> list[str]:
        """Return the installed versions of an agent, the newest last; none for bundled ones."""
        ...

    def default(self, agent: str) -> str:
        """Return the version that new instances get, or an empty string."""
        ...

    def find(self, agent: str, asked: str) -> str | None:
        """Return the installed version that a person means; None where there is none."""
        ...


class Contacts(Protocol):
    """The last contact of machines, which is not in any event log."""

    def contact(self, instance: str, /) -> LastContact | None:
        """Return what is known of an instance's machine from its check-ins, or None."""
        ...


class Spendings(Protocol):
    """What agents used, by the counters of their nodes."""

    async def spending(self, account: str, instance: str) -> Spending | None:
        """Return what an instance used today and this month; None where no node of it is known."""
        ...


class LogChunk(NamedTuple):
    """Lines of a machine's output, oldest first."""

    lines: tuple[str, ...]
    note: str = ""


class Logs(Protocol):
    """Where the newest output of a machine is read."""

    async def tail(self, provider: str, machine_id: str, *, lines: int) -> LogChunk:
        """Return the newest lines; the note says why there are none."""
        ...
