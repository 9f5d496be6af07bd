"""The limits of what is kept and taken of an agent's configuration, by name."""

from __future__ import annotations

from typing import Final

CONFIG_BYTES_MAX: Final = 1_048_576
"""A configuration's text; a real one takes less than 100 KiB."""

CONFIG_DEPTH_MAX: Final = 32
"""Objects and lists within each other; OpenClaw's deepest setting lies at 8."""

KEY_PATHS_MAX: Final = 32
"""Paths of keys in one line of the log."""

VERSIONS_KEPT: Final = 20
"""Texts that are kept to go back to, beside the last healthy one, which is always kept."""

VERDICTS_KEPT: Final = 500
"""Verdicts that are remembered, some 300 bytes each; the oldest bad ones are forgotten first."""

REASON_CHARS_MAX: Final = 512
"""Characters of the reason in a verdict; what a check-in carries too."""
