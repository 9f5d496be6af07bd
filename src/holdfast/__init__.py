"""Holdfast: a self-hostable control plane for fleets of always-on AI agents.

Each package below this package has one job and a short README in its docstring. The
map, and who may import whom, is in docs/architecture.md; the directions are import
contracts in pyproject.toml, so a wrong import fails the build.
"""

__version__ = "0.1.0"
