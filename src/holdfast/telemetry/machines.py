"""The facts of every living machine, in memory: the implementation of the port `Machines`.

The plane fills it from committed view rows at start-up and again after each commit that changes
one, so a lookup costs no disk and is at most one commit old. It never decides anything, and what
is not in it does not exist. Pure.
"""

from __future__ import annotations

from holdfast.letters.machine import MachineFacts
from holdfast.telemetry.ports import Watched


class MachineIndex:
    """All facts by sandbox id and by instance, and the listeners of changes."""

    def __init__(self) -> None:
        """Begin empty."""
        self._by_sandbox: dict[str, MachineFacts] = {}
        self._by_instance: dict[str, MachineFacts] = {}
        self._listeners: list[Watched] = []

    def __len__(self) -> int:
        """Return how many machines are known."""
        return len(self._by_sandbox)

    def everyone(self) -> tuple[MachineFacts, ...]:
        """Return all facts, in the order in which the machines became known."""
        return tuple(self._by_instance.values())

    def lookup(self, sandbox: str) -> MachineFacts | None:
        """Return the facts of a machine, or None."""
        return self._by_sandbox.get(sandbox)

    def of_instance(self, instance: str) -> MachineFacts | None:
        """Return the facts of an instance's machine, or None."""
        return self._by_instance.get(instance)

    def listen(self, listener: Watched) -> None:
        """Call `listener` at each change from now on."""
        self._listeners.append(listener)

    def put(self, facts: MachineFacts) -> None:
        """Store new facts and call the listeners, unless they are the same as before."""
        before = self._by_instance.get(facts.instance)
        if before == facts:
            return
        if before is not None and before.sandbox != facts.sandbox:
            self._by_sandbox.pop(before.sandbox, None)
        self._by_instance[facts.instance] = facts
        self._by_sandbox[facts.sandbox] = facts
        for listener in self._listeners:
            listener.machine_changed(facts)

    def remove(self, instance: str) -> None:
        """Forget the machine of an instance; one that is not known is no error."""
        facts = self._by_instance.pop(instance, None)
        if facts is None:
            return
        self._by_sandbox.pop(facts.sandbox, None)
        for listener in self._listeners:
            listener.machine_gone(facts)
