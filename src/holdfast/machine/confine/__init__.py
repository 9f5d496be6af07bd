"""Confines what the controller runs: the agent and its command lines, not itself.

Bubblewrap gives a program its own file system view and process namespace; Landlock refuses files,
ports, signals and abstract Unix sockets that are not listed. Both are used where the host supports
both, else either. `python -I -m holdfast.machine.confine --probe` prints which, as one JSON object.
A program must never run with less confinement than was announced.
"""

from holdfast.machine.confine.probing import Kind, Probe, probe

__all__ = ["Kind", "Probe", "probe"]
