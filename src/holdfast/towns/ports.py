"""Ports of a town: bodies and answers of effects and probes, and who carries them out.

Every call carries the epoch or number of what asked for it and may arrive twice, so each is
idempotent: a host starts an attempt once, a forge lands a commit that is in its target already by
saying so.
"""

from __future__ import annotations

from typing import Final, Protocol, TypeAlias

import msgspec
from msgspec import Struct

from holdfast.kernel.outcome import Outcome
from holdfast.towns.events import GateResult
from holdfast.towns.state import PullRequest, Role, Severity


class StartCall(Struct, frozen=True, kw_only=True, tag="start", gc=False):
    """Start an agent on a bead; `content` is the id of the bead's text, `branch` where to work.

    `epoch` numbers the attempts of an agent, so that a stop up to it covers this one too.
    """

    agent: str
    attempt: str
    role: Role
    rig: str
    bead: str
    content: str = ""
    branch: str = ""
    target: str = ""
    host: str = ""
    epoch: int = 0


class StopCall(Struct, frozen=True, kw_only=True, tag="stop", gc=False):
    """Stop what runs of an agent's attempts up to its epoch."""

    agent: str
    epoch: int
    host: str = ""


class NudgeCall(Struct, frozen=True, kw_only=True, tag="nudge", gc=False):
    """Poke an agent's present attempt."""

    nudge: str
    agent: str
    attempt: str
    level: int
    content: str = ""
    host: str = ""


class MailCall(Struct, frozen=True, kw_only=True, tag="mail", gc=False):
    """Deliver a message to an agent's present attempt."""

    message: str
    agent: str
    attempt: str
    content: str = ""
    host: str = ""


class GatesCall(Struct, frozen=True, kw_only=True, tag="gates", gc=False):
    """Run the gates of a rig on a branch, merged into its target for the trial."""

    mr: str
    call: int
    rig: str
    branch: str
    target: str
    commit: str
    gates: tuple[str, ...]


class LandCall(Struct, frozen=True, kw_only=True, tag="land", gc=False):
    """Merge a branch at the commit whose gates were green; say so where it is merged already."""

    mr: str
    call: int
    rig: str
    branch: str
    target: str
    commit: str


class MergeCall(Struct, frozen=True, kw_only=True, tag="merge", gc=False):
    """Merge a pull request; of one that an agent named, `branch` and `target` are to be its own."""

    mr: str
    call: int
    rig: str
    pr_url: str
    branch: str = ""
    target: str = ""


class PollCall(Struct, frozen=True, kw_only=True, tag="poll", gc=False):
    """Describe a pull request, as for a merge: the body of a probe."""

    mr: str
    rig: str
    pr_url: str
    branch: str = ""
    target: str = ""


class NoticeCall(Struct, frozen=True, kw_only=True, tag="notice", gc=False):
    """Tell the mayor and the owner: `code` says what, `about` the entity."""

    code: str
    about: str = ""
    severity: Severity = "medium"


Body: TypeAlias = (
    StartCall
    | StopCall
    | NudgeCall
    | MailCall
    | GatesCall
    | LandCall
    | MergeCall
    | PollCall
    | NoticeCall
)

encode_body = msgspec.json.Encoder().encode
decode_body = msgspec.json.Decoder(Body).decode


class Begun(Struct, frozen=True, gc=False):
    """An attempt was started, or runs already."""


class Ended(Struct, frozen=True, gc=False):
    """Nothing runs any more of what was to be stopped."""


class Delivered(Struct, frozen=True, gc=False):
    """A nudge, message or notice arrived."""


class GatesRan(Struct, frozen=True, kw_only=True, gc=False):
    """The gates ran on `commit`; all results, in their order."""

    commit: str
    results: tuple[GateResult, ...] = ()


class Merged(Struct, frozen=True, gc=False):
    """It is in its target, by `commit`."""

    commit: str = ""


CHARGED: Final = frozenset({"rig_gone", "rig_locked", "bad_bead"})
"""Codes of a Permanent failure to start that are the bead's or rig's fault and not the host's."""
MOVED: Final = "moved"
CONFLICT: Final = "conflict"


class Unreadable(Struct, frozen=True, kw_only=True, gc=False):
    """A forge does not describe a pull request; `lasting`: it will not later either."""

    code: str
    lasting: bool = False


class Hosts(Protocol):
    """Where agents of towns run."""

    async def start(self, town: str, call: StartCall) -> Outcome[Begun]:
        """Start an attempt once, whatever was asked before."""
        ...

    async def stop(self, town: str, call: StopCall) -> Outcome[Ended]:
        """Stop an agent's attempts up to an epoch; what does not run is stopped."""
        ...

    async def nudge(self, town: str, call: NudgeCall) -> Outcome[Delivered]:
        """Poke a running attempt; Permanent when it does not run."""
        ...

    async def mail(self, town: str, call: MailCall) -> Outcome[Delivered]:
        """Deliver a message to a running attempt."""
        ...


class Forges(Protocol):
    """Where branches are checked, merged and reviewed."""

    async def gates(self, town: str, call: GatesCall) -> Outcome[GatesRan]:
        """Run gates; a red gate is an answer, not a failure."""
        ...

    async def land(self, town: str, call: LandCall) -> Outcome[Merged]:
        """Land a commit once; Permanent `moved` or `conflict` when it does not fit any more."""
        ...

    async def merge(self, town: str, call: MergeCall) -> Outcome[Merged]:
        """Merge a pull request once."""
        ...

    async def poll(self, town: str, call: PollCall) -> Outcome[PullRequest | Unreadable]:
        """Describe a pull request; a failure is not recorded, so what lasts is Unreadable."""
        ...


class Sealer(Protocol):
    """What seals credentials of rigs, so that only this plane opens them."""

    def seal(self, town: str, rig: str, token: str) -> str:
        """Return a credential sealed for this rig of this town."""
        ...


class Notices(Protocol):
    """Who tells the mayor and the owner."""

    async def notice(self, town: str, call: NoticeCall) -> Outcome[Delivered]:
        """Pass a notice on."""
        ...
