"""Names of signals."""

from __future__ import annotations

import signal


def signal_name(number: int) -> str:
    """Return the name of a signal, such as SIGTERM; SIG and its number where it has none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"
