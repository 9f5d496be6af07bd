"""Enrols a browser of the owner from the machine: `keys`, and `enroll FINGERPRINT`.

The plane says which browsers there are; which one is believed says the person alone, by the
fingerprint that the browser shows. For a machine that a person runs the observer on: an instance's
is enrolled through its controller.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from holdfast.machine.content_key import EnrolError, id_of_key, key_of, sealed_content_key
from holdfast.machine.observer import gate
from holdfast.machine.observer.questions import AskBrowsers
from holdfast.machine.observer.registration import Config
from holdfast.machine.observer.upload import Lines, Reply
from holdfast.wire.api.browser_keys import ObserverBrowser, ObserverBrowsers, ObserverCopy
from holdfast.wire.browser_keys import (
    KeyFormError,
    fingerprint_of,
    id_of,
    point_of,
    read_fingerprint,
)

_OK: Final = 200
_BROWSERS: Final = msgspec.json.Decoder(ObserverBrowsers)


class Browser(NamedTuple):
    """A browser that the plane knows; the fingerprint is made here, of its public key."""

    name: str
    fingerprint: str
    public_key: str


class Enrolment:
    """Both commands, over the registration of this machine."""

    def __init__(self, config: Config, node: str, lines: Lines) -> None:
        """Seal the key of `config` for `node`, the plane's id that the gate has pinned."""
        self._config = config
        self._node = node
        self._lines = lines
        self._key = key_of(config.encryption_key)

    @property
    def key_id(self) -> str:
        """Return the id of this machine's content key, as pages show it."""
        return id_of_key(self._key)

    def browsers(self) -> list[Browser]:
        """Return the browsers that the plane knows; raise EnrolError for no answer of one."""
        reply = self._lines.ask(AskBrowsers())
        if reply.status != _OK:
            raise EnrolError("refused", f"the plane did not say its browsers: {_told(reply)}")
        try:
            found = _BROWSERS.decode(reply.body)
            return [_browser(one) for one in found.items]
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise EnrolError("refused", "the plane's answer is no list of browsers") from None

    def enroll(self, typed: str) -> str:
        """Seal the content key to the browser of a fingerprint; return its name, or EnrolError."""
        try:
            fingerprint = read_fingerprint(typed)
        except KeyFormError as error:
            raise EnrolError("wrong_fingerprint", f"FINGERPRINT: {error}") from None
        found = next((one for one in self.browsers() if one.fingerprint == fingerprint), None)
        if found is None:
            text = f"the plane knows no browser with the fingerprint {fingerprint}"
            raise EnrolError("no_such_browser", f"{text}: compare it with what the browser shows")
        copy = ObserverCopy(
            node_id=self._config.node_id,
            browser=id_of(fingerprint),
            key_id=self.key_id,
            sealed=sealed_content_key(self._key, self._node, found.public_key, fingerprint),
        )
        reply = self._lines.ask(copy)
        if reply.status != _OK:
            raise EnrolError("refused", f"the plane did not take it: {_told(reply)}")
        return found.name


def _browser(one: ObserverBrowser) -> Browser:
    return Browser(one.name, fingerprint_of(point_of(one.public_key)), one.public_key)


def _told(reply: Reply) -> str:
    """Return why there is no answer, as people read it."""
    fields = gate.read_fields(_OK, reply.body) or {}
    said = gate.field(fields, "message", str, "")
    return reply.detail or said or f"HTTP {reply.status}"
