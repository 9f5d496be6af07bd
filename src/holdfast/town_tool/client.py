"""Calls a tool of the plane, with one key for all tries, so that what arrived twice counts once."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from holdfast.outbox.http_connection import Address, HttpConnection, Response, address_of
from holdfast.town_tool.declared import Tool

TIMEOUT_S: Final = 15.0
TRIES_S: Final = 60.0
"""How long a call is tried again while the plane cannot be reached or does not take it."""
WAITS_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Waits between tries; the last one repeats."""
LONGEST_WAIT_S: Final = 15.0

ENDED: Final = frozenset({"attempt_ended", "not_an_attempt"})
"""Codes of a token that is good for nothing any more."""

_OK: Final = 200
_PENDING: Final = 202
_TOO_MANY: Final = 429
_OUR_FAULT: Final = 500


class Settings(NamedTuple):
    """Where the tools are, and the token of the attempt."""

    url: Address
    token: str


class ToolError(Exception):
    """A tool did not do what was asked. `code` is made for programs, `fix` says how to go on."""

    def __init__(self, code: str, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.fix = fix

    @property
    def text(self) -> str:
        """Return it in words."""
        return f"{self.message}\n{self.fix}".rstrip()


class SettingsError(ToolError):
    """A variable of the environment is missing or wrong."""


class UnreachableError(ToolError):
    """The plane did not answer in time."""


class EndedError(ToolError):
    """The attempt is over: there is nothing left to do but end."""


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Return the settings; raise SettingsError naming the variable that is wrong."""
    fix = "the plane sets it for each attempt; run this tool in the attempt's own environment"
    url, token = environ.get("HOLDFAST_TOOL_URL", ""), environ.get("HOLDFAST_TOOL_TOKEN", "")
    for name, value in (("HOLDFAST_TOOL_URL", url), ("HOLDFAST_TOOL_TOKEN", token)):
        if not value:
            raise SettingsError("not_set", f"{name} is not set", fix)
    try:
        address = address_of(url)
    except ValueError as error:
        raise SettingsError("bad_url", f"HOLDFAST_TOOL_URL: {error}", fix) from None
    if address.scheme not in {"http", "https"} or "?" in address.path:
        raise SettingsError("bad_url", "HOLDFAST_TOOL_URL: want http or https, and no query", fix)
    return Settings(address, token.strip())


class ToolClient:
    """Calls tools; one call at a time, each on a connection of its own."""

    def __init__(
        self,
        settings: Settings,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        tries_s: float = TRIES_S,
    ) -> None:
        self._settings = settings
        self._sleep = sleep
        self._clock = clock
        self._tries_s = tries_s

    def call(self, tool: Tool, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer; raise ToolError, after tries for as long as is worth it."""
        headers = {
            "Authorization": f"Bearer {self._settings.token}",
            "Accept": "application/json",
            "Content-Type": "application/json",
            "Connection": "close",
        }
        body = b""
        if not tool.reads:
            body = json.dumps({**arguments}).encode()
            headers["Idempotency-Key"] = str(uuid.uuid4())
        until = self._clock() + self._tries_s
        for waits_s in self._waits():
            answer, wait_s = self._try(tool, body, headers), waits_s
            if isinstance(answer, Response):
                said = _said(answer)
                if answer.status == _OK:
                    return said
                if answer.status < _OUR_FAULT and answer.status not in {_PENDING, _TOO_MANY}:
                    raise _refused(answer, said)
                wait_s = _wait_s(answer, waits_s)
            if self._clock() + wait_s > until:
                raise _gave_up(answer, self._tries_s)
            self._sleep(wait_s)
        raise AssertionError  # the waits do not end

    def _waits(self) -> Any:
        yield from WAITS_S
        while True:
            yield WAITS_S[-1]

    def _try(self, tool: Tool, body: bytes, headers: Mapping[str, str]) -> Response | OSError:
        url = self._settings.url
        connection = HttpConnection(url.scheme, url.host, url.port, timeout_s=TIMEOUT_S)
        path = f"{url.path.rstrip('/')}/{tool.name}"
        try:
            return connection.exchange("GET" if tool.reads else "POST", path, body, headers)
        except OSError as error:
            return error
        except ValueError as error:
            raise ToolError(
                "not_http", f"what answered is not the plane: {error}",
                "check HOLDFAST_TOOL_URL, and what stands between here and the plane",
            ) from None  # fmt: skip
        finally:
            connection.close()


def _said(answer: Response) -> dict[str, Any]:
    try:
        said = json.loads(answer.body or b"{}")
    except ValueError:
        said = {}
    return said if isinstance(said, dict) else {}


def _wait_s(answer: Response, otherwise_s: float) -> float:
    """Return how long the plane asks to wait, within bounds."""
    asked = answer.headers.get("retry-after", "")
    seconds = float(asked) if asked.isascii() and asked.isdigit() else otherwise_s
    return min(max(seconds, otherwise_s), LONGEST_WAIT_S)


def _refused(answer: Response, said: Mapping[str, Any]) -> ToolError:
    code = str(said.get("code") or f"status_{answer.status}")
    message = str(said.get("message") or f"the plane answered {answer.status}")
    fix = str(said.get("fix") or "")
    field = str(said.get("field") or "")
    if field and field not in message:
        message = f"{field}: {message}"
    return (EndedError if code in ENDED else ToolError)(code, message, fix)


def _gave_up(answer: Response | OSError, tries_s: float) -> UnreachableError:
    what = answer.strerror or type(answer).__name__ if isinstance(answer, OSError) else ""
    if isinstance(answer, Response):
        what = f"it answered {answer.status} {_said(answer).get('code', '')}".rstrip()
    return UnreachableError(
        "unreachable", f"the plane could not be reached for {tries_s:.0f} s: {what}",
        "go on with your work and try again in a minute; what you committed is not lost",
    )  # fmt: skip
