"""The host's certificates, read when a connection needs them and not with every start.

aiohttp makes two TLS contexts when it is imported, and each reads every certificate of the host:
95 of the 450 ms of processor time that a controller's imports took. Most controllers never speak
TLS, because their plane is on the same host or in the same private network.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self


class HostCertificates(ssl.SSLContext):
    """A client's context that reads the host's certificates with its first connection."""

    _has_read = False

    def __new__(cls) -> Self:
        """Return a context that verifies certificates and names, as the default one does."""
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def wrap_bio(self, *given: Any, **named: Any) -> ssl.SSLObject:
        """Read what is to be trusted, once, and begin a connection."""
        if not self._has_read:
            self.load_default_certs()
            self._has_read = True
        return super().wrap_bio(*given, **named)


@contextmanager
def unread() -> Iterator[None]:
    """Let contexts that are made meanwhile trust nobody: what uses one fails, closed."""
    names = ("load_default_certs", "set_default_verify_paths")
    methods = {name: getattr(ssl.SSLContext, name) for name in names}
    for name in names:
        setattr(ssl.SSLContext, name, lambda *_: None)
    try:
        yield
    finally:
        for name, method in methods.items():
            setattr(ssl.SSLContext, name, method)
