"""Routing of letters: to their receiver, or back to their sender.

Pure. A letter is a row of the sender's commit and becomes an event of the receiver's kind, made by
the receiver's definition. It comes back when the kind is unknown or takes no letters, after too
many hops, and when the receiver does not exist. The latter shows only in the receiver's own tick:
the letter goes back in the commit of its refusal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from holdfast.actors.definition import Letter
from holdfast.actors.kinds import Kinds
from holdfast.actors.limits import LETTER_HOPS_MAX, REASON_CHARS_MAX
from holdfast.actors.ports import LetterRow, Pending
from holdfast.actors.tick import Tick
from holdfast.kernel.failure import brief
from holdfast.kernel.ids import Address, parse_address


class Lost(NamedTuple):
    """A letter that could neither be delivered nor returned; it is logged as an error."""

    sender: str
    to: str
    why: str


class LetterBox(NamedTuple):
    """The letters of a commit; `undeliverable` counts those that go back."""

    rows: tuple[LetterRow, ...] = ()
    lost: tuple[Lost, ...] = ()
    undeliverable: tuple[str, ...] = ()


def sort_letters(kinds: Kinds, tick: Tick[Any], taken: Sequence[Pending]) -> LetterBox:
    """Return the rows of a tick's letters and of the letters that it sends back."""
    if not tick.letters and all(row.source != "letter" for row in taken):
        return LetterBox()
    here, number = tick.after.address, tick.after.number
    rows: list[LetterRow] = []
    lost: list[Lost] = []
    returned: list[str] = []
    for index, letter in enumerate(tick.letters):
        sent = deliver(kinds, here, letter, f"letter:{here}:{number}:{index}")
        if isinstance(sent, LetterRow):
            rows.append(sent)
            continue
        returned.append(f"{letter.to}: {sent}")
        back = give_back(kinds, here, letter, f"returned:{number}:{index}")
        if isinstance(back, LetterRow):
            rows.append(back)
        else:
            lost.append(Lost(str(here), str(letter.to), f"{sent}; {back}"))
    for row in nobody_took(kinds, tick, taken):
        returned.append(f"{here}: nobody is there")
        back = _back_from_here(kinds, here, row)
        if isinstance(back, LetterRow):
            rows.append(back)
        else:
            lost.append(Lost(row.by, str(here), back))
    return LetterBox(tuple(rows), tuple(lost), tuple(returned))


def deliver(kinds: Kinds, sender: Address, letter: Letter, dedupe: str) -> LetterRow | str:
    """Return the row that delivers a letter, or why there is none."""
    if letter.hops > LETTER_HOPS_MAX:
        return f"hops {letter.hops}: it was handed on more than {LETTER_HOPS_MAX} times"
    kind = kinds.get(letter.to.kind)
    if kind is None:
        return f"kind {letter.to.kind!r} is not known here"
    definition = kind.definition
    if definition.received is None:
        return f"kind {letter.to.kind!r} takes no letters"
    try:
        body = definition.encode_event(definition.received(sender, letter))
    except Exception as error:  # noqa: BLE001  the letter goes back with the error
        return brief(error)[:REASON_CHARS_MAX]
    return LetterRow(
        to=letter.to, body=body, dedupe=dedupe, version=definition.version, hops=letter.hops
    )


def give_back(kinds: Kinds, sender: Address, letter: Letter, dedupe: str) -> LetterRow | str:
    """Return the row that returns a letter to its sender, or why there is none."""
    kind = kinds.get(sender.kind)
    if kind is None or kind.definition.returned is None:
        return f"kind {sender.kind!r} takes no letter back"
    definition = kind.definition
    try:
        body = definition.encode_event(kind.definition.returned(letter))
    except Exception as error:  # noqa: BLE001  it is logged as lost, with what was wrong
        return brief(error)[:REASON_CHARS_MAX]
    return LetterRow(
        to=sender, body=body, dedupe=dedupe, version=definition.version, hops=letter.hops
    )


def nobody_took(kinds: Kinds, tick: Tick[Any], taken: Sequence[Pending]) -> list[Pending]:
    """Return the letters that a tick refused because the actor does not exist."""
    refused = {stamp.id for stamp in tick.stamps if stamp.outcome == "refused"}
    letters = [row for row in taken if row.source == "letter" and row.id in refused]
    if not letters or kinds[tick.after.address.kind].definition.exists(tick.after.state):
        return []
    return letters


def _back_from_here(kinds: Kinds, here: Address, row: Pending) -> LetterRow | str:
    """Return the row that returns a refused letter to its sender."""
    definition = kinds[here.kind].definition
    if definition.carried is None:
        return f"kind {here.kind!r} does not tell what letter an event carried"
    try:
        sender = parse_address(row.by)
        letter = definition.carried(definition.decode_event(row.body, row.version))
    except Exception as error:  # noqa: BLE001  it is logged as lost, with what was wrong
        return brief(error)[:REASON_CHARS_MAX]
    if letter is None:
        return f"event {row.id} says that it carried none"
    return give_back(kinds, sender, letter, f"returned:{row.id}")
