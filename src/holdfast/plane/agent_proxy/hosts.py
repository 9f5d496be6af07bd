"""Names of agents' hosts: the instance's id without dashes, below one domain. Pure."""

from __future__ import annotations

import re
from typing import Final

from holdfast.wire import parsers

_LABEL: Final = re.compile(r"([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})")


class AgentHosts:
    """The hosts below one domain."""

    def __init__(self, domain: str) -> None:
        """Name hosts below `domain`, such as `agents.localhost`; raise ValueError for none."""
        self.domain = domain.strip(".").lower()
        if not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", self.domain):
            message = f"{domain!r} is no domain of two names or more"
            raise ValueError(message)

    def ours(self, host: str) -> bool:
        """Return whether a `Host` names the domain or anything below it: never the dashboard."""
        name = _name(host)
        return name == self.domain or name.endswith(f".{self.domain}")

    def instance(self, host: str) -> str:
        """Return the instance of a host, or an empty text."""
        label, _, domain = _name(host).partition(".")
        found = _LABEL.fullmatch(label)
        return "-".join(found.groups()) if found and domain == self.domain else ""

    def host(self, instance_id: str, *, beside: str) -> str:
        """Return an instance's host, on the port of the `Host` beside it."""
        port = _port(beside)
        name = f"{instance_id.replace('-', '')}.{self.domain}"
        return f"{name}:{port}" if port else name


def _name(host: str) -> str:
    found = parsers.host(host)
    return "" if found is None else found.name.rstrip(".")


def _port(host: str) -> int | None:
    found = parsers.host(host)
    return None if found is None else found.port
