"""Enrols a browser of the owner from the machine: `keys`, and `enroll FINGERPRINT`.

The plane says which key a fingerprint has; the person alone says which one is believed, by the
fingerprint that the browser shows. For a machine that a person runs the observer on: an instance's
is enrolled through its controller.
"""

from __future__ import annotations

from typing import Final

import msgspec

from holdfast.machine.content_key import EnrolError, id_of_key, key_of, sealed_content_key
from holdfast.machine.observer import gate
from holdfast.machine.observer.questions import AskBrowser
from holdfast.machine.observer.registration import Config
from holdfast.machine.observer.upload import Lines, Reply
from holdfast.wire.api.browser_keys import ObserverBrowser, ObserverCopy
from holdfast.wire.browser_keys import KeyFormError, id_of, read_fingerprint

_OK: Final = 200
_NOT_FOUND: Final = 404
_BROWSER: Final = msgspec.json.Decoder(ObserverBrowser)


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

    def enroll(self, typed: str) -> str:
        """Seal the content key to a browser; return its fingerprint, or raise EnrolError."""
        try:
            fingerprint = read_fingerprint(typed)
        except KeyFormError as error:
            raise EnrolError("wrong_fingerprint", f"FINGERPRINT: {error}") from None
        copy = ObserverCopy(
            node_id=self._config.node_id,
            browser=id_of(fingerprint),
            key_id=self.key_id,
            sealed=sealed_content_key(
                self._key, self._node, self._public_key(fingerprint), fingerprint
            ),
        )
        reply = self._lines.ask(copy)
        if reply.status != _OK:
            raise EnrolError("refused", f"the plane did not take it: {_told(reply)}")
        return fingerprint

    def _public_key(self, fingerprint: str) -> str:
        """Return what the plane says is the key of a fingerprint; it is compared before use."""
        reply = self._lines.ask(AskBrowser(browser=id_of(fingerprint)))
        if reply.status == _NOT_FOUND:
            text = f"the plane knows no browser with the fingerprint {fingerprint}"
            raise EnrolError("no_such_browser", f"{text}: compare it with what the browser shows")
        if reply.status != _OK:
            raise EnrolError("refused", f"the plane did not say its key: {_told(reply)}")
        try:
            return _BROWSER.decode(reply.body).public_key
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise EnrolError("refused", "the plane's answer is no key of a browser") from None


def _told(reply: Reply) -> str:
    """Return why there is no answer, as people read it."""
    fields = gate.read_fields(_OK, reply.body) or {}
    said = gate.field(fields, "message", str, "")
    return reply.detail or said or f"HTTP {reply.status}"
