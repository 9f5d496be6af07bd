"""What makes a kind of actor: its types, its fold, its rules, and what it shows.

The engine knows no domain word. A subject (an instance, a town, an account's billing) hands it
one `Definition`, a bundle of pure functions, and gets the mailbox, the commit, the alarms, the
dry run, the replay and the simulation for it. Nothing in a definition may touch a clock, chance
or the world; a function that does breaks replay, and the simulator finds it.

A state is one frozen value made of *entities*, named by text keys. A small actor is one entity,
`SELF`; a town has one for each bead and agent. The fold says which it touched, and hashes,
invariants and views are computed for those alone, so that a tick costs what changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

from msgspec import Struct

from holdfast.kernel.ids import Address, EventId
from holdfast.kernel.outcome import Outcome

S = TypeVar("S")
E = TypeVar("E")
A = TypeVar("A", bound="Action")
P = TypeVar("P")

SELF: Final = ""
"""The key of the only entity of an actor that has one."""


class At(NamedTuple):
    """When and as what an event is folded: the tick's time and number, and the event's id."""

    now_ms: int
    number: int
    event: EventId


class Applied(NamedTuple, Generic[S]):
    """The event changed the state; `touched` names the entities that are not as they were."""

    state: S
    touched: tuple[str, ...] = (SELF,)


class Ignored(NamedTuple):
    """The event is true but changes nothing: late, repeated, or of an older incarnation."""

    reason: str


class Refused(NamedTuple):
    """The event asked for something that may not be; `code` is stable, `message` says the fix."""

    code: str
    message: str


Verdict: TypeAlias = "Applied[S] | Ignored | Refused"


class Action(Protocol):
    """Something to do, so specific that carrying it out leaves no choice.

    `rule` names the rule that wants it and `reason` says why in words. `expect` is what the rule
    saw (a status, an epoch, a version); the action is not carried out unless it is still so.
    `entity` is the key of the entity that it acts on.
    """

    @property
    def rule(self) -> str:
        """Return the name of the rule that wants it."""
        ...

    @property
    def reason(self) -> str:
        """Return why, in words."""
        ...

    @property
    def expect(self) -> Any:
        """Return what the rule saw, to be compared with what `found` returns."""
        ...

    @property
    def entity(self) -> str:
        """Return the key of the entity that it acts on."""
        ...


class Suppressed(NamedTuple):
    """A rule looked at an entity and did nothing, because."""

    rule: str
    because: str
    entity: str = SELF


class Plan(NamedTuple, Generic[A]):
    """What the rules want: actions in order, and what they left undone with the reasons."""

    actions: tuple[A, ...] = ()
    suppressed: tuple[Suppressed, ...] = ()


class Claim(NamedTuple):
    """A name that one actor at a time may hold: `key` is unique within `scope`."""

    scope: str
    key: str


class Effect(Struct, frozen=True, kw_only=True):
    """A call to the outside, to be made after the commit.

    Effects of one `lane` are made in order, those of different lanes side by side; `provider`
    names who carries it out and bounds how many run at once. `body` is a tagged struct of the
    subject. `epoch` and `valid_until_ms` are looked at again immediately before the call.
    With `supersedes`, what still waits in the lane is dropped.
    """

    lane: str
    provider: str
    body: Struct
    epoch: int
    valid_until_ms: int
    supersedes: bool = False


class Probe(Struct, frozen=True, kw_only=True):
    """A standing question to the outside, asked every `period_ms`, and once at start-up.

    It makes an event only when the answer differs from the last one that did.
    """

    key: str
    provider: str
    body: Struct
    period_ms: int
    epoch: int


class Letter(Struct, frozen=True, kw_only=True):
    """A message to another actor; `body` is a tagged struct of the package `letters`."""

    to: Address
    body: Struct
    hops: int = 0


class Work(Struct, frozen=True, kw_only=True):
    """What carrying out one action comes to: events first, then calls and letters."""

    intents: tuple[Any, ...] = ()
    effects: tuple[Effect, ...] = ()
    letters: tuple[Letter, ...] = ()


class ViewRow(NamedTuple):
    """One row that people read: `body` is JSON, or None where the row is gone."""

    view: str
    key: str
    account: str
    body: bytes | None


class Invariant(NamedTuple, Generic[S]):
    """A numbered statement about one entity; `check` returns what is wrong, or None."""

    number: int
    statement: str
    check: Callable[[S, str], str | None]


class EffectCall(NamedTuple):
    """An effect as its executor gets it; `key` is the idempotency key to send along."""

    id: str
    actor: Address
    lane: str
    provider: str
    body: Any
    epoch: int
    valid_until_ms: int
    key: str
    attempt: int = 1


class ProbeAnswer(NamedTuple):
    """What a probe was told, when it is not what it was told before."""

    key: str
    epoch: int
    outcome: Outcome[Any]


def no_entities(_state: Any) -> Iterable[str]:
    """Return the keys of an actor that is one entity."""
    return (SELF,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition(Generic[S, E, A, P]):
    """One kind of actor. Every callable is pure.

    `version` counts changes of its events and its state; a row with a greater one is never
    interpreted. `found` returns what an action's `expect` is compared with. `deadline` is the
    next moment at which the rules may want something without any event, in ms since the epoch.
    `exists` is false before the first event and after the last: what exists must have a deadline
    or a probe. `wanted` is asked immediately before an effect is carried out. `settle`, `probed`,
    `claim_lost`, `received` and `returned` turn what the engine has to say into the subject's own
    events; `carried` returns the letter that an event was made from by `received`, so that one to
    nobody can go back to its sender. `found_at` is where another process finds it: `module:NAME`.
    """

    kind: str
    version: int
    empty: Callable[[str], S]
    encode_state: Callable[[S], bytes]
    decode_state: Callable[[bytes, int], S]
    encode_event: Callable[[E], bytes]
    decode_event: Callable[[bytes, int], E]
    apply: Callable[[S, E, At], Verdict[S]]
    reconcile: Callable[[S, P, int, int], Plan[A]]
    found: Callable[[S, A], Any]
    act: Callable[[S, A, P, At], Work]
    deadline: Callable[[S, P, int], int | None]
    exists: Callable[[S], bool]
    account: Callable[[S], str]
    views: Callable[[S | None, S, Iterable[str]], Iterable[ViewRow]]
    entity: Callable[[S, str], bytes | None]
    entities: Callable[[S], Iterable[str]] = no_entities
    claims: Callable[[S], frozenset[Claim]] = field(default=lambda _state: frozenset())
    probes: Callable[[S, P], tuple[Probe, ...]] = field(default=lambda _state, _policy: ())
    invariants: tuple[Invariant[S], ...] = ()
    encode_effect: Callable[[Struct], bytes]
    decode_effect: Callable[[bytes], Struct]
    wanted: Callable[[S, EffectCall, int], bool]
    settle: Callable[[EffectCall, Outcome[Any]], E]
    probed: Callable[[ProbeAnswer], E] | None = None
    claim_lost: Callable[[Claim], E] | None = None
    received: Callable[[Address, Letter], E] | None = None
    carried: Callable[[E], Letter | None] | None = None
    returned: Callable[[Letter], E] | None = None
    encode_policy: Callable[[P], bytes]
    decode_policy: Callable[[bytes], P]
    found_at: str = ""
