"""The state of a tick in progress: events are applied to it one by one, each wholly or not at all.

A definition without drafts gives a new state for each event. One with drafts has a single draft
open from one look at the state to the next. A draft that an event left half written is thrown
away, and the events before that are applied to a new one: what they did is repeated, not undone.
"""

from __future__ import annotations

from itertools import islice
from typing import Any, Generic, TypeAlias, TypeVar

from holdfast.actors.definition import Applied, At, Declined, Definition, Draft

S = TypeVar("S")
E = TypeVar("E")


Mark: TypeAlias = tuple[int, int, Any]
"""A moment to come back to: events applied, writes made, and the state if no draft was open."""


class Working(Generic[S, E]):
    """A state with what was touched of it since it was given."""

    __slots__ = ("_definition", "_draft", "_since", "_state", "touched")

    def __init__(self, definition: Definition[S, E, Any, Any], state: S) -> None:
        self._definition = definition
        self._state = state
        self._draft: Draft[S] | None = None
        self._since: list[tuple[E, At]] = []
        self.touched: dict[str, None] = {}

    @property
    def state(self) -> S:
        """Return the state as it now is."""
        if self._draft is not None:
            self.touched.update(self._draft.touched)
            self._state = self._draft.close()
            self._draft = None
            self._since.clear()
        return self._state

    @property
    def look(self) -> Any:
        """Return what `found` and `act` read: the draft while one is open, else the state."""
        return self._state if self._draft is None else self._draft

    def apply(self, event: E, at: At) -> Declined:
        """Apply an event; return why not, or None.

        After one that raises or is not applied, go back to a mark made before it.
        """
        definition = self._definition
        if definition.draft is None or definition.fold is None:
            verdict = definition.apply(self._state, event, at)
            if not isinstance(verdict, Applied):
                return verdict
            self._state = verdict.state
            self.touched.update(dict.fromkeys(verdict.touched))
            return None
        if self._draft is None:
            self._draft = definition.draft(self._state)
        declined = definition.fold(self._draft, event, at)
        if declined is None:
            self._since.append((event, at))
        return declined

    def mark(self) -> Mark:
        """Return this moment."""
        if self._draft is None:
            return 0, len(self.touched), self._state
        return len(self._since), self._draft.writes, None

    def back_to(self, mark: Mark) -> None:
        """Undo what was written since a mark; `state` was not read meanwhile."""
        draft, definition = self._draft, self._definition
        applied, written, state = mark
        if draft is None:
            self._state = state
            self.touched = dict(islice(self.touched.items(), written))
            return
        if draft.writes == (0 if state is not None else written):
            del self._since[applied:]
            return
        assert definition.draft is not None
        assert definition.fold is not None
        self._draft = definition.draft(self._state)
        again, self._since = self._since[:applied], []
        for event, at in again:
            definition.fold(self._draft, event, at)
        # Closed, so that the next one that is half written repeats only what came after this.
        assert self.state is self._state
