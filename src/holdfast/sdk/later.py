"""Modules that are loaded when they are first used: a program that imports the SDK pays for little.

What judges, learns and redacts takes longer to load than the rest together, and a program that
starts is waiting; the first correction is the better moment.
"""

from __future__ import annotations

# Not from typing, as in the package itself.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any


class Later:
    """Stands for a module of this package until something of it is asked for."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        """Stand for `holdfast.sdk.<name>`; nothing is loaded yet."""
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        """Return what the module has, loading it the first time."""
        from importlib import import_module  # noqa: PLC0415  costs nothing until it is needed

        return getattr(import_module(f"holdfast.sdk.{self._name}"), attribute)
