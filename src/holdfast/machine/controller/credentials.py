"""The machine's credentials, looked up each time one is needed.

They can change while the machine runs, so a sender looks them up for each request. A file, if there
is one, overrides the environment, and is read again when it changes. If it cannot be read, the last
good credentials stay in force: it may be half written. The plane can also send new ones; old tokens
of callers stay valid for a while then, because a request with the old one may be under way.
"""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from holdfast.kernel.clock import Clock, SystemClock
from holdfast.kernel.secret import Secret
from holdfast.machine.controller.log import Log

NO_SECRET: Final = Secret("")


class Pair(NamedTuple):
    """The key that authenticates the owner and the token that authenticates the machine."""

    api_key: Secret
    gateway_token: Secret

    @property
    def complete(self) -> bool:
        """Return whether both are present."""
        return bool(self.api_key) and bool(self.gateway_token)


class _Tokens(NamedTuple):
    """Tokens required from callers: the control API's and the proxy's."""

    gateway: Secret
    proxy: Secret


class _File(msgspec.Struct, rename="camel", frozen=True):
    api_key: str
    gateway_token: str
    proxy_token: str = ""


class Credentials:
    """Looks up the credentials."""

    def __init__(
        self,
        given: Pair,
        file: Path | None,
        log: Log,
        *,
        proxy_token: Secret = NO_SECRET,
        clock: Clock | None = None,
    ) -> None:
        """Start with those of the environment; `file` is JSON {apiKey, gatewayToken}.

        Without a proxy token the gateway token is used (compat/controller.md).
        """
        self._pair = given
        self._proxy = proxy_token
        self._file = file
        self._log = log
        self._clock = clock or SystemClock()
        self._seen: tuple[int, int, int] | None = None
        self._before = _Tokens(NO_SECRET, NO_SECRET)
        self._before_until_ms = 0.0

    def current(self) -> Pair:
        """Return the credentials in force now."""
        if self._file is not None:
            self._refresh(self._file)
        return self._pair

    def knows_token(self, given: bytes) -> bool:
        """Return whether this is the control API's token, or its predecessor during the overlap."""
        now = self.current().gateway_token
        return _same(given, now) | (self._overlaps() and _same(given, self._before.gateway))

    def knows_proxy_token(self, given: bytes) -> bool:
        """Return whether this is the proxy's token, or its predecessor during the overlap."""
        now = self._tokens().proxy
        return _same(given, now) | (self._overlaps() and _same(given, self._before.proxy))

    def renew(self, api_key: Secret) -> None:
        """Use a new key, from the next request to the plane on."""
        self._pair = self.current()._replace(api_key=api_key)
        self._log.emit("credentials.key_renewed")

    def rotate(self, gateway_token: Secret, proxy_token: Secret, *, overlap_ms: int) -> None:
        """Use new tokens; the old ones stay valid for `overlap_ms`.

        Repeating the current ones changes nothing, so that the call may be retried.
        """
        before = self._tokens()
        if before == _Tokens(gateway_token, proxy_token):
            return
        self._before, self._before_until_ms = before, self._clock.steady_ms() + overlap_ms
        self._pair = self._pair._replace(gateway_token=gateway_token)
        self._proxy = proxy_token
        self._log.emit("credentials.tokens_rotated", overlap_ms=overlap_ms)

    def _tokens(self) -> _Tokens:
        gateway = self.current().gateway_token
        return _Tokens(gateway, self._proxy or gateway)

    def _overlaps(self) -> bool:
        return self._clock.steady_ms() < self._before_until_ms

    def _refresh(self, file: Path) -> None:
        try:
            stat = file.stat()
            seen = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if seen == self._seen:
                return
            found = msgspec.json.decode(file.read_bytes(), type=_File)
            pair = Pair(
                Secret.read(found.api_key, "apiKey"),
                Secret.read(found.gateway_token, "gatewayToken"),
            )
            proxy = Secret.read(found.proxy_token, "proxyToken")
        except (OSError, ValueError, RecursionError) as error:  # msgspec's own are ValueErrors
            # The text of the error may quote the file, so only its type is logged.
            self._log.emit("credentials.unreadable", path=str(file), error=type(error).__name__)
            return
        self._seen = seen
        self._pair = pair
        self._proxy = proxy or self._proxy
        self._log.emit("credentials.read", path=str(file))


def bearer(header: bytes) -> bytes:
    """Return the token of an `Authorization` header, empty if it has no bearer token."""
    words = header.split()
    if len(words) != 2 or words[0].lower() != b"bearer":  # noqa: PLR2004  scheme and token
        return b""
    return words[1]


def machine_headers(pair: Pair) -> dict[str, str]:
    """Return the headers that authenticate owner and machine, compat/check-in.md's and ours."""
    token = pair.gateway_token.reveal()
    return {
        "Authorization": f"Bearer {pair.api_key.reveal()}",
        "x-kiloclaw-gateway-token": token,
        "x-holdfast-gateway-token": token,
    }


def _same(given: bytes, known: Secret) -> bool:
    """Compare two tokens in constant time; an absent token equals none."""
    return bool(known) and hmac.compare_digest(given, known.reveal().encode())
