"""The definition of a kind of actor: its types, its fold, its rules, its views.

A subject (an instance, a town, an account's billing) gives the engine one `Definition`, a set of
pure functions, and gets mailbox, commit, alarms, dry run, replay and simulation for it. Nothing in
a definition may use a clock, randomness or I/O: that would break replay, and the simulator finds
it.

A state is one frozen value made of *entities*, named by text keys. A small actor is one entity,
`SELF`; a town has one for each bead and agent. The fold returns which it touched, and hashes,
invariants and views are computed for those alone, so the cost of a tick is that of the change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

from msgspec import Struct

from holdfast.kernel.ids import Address, EventId
from holdfast.kernel.outcome import Outcome

if TYPE_CHECKING:
    from holdfast.actors.record import Note

S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)
E = TypeVar("E")
A = TypeVar("A", bound="Action")
P = TypeVar("P")

SELF: Final = ""
"""The key of the only entity of an actor that has one."""


class At(NamedTuple):
    """The context of folding an event: the tick's time and number, and the event's id."""

    now_ms: int
    number: int
    event: EventId


class Applied(NamedTuple, Generic[S]):
    """The event changed the state; `touched` names the changed entities."""

    state: S
    touched: tuple[str, ...] = (SELF,)


class Ignored(NamedTuple):
    """The event is true but changes nothing: late, repeated, or of an older incarnation."""

    reason: str


class Refused(NamedTuple):
    """The event is not allowed; `code` is stable, `message` includes the fix."""

    code: str
    message: str


Declined: TypeAlias = "Ignored | Refused | None"
"""Why an event did not change a draft; None where it did."""

Verdict: TypeAlias = "Applied[S] | Ignored | Refused"


class Draft(Protocol[S_co]):
    """A state being changed in place by several events; the state it was made from stays.

    `touched` names the entities that were written, in order, and `writes` counts.
    """

    touched: dict[str, None]
    writes: int

    def close(self) -> S_co:
        """Return the state as it now is; the draft is not used after that."""
        ...


class Action(Protocol):
    """Something to do, fully specified: carrying it out decides nothing.

    `rule` names the rule that produced it and `reason` is a sentence. `expect` is what the rule
    saw (a status, an epoch, a version); the action is carried out only while that holds.
    `entity` is the key of the entity that it acts on.
    """

    @property
    def rule(self) -> str:
        """Return the name of the rule that produced it."""
        ...

    @property
    def reason(self) -> str:
        """Return the reason, as a sentence."""
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
    """A rule examined an entity and did nothing, for the reason `because`."""

    rule: str
    because: str
    entity: str = SELF


class Counted(NamedTuple):
    """How many entities a rule suppressed for one reason, where naming each would cost too much."""

    rule: str
    because: str
    entities: int


class Plan(NamedTuple, Generic[A]):
    """The result of the rules: actions in order, and what was suppressed with the reasons.

    A rule over a collection whose tick must not cost what waits in it gives `counted`; its
    definition then has `explain`, which names the reason of one entity.
    """

    actions: tuple[A, ...] = ()
    suppressed: tuple[Suppressed, ...] = ()
    counted: tuple[Counted, ...] = ()


class Claim(NamedTuple):
    """A name held by one actor at a time: `key` is unique within `scope`."""

    scope: str
    key: str


class Effect(Struct, frozen=True, kw_only=True):
    """A call to the outside, to be made after the commit.

    Effects of one `lane` run in order, those of different lanes concurrently; `provider` names
    the executor and bounds the concurrency. `body` is a tagged struct of the subject. `epoch` and
    `valid_until_ms` are checked again immediately before the call. With `supersedes`, effects
    still waiting in the lane are dropped.
    """

    lane: str
    provider: str
    body: Struct
    epoch: int
    valid_until_ms: int
    supersedes: bool = False


class Probe(Struct, frozen=True, kw_only=True):
    """A periodic query to another system, made every `period_ms`, and once at start-up.

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
    """The result of carrying out one action: intents, then effects and letters."""

    intents: tuple[Any, ...] = ()
    effects: tuple[Effect, ...] = ()
    letters: tuple[Letter, ...] = ()


