"""What controller and observer both know: exit codes, names of files, and variables."""

from __future__ import annotations

from typing import Final

ALREADY_RUNS: Final = 3
"""Exit code where another observer holds the folder."""
UNUSABLE: Final = 4
"""Exit code where the folder, or the consent key that the settings name, cannot be used."""

UNCONFINED: Final = 5
"""Exit code where the kernel cannot confine the observer to the agent's files, and its own."""

GATE_FILE: Final = "gate.json"
"""In the observer's folder: the keys that it trusts, and the grant in force."""

REGISTRATION_FOLDER: Final = ".clawmetry"
REGISTRATION_FILE: Final = "config.json"
DASHBOARD_FILE: Final = "dashboard-url.txt"
"""In the home of the agent's user, as existing observers have them (compat/clawmetry-daemon.md)."""

WITHIN: Final = "HOLDFAST_OBSERVER_WITHIN"
"""Folders, separated by colons: no file outside of them is read, nor one behind a link in them."""

WORK: Final = "work "
"""How a line of the observer's output begins that is no log line, but an `ObserverWork`."""
