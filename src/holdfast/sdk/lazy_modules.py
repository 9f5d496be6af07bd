"""Modules that are loaded on first use: a program that imports the SDK pays for little.

The modules that judge, learn and redact take longer to load than the rest together, and a program
is slowest at its start; the first correction is the better moment.
"""

from __future__ import annotations

# Not from typing, as in the package itself.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any


class Later:
    """Proxy of a module of this package until one of its attributes is used."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        """Name the module `holdfast.sdk.<name>`; nothing is loaded yet."""
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        """Return an attribute of the module, loading it the first time."""
        from importlib import import_module  # noqa: PLC0415  costs nothing until it is needed

        return getattr(import_module(f"holdfast.sdk.{self._name}"), attribute)
