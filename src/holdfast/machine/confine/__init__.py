"""Confining what the controller runs: the agent and its command lines, not the controller.

Bubblewrap shows a program a file system of its own and no other processes; Landlock refuses it
files, ports, signals and abstract Unix sockets that are not on its list. Both together where the
host offers both, either alone where it offers one. `python -I -m holdfast.machine.confine --probe`
prints which, as one JSON object. It must never run a program with less than it said it would.
"""

from holdfast.machine.confine.probing import Kind, Probe, probe

__all__ = ["Kind", "Probe", "probe"]
