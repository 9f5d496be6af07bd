"""Endpoints about keys of browsers, and the content keys of nodes that are sealed to them.

The plane keeps public keys, and carries copies of a node's content key that it cannot open. Who
seals such a copy is a browser that holds the key already, or the node's machine, which a person
gives the fingerprint.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from holdfast.wire.api.endpoint import (
    ACCOUNT,
    ID_PATTERN,
    Counter,
    Id,
    Label,
    Param,
    Time,
    look,
    order,
)
from holdfast.wire.browser_keys import Copy, KeyId, Text64
from holdfast.wire.limits import (
    BROWSER_COPIES_MAX,
    BROWSER_KEYS_MAX,
    PAGE_ITEMS_MAX,
    SAMPLES_CHARS_MAX,
    TEXT_MAX,
)

PublicKey = Annotated[Text64, Meta(min_length=86, max_length=88)]
"""An uncompressed point of P-256 as base64url."""
Locked = Annotated[Text64, Meta(max_length=512)]
Samples = Annotated[Text64, Meta(max_length=SAMPLES_CHARS_MAX)]
Fingerprint = Annotated[str, Meta(min_length=1, max_length=64)]
Kind = Literal["browser", "recovery"]


class BrowserKeyCreate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Make the public key of a browser known, or that of a recovery code.

    `locked` is the private key of a recovery code, encrypted with it in the browser; a browser has
    none, since its private key never leaves it.
    """

    name: Annotated[str, Meta(min_length=1, max_length=TEXT_MAX)]
    public_key: PublicKey
    kind: Kind = "browser"
    locked: Locked = ""
    account: Annotated[str, Meta(max_length=63)] = ""


class BrowserKeyView(Struct, frozen=True, kw_only=True):
    """One browser's key: its id and fingerprint are made of the public key alone."""

    id: Id
    fingerprint: Label
    account: Label
    name: Label
    kind: Kind
    public_key: PublicKey
    created_at: Time
    created_by: Label
    revoked_at: Time | None = None
    locked: Locked = ""


class BrowserKeyList(Struct, frozen=True, kw_only=True):
    """Keys of browsers, the newest first, revoked ones too."""

    items: Annotated[tuple[BrowserKeyView, ...], Meta(max_length=PAGE_ITEMS_MAX)]


class SealedCopy(Struct, frozen=True, kw_only=True):
    """A node's content key, sealed to one browser. `by` says who gave it to the plane."""

    key_id: KeyId
    sealed: Copy
    at: Time
    by: Label


class NodeBrowser(BrowserKeyView, frozen=True, kw_only=True):
    """A browser's key with what is sealed to it of one node's keys, the newest first."""

    copies: Annotated[tuple[SealedCopy, ...], Meta(max_length=BROWSER_COPIES_MAX)] = ()


class NodeBrowsers(Struct, frozen=True, kw_only=True):
    """Browsers of a node's account that are not revoked. `instance` is empty elsewhere."""

    account: Label
    instance: Label
    items: Annotated[tuple[NodeBrowser, ...], Meta(max_length=BROWSER_KEYS_MAX)]


class SealedCopyAdd(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Carry a node's content key that was sealed to a browser."""

    browser: Id
    key_id: KeyId
    sealed: Copy


class EnrolByMachine(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Have an instance's machine seal its content key to a browser.

    `fingerprint` is typed by a person, who reads it from that browser.
    """

    fingerprint: Fingerprint


class ObserverBrowser(Struct, frozen=True, kw_only=True):
    """The public key of the browser that a machine asked for; `node` is the plane's id.

    The machine believes it by the fingerprint that a person typed, and by nothing else.
    """

    ok: bool
    node: Id
    public_key: PublicKey


class ObserverCopy(Struct, frozen=True, kw_only=True):
    """A machine's content key, sealed to a browser whose fingerprint a person typed in."""

    node_id: Label
    browser: Id
    key_id: KeyId
    sealed: Copy


class ObserverSamples(Struct, frozen=True, kw_only=True):
    """Samples that a signed preview lets out: sealed as content is, and that to the page's key."""

    node_id: Label
    number: Counter
    sealed: Samples


class SamplesView(Struct, frozen=True, kw_only=True):
    """Samples of a node, while the plane carries them: in memory, until the preview is over.

    `asked` is true while a preview holds; without it and without `sealed` none will come.
    """

    asked: bool
    number: Counter = 0
    sealed: Samples = ""


class Carried(Struct, frozen=True, kw_only=True):
    """The copy is stored."""

    ok: bool


_NODE: Final = Param("node_id", r"[^\x00-\x1f]{1,128}", "The node's own name.")
_BROWSER: Final = Param("browser", ID_PATTERN, "The id that its fingerprint makes: bk_ and it.")
_SAMPLES_BODY_BYTES_MAX: Final = SAMPLES_CHARS_MAX + 4_096
"""Samples in base64url, which JSON does not lengthen, and the fields beside them."""
_OF_NODE: Final = "/api/nodes/{id}/sealed-keys"
OBSERVER_BROWSERS_PATH: Final = "/api/observer/browser-keys"
OBSERVER_COPIES_PATH: Final = "/api/observer/sealed-keys"
OBSERVER_SAMPLES_PATH: Final = "/api/observer/samples"

BROWSER_KEYS: Final = (
    look(
        "browser-key.list", "/api/browser-keys", BrowserKeyList,
        "Keys of the browsers that may open what nodes sealed.", ACCOUNT,
    ),
    order(
        "browser-key.create", "/api/browser-keys", BrowserKeyCreate, BrowserKeyView,
        "Make a browser's public key known; it opens nothing before a content key is sealed to it.",
        statuses=(201, 409),
    ),
    order(
        "browser-key.revoke", "/api/browser-keys/{id}", None, BrowserKeyView,
        "Revoke a browser's key and delete every copy that is sealed to it.",
        method="DELETE", params=(ACCOUNT,),
    ),
    look(
        "sealed-key.list", _OF_NODE, NodeBrowsers,
        "Browsers of a node's account, with the copies of its content key that are sealed to each.",
    ),
    order(
        "sealed-key.add", _OF_NODE, SealedCopyAdd, Carried,
        "Carry a copy of a node's content key that a browser sealed to another.",
        statuses=(201, 409),
    ),
    order(
        "sealed-key.by-machine", f"{_OF_NODE}/by-machine", EnrolByMachine, Carried,
        "Have an instance's machine seal its content key to the browser of a fingerprint.",
        statuses=(201, 409),
    ),
    look(
        "samples.get", "/api/nodes/{id}/samples", SamplesView,
        "The samples that a preview let out, as the node sealed them.",
    ),
    order(
        "observer.samples", OBSERVER_SAMPLES_PATH, ObserverSamples, Carried,
        "A node hands over the samples that a signed preview asks for: once, and in its minute.",
        scope="node", statuses=(200, 403, 409), body_bytes_max=_SAMPLES_BODY_BYTES_MAX,
        mutates=False,
    ),
    look(
        "observer.browser", OBSERVER_BROWSERS_PATH, ObserverBrowser,
        "The public key of one browser of a node's account, for its machine.", _NODE, _BROWSER,
        scope="node", statuses=(200, 403, 404),
    ),
    order(
        "observer.copy", OBSERVER_COPIES_PATH, ObserverCopy, Carried,
        "A machine elsewhere hands over its content key, sealed to a browser.",
        scope="node", statuses=(200, 403, 409), mutates=False,
    ),
)  # fmt: skip