class ViewRow(NamedTuple):
    """One row of a view: `body` is JSON, or None to delete the row."""

    view: str
    key: str
    account: str
    body: bytes | None


class Invariant(NamedTuple, Generic[S]):
    """A numbered statement about one entity; `check` returns what is wrong, or None.

    It is given what the definition's `look` returns for the entity's key, which is the key itself
    where a definition has none. It is about entities whose keys begin with `of`. Two may have one
    number, about other entities.
    """

    number: int
    statement: str
    check: Callable[[S, Any], str | None]
    of: str = ""


def broken(
    definition: Definition[S, Any, Any, Any], state: S, keys: Iterable[str]
) -> Iterator[tuple[int, str, str | Exception]]:
    """Yield (number, key, what is wrong) of these entities; an exception where a check raised.

    Keys that begin with the same two characters have the same invariants: `of` is no longer.
    """
    known: dict[str, list[tuple[int, Callable[[S, Any], str | None]]]] = {}
    for key in keys:
        about = known.get(key[:2])
        if about is None:
            about = known[key[:2]] = [
                (one.number, one.check) for one in definition.invariants if key.startswith(one.of)
            ]
        entity = definition.look(state, key) if about else None
        if entity is None:
            continue
        for number, check in about:
            try:
                wrong = check(state, entity)
            except Exception as error:  # noqa: BLE001  a broken check is itself a finding
                yield number, key, error
                continue
            if wrong is not None:
                yield number, key, wrong


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
    """An answer to a probe that differs from the one before."""

    key: str
    epoch: int
    outcome: Outcome[Any]


def same_key(_state: Any, key: str) -> Any:
    """Return the key: what the invariants are given of an entity that is not looked up."""
    return key


def no_entities(_state: Any) -> Iterable[str]:
    """Return the keys of an actor that is one entity."""
    return (SELF,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition(Generic[S, E, A, P]):
    """One kind of actor. Every callable is pure.

    `version` counts changes of its events and its state; a row with a greater one is never
    interpreted. `found` returns what an action's `expect` is compared with. `deadline` is the
    next time, in ms since the epoch, at which the rules may act without an event. `exists` is
    false before the first event and after the last: what exists must have a deadline or a probe.
    `wanted` is called immediately before an effect is carried out. `settle`, `probed`,
    `claim_lost`, `received` and `returned` make the subject's own events of outcomes, answers,
    lost claims and letters; `carried` returns the letter of an event made by `received`, so that
    an undeliverable one can go back. `found_at` locates it for another process: `module:NAME`.
    `explain` returns what the rules suppress of one entity, where the plan only counts it.
    `cadence` returns after how many ms an actor is looked at again though nothing happened and
    nothing is due, 0 for never; such a look that finds nothing writes nothing.
    `draft` opens a state for changes in place, which `fold` makes as `apply` does to a state: what
    has both costs a tick one new state and not one an event, and its `found` and `act` take a
    draft as well as a state.
    `look` returns what the invariants are given for a key; None where there is no such entity.
    `noticed` is given what the invariants found in the entities of a tick, at its end, and returns
    the subject's events of it: folded as intents of the same tick, which they must not prolong.
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
    look: Callable[[S, str], Any] = same_key
    cadence: Callable[[S, P], int] | None = None
    draft: Callable[[S], Draft[S]] | None = None
    fold: Callable[[Any, E, At], Declined] | None = None
    encode_effect: Callable[[Struct], bytes]
    decode_effect: Callable[[bytes], Struct]
    wanted: Callable[[S, EffectCall, int], bool]
    settle: Callable[[EffectCall, Outcome[Any]], E]
    probed: Callable[[ProbeAnswer], E] | None = None
    claim_lost: Callable[[Claim], E] | None = None
    received: Callable[[Address, Letter], E] | None = None
    carried: Callable[[E], Letter | None] | None = None
    returned: Callable[[Letter], E] | None = None
    explain: Callable[[S, P, int, str], tuple[Suppressed, ...]] | None = None
    noticed: Callable[[S, Sequence[Note]], tuple[E, ...]] | None = None
    encode_policy: Callable[[P], bytes]
    decode_policy: Callable[[bytes], P]
    found_at: str = ""
