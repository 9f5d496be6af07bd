"""`holdfast consent`: what may leave each node, and the signed receipts of who said so."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from holdfast.cli.connection import Connection, connect
from holdfast.cli.naming import pick_node
from holdfast.cli.output import (
    EXIT_MISSING,
    EXIT_PENDING,
    EXIT_USAGE,
    JSON_OPTION,
    ago,
    fail,
    say,
    show,
    show_facts,
    show_json,
    show_list,
    show_table,
)
from holdfast.cli.tables import Column
from holdfast.disk.durable_file import write_file
from holdfast.kernel.failure import reason
from holdfast.wire.api.browser_keys import (
    BrowserKeyView,
    Carried,
    EnrolByMachine,
    NodeBrowsers,
)
from holdfast.wire.api.consent import (
    ConsentDetail,
    ConsentGrant,
    ConsentList,
    ConsentReceipt,
    ConsentRevoke,
    KeyRotate,
    ReceiptBundle,
    ReceiptList,
    SigningKey,
    SigningKeys,
)
from holdfast.wire.api.operations import Pending
from holdfast.wire.browser_keys import (
    KeyFormError,
    fingerprint_of,
    id_of,
    point_of,
    read_fingerprint,
)
from holdfast.wire.consent import (
    CLASS_TEXTS,
    CLASSES,
    TEXT_VERSION,
    ContentClass,
    Document,
    Grant,
    Preview,
    Receipt,
    SignedDocument,
    Successor,
    counted,
)
from holdfast.wire.parsers import from_json, json_as, whole
from holdfast.wire.times import time_text

app = typer.Typer(
    no_args_is_help=True, help="What may leave each node, and signed receipts of who said so."
)

Name = Annotated[str, typer.Argument(help="The node: its id or name, or its instance's.")]
Classes = Annotated[
    list[str], typer.Argument(help=f"Classes: {', '.join(CLASSES)}; or `all`.", show_default=False)
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask; required without a terminal.")]

_DOCUMENTS: Final = msgspec.json.Decoder(SignedDocument | list[SignedDocument])
_NODES: Final = (
    Column("node"),
    Column("name"),
    Column("instance", drop=3),
    Column("state"),
    Column("may leave"),
    Column("looked at", drop=1),
    Column("registered", drop=2),
)
_OF_NODE: Final = (
    Column("class"),
    Column("status"),
    Column("since", drop=4),
    Column("by"),
    Column("until", drop=3),
    Column("older content", drop=2),
    Column("contains", drop=1, least=20),
)
_BROWSERS: Final = (
    Column("fingerprint"),
    Column("name"),
    Column("kind", drop=2),
    Column("opens"),
    Column("enrolled by", drop=1),
    Column("made", drop=3),
)
_RECEIPTS: Final = (
    Column("number"),
    Column("when"),
    Column("act"),
    Column("classes"),
    Column("by"),
    Column("credential", drop=1),
    Column("note", drop=2, least=16),
)


@app.command("show")
def show_node(
    name: Annotated[str, typer.Argument(help="Only this node, with every class.")] = "",
    as_json: bool = JSON_OPTION,
) -> None:
    """List nodes and what may leave them; of one: each class, and why nothing comes from it."""
    plane = connect()
    if name:
        path = {"id": _resolve(plane, name)}
        _show(plane.call("consent.get", path=path), as_json=as_json)
        return
    nodes = _nodes(plane).items
    rows = (
        (
            one.id,
            one.title or one.name,
            one.instance,
            one.state,
            ", ".join(one.classes) or "nothing",
            ago(one.looked_at),
            ago(one.registered_at),
        )
        for one in nodes
    )
    show_list(nodes, _NODES, rows, empty="No node has registered.", as_json=as_json)


def _nodes(plane: Connection) -> ConsentList:
    found: ConsentList = plane.every("consent.list")
    return found


def _resolve(plane: Connection, name: str) -> str:
    """Return the id of a node that has registered, which need not have sent anything."""
    return pick_node(name, _nodes(plane).items, where="holdfast consent show")


def _show(found: ConsentDetail, *, as_json: bool) -> None:
    if as_json:
        show_json(found)
        return
    node = found.node
    show_facts(
        (
            ("node", node.id),
            ("name", node.title or node.name),
            ("instance", node.instance),
            ("state", node.state),
            ("first asked for", f"{ago(found.first_intent_at)} {found.first_intent_by}".strip()),
            ("trouble", found.trouble),
        )
    )
    rows = (
        (
            one.name,
            "in force" if one.in_force else one.status,
            ago(one.at) if one.at else "",
            one.by,
            ago(one.until) if one.until else "never" if one.status == "granted" else "",
            one.backfill_from or "",
            one.contains,
        )
        for one in found.classes
    )
    show_table(_OF_NODE, rows, empty="No classes.")
    for text in found.why:
        show(text)


@app.command()
def grant(
    name: Name,
    classes: Classes,
    days: Annotated[
        int | None, typer.Option(help="For so many days; without it, until revoked.")
    ] = None,
    backfill: Annotated[
        str, typer.Option(help="Older content: `nothing`, `everything`, or a number of days.")
    ] = "nothing",
    yes: Yes = False,
    as_json: bool = JSON_OPTION,
) -> None:
    """Let classes of content out of a node, from now on."""
    chosen = _chosen(classes)
    plane = connect()
    path = {"id": _resolve(plane, name)}
    since = _backfill(backfill)
    for each in chosen:
        say(f"{each}: {CLASS_TEXTS[each]}")
    if not yes and not typer.confirm("Let this leave the node?", err=True):
        fail("nothing was granted", fix="answer yes, or say --yes")
    body = ConsentGrant(
        classes=chosen,
        days=days,
        backfill="days" if since else "everything" if backfill == "everything" else "nothing",
        backfill_days=since,
        text_version=TEXT_VERSION,
    )
    _answer(plane.call("consent.grant", path=path, body=body), as_json=as_json)


def _backfill(text: str) -> int | None:
    """Return the number of days, None for `nothing` and `everything`."""
    if text in {"nothing", "everything"}:
        return None
    days = whole(text)
    if not days:
        fail(f"--backfill {text!r}: want nothing, everything, or days", code=EXIT_USAGE)
    return days


@app.command()
def revoke(
    name: Name,
    classes: Classes,
    delete: Annotated[
        bool, typer.Option("--delete", help="Also delete what the plane stored of them.")
    ] = False,
    why: Annotated[str, typer.Option("--reason", help="Said in the receipt.")] = "",
    yes: Yes = False,
    as_json: bool = JSON_OPTION,
) -> None:
    """Let classes of content out no longer, and delete what is stored of them if asked to."""
    chosen = _chosen(classes)
    plane = connect()
    path = {"id": _resolve(plane, name)}
    question = f"Delete what is stored of {', '.join(chosen)}?"
    if delete and not yes and not typer.confirm(question, err=True):
        fail("nothing was revoked", fix="answer yes, or leave --delete out")
    body = ConsentRevoke(classes=chosen, delete=delete, reason=why)
    _answer(plane.call("consent.revoke", path=path, body=body), as_json=as_json)


def _chosen(names: list[str]) -> tuple[ContentClass, ...]:
    wrong = [each for each in names if each not in {*CLASSES, "all"}]
    if wrong:
        fix = f"there are {', '.join(CLASSES)}, and all"
        fail(f"there is no class {wrong[0]!r}", fix=fix, code=EXIT_USAGE)
    return tuple(each for each in CLASSES if each in names or "all" in names)


def _answer(answer: Any, *, as_json: bool) -> None:
    if isinstance(answer, Pending):
        say(f"Accepted, not taken yet: holdfast operation show {answer.operation}")
        raise typer.Exit(EXIT_PENDING)
    _show(answer, as_json=as_json)


@app.command()
def receipts(
    name: Name,
    export: Annotated[
        Path | None, typer.Option(help="Write all of them, with the keys, into this new file.")
    ] = None,
    as_json: bool = JSON_OPTION,
) -> None:
    """Show a node's signed receipts, or write them into a file for keeping."""
    plane = connect()
    path = {"id": _resolve(plane, name)}
    if export is not None:
        bundle: ReceiptBundle = plane.call("consent.export", path=path)
        _write(export, bundle)
        say(f"{len(bundle.receipts)} receipts: holdfast consent verify {export} checks them")
        return
    page: ReceiptList = plane.every("consent.receipts", path=path)
    rows = (_row(one) for one in page.items)
    show_list(page, _RECEIPTS, rows, empty="There are no receipts.", as_json=as_json)


def _row(one: ConsentReceipt) -> tuple[str, ...]:
    return (
        str(one.number), ago(one.at), one.act, ", ".join(one.classes), one.by, one.credential,
        one.reason or counted(one.deleted),
    )  # fmt: skip


@app.command()
def browsers(name: Name, as_json: bool = JSON_OPTION) -> None:
    """List the browsers of a node's account, with fingerprints, and which open what it sealed."""
    plane = connect()
    found: NodeBrowsers = plane.call("sealed-key.list", path={"id": _resolve(plane, name)})
    rows = (
        (
            # Made here, of the key that the plane gives: the same as the browser shows.
            fingerprint_of(point_of(one.public_key)),
            one.name,
            one.kind,
            ", ".join(copy.key_id for copy in one.copies) or "nothing",
            one.copies[0].by if one.copies else "",
            ago(one.created_at),
        )
        for one in found.items
    )
    show_list(found.items, _BROWSERS, rows, empty="No browser has a key here.", as_json=as_json)


@app.command()
def enroll(
    name: Name,
    fingerprint: Annotated[str, typer.Argument(help="As the browser shows it.")],
    as_json: bool = JSON_OPTION,
) -> None:
    """Have an instance's machine seal its content key to the browser with this fingerprint."""
    plane = connect()
    path = {"id": _resolve(plane, name)}
    body = EnrolByMachine(fingerprint=fingerprint)
    done: Carried = plane.call("sealed-key.by-machine", path=path, body=body)
    if as_json:
        show_json(done)
    else:
        say("Its machine sealed the content key to that browser.")


@app.command("revoke-browser")
def revoke_browser(
    fingerprint: Annotated[str, typer.Argument(help="As `holdfast consent browsers` lists it.")],
    account: Annotated[
        str, typer.Option(help="Of this account, where several have the key; operators only.")
    ] = "",
    as_json: bool = JSON_OPTION,
) -> None:
    """Revoke a browser's key: what is sealed to it is deleted, what it opened it keeps."""
    try:
        browser = id_of(read_fingerprint(fingerprint))
    except KeyFormError as error:
        fail(f"FINGERPRINT: {error}", code=EXIT_USAGE)
    done: BrowserKeyView = connect().call(
        "browser-key.revoke", path={"id": browser}, query={"account": account}
    )
    if as_json:
        show_json(done)
    else:
        say(f"Revoked {done.name}.")


@app.command()
def keys(
    export: Annotated[
        Path | None, typer.Option(help="Write them into this new file, for `verify --key`.")
    ] = None,
    as_json: bool = JSON_OPTION,
) -> None:
    """Show the plane's public keys, which verify grants and receipts."""
    found: SigningKeys = connect().call("consent.keys")
    if export is not None:
        _write(export, found)
        say(f"{len(found.keys)} keys: holdfast consent verify FILE --key {export}")
        return
    columns = (Column("id"), Column("public key"), Column("made"))
    rows = ((one.id, one.public_key, ago(one.created_at)) for one in found.keys)
    show_list(found, columns, rows, empty="There are no keys.", as_json=as_json)


@app.command("rotate-key")
def rotate_key(as_json: bool = JSON_OPTION) -> None:
    """Replace the signing key by a new one, which the present one signs."""
    found: SigningKeys = connect().call("consent.rotate-key", body=KeyRotate())
    if as_json:
        show_json(found)
        return
    show(f"{found.keys[-1].id} signs from now on; nodes follow by themselves.")


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="An export, or signed documents as JSON.")],
    key: Annotated[
        Path | None, typer.Option(help="Public keys: of `consent keys --export`, or one as text.")
    ] = None,
    plane: Annotated[
        bool, typer.Option("--plane", help="Ask the plane for its public keys.")
    ] = False,
    as_json: bool = JSON_OPTION,
) -> None:
    """Check signed documents, offline unless --plane is given."""
    if key is not None and plane:
        fail("--key and --plane: want one of them", code=EXIT_USAGE)
    documents, bundle = _documents(file)
    signing = _signing(key, bundle, plane=plane)
    # Loads a library of cryptography, needed here only.
    from holdfast.plane.consent_key import trusted_keys  # noqa: PLC0415

    more = () if bundle is None else bundle.signing.successors
    try:
        known = (one.public_key for one in signing.keys)
        trusted = trusted_keys(known, (*signing.successors, *more))
    except ValueError as error:
        fail(f"the public keys: {error}", fix="export them again: holdfast consent keys --export")
    checked = [_check(one, trusted, bundle) for one in documents]
    if as_json:
        show_json([{"document": said, "wrong": wrong} for said, wrong in checked])
    else:
        rows = [_said(said, wrong) for said, wrong in checked]
        show_table(_RECEIPTS, rows, empty="There are no documents in the file.")
    bad = sum(bool(wrong) for _, wrong in checked)
    for number, (_, wrong) in enumerate(checked, 1):
        if wrong:
            say(f"document {number}: {wrong}", style="red")
    if bad:
        fail(f"{bad} of {len(checked)} documents are not genuine", fix="do not rely on this file")
    say(f"{len(checked)} documents are genuine, by {_where(key, plane=plane)}.")


def _where(key: Path | None, *, plane: bool) -> str:
    if plane:
        return "the plane's keys"
    return f"the keys in {key}" if key is not None else "the keys in the file itself"


def _documents(file: Path) -> tuple[tuple[SignedDocument, ...], ReceiptBundle | None]:
    """Return the documents of a file: an export, one document, or a list of them."""
    raw = _read(file)
    try:
        bundle = json_as(ReceiptBundle, raw)
    except msgspec.MsgspecError:
        pass
    else:
        own = () if bundle.grant is None else (bundle.grant,)
        return (*bundle.receipts, *own), bundle
    try:
        found = from_json(_DOCUMENTS, raw)
    except msgspec.MsgspecError as error:
        fail(f"{file}: neither an export nor signed documents: {error}")
    return tuple(found) if isinstance(found, list) else (found,), None


def _signing(key: Path | None, bundle: ReceiptBundle | None, *, plane: bool) -> SigningKeys:
    """Return the keys to trust: given, of the plane, or those in the file itself."""
    if plane:
        found: SigningKeys = connect().call("consent.keys")
        return found
    if key is not None:
        raw = _read(key)
        try:
            return json_as(SigningKeys, raw)
        except msgspec.MsgspecError:
            text = raw.decode("ascii", "replace").strip()
            return SigningKeys(keys=(SigningKey(id="", public_key=text, created_at=""),))
    if bundle is None:
        fail("the file has no keys", fix="--key FILE, or --plane", code=EXIT_USAGE)
    say("The keys are those in the file itself: that it is whole is shown, not who made it.")
    say("  fix: --key FILE with keys from another source, or --plane", style="dim")
    return bundle.signing


def _check(
    document: SignedDocument, trusted: dict[str, str], bundle: ReceiptBundle | None
) -> tuple[Document | None, str]:
    """Return what a document says, and what is wrong with it or nothing."""
    from holdfast.plane.consent_key import verify as verify_one  # noqa: PLC0415  as above

    public = trusted.get(document.key)
    if public is None:
        return None, f"signed by the key {document.key}, which is not among those trusted"
    try:
        said = verify_one(document, public)
    except ValueError as error:
        return None, str(error)
    if bundle is not None and not isinstance(said, Successor) and said.node != bundle.node:
        return said, f"it is of another node: {said.node}"
    return said, ""


def _said(said: Document | None, wrong: str) -> tuple[str, ...]:
    """Return a row about one document."""
    match said:
        case Receipt():
            note = wrong or said.reason or counted(said.deleted)
            return (
                str(said.number), time_text(said.at_ms), said.act, ", ".join(said.classes), said.by,
                said.credential, note,
            )  # fmt: skip
        case Grant():
            named = ", ".join(said.classes) or "nothing"
            return (str(said.number), time_text(said.at_ms), "in force", named, "", "", wrong)
        case Preview():
            return (str(said.number), time_text(said.at_ms), "preview", "", "", "", wrong)
        case None:
            return ("", "", "NOT GENUINE", "", "", "", wrong)
        case other:
            return ("", time_text(other.at_ms), "successor", "", "", "", wrong)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        fail(f"{path} is not there", code=EXIT_MISSING)
    except OSError as error:
        fail(reason(error))


def _write(path: Path, content: Any) -> None:
    if path.exists():
        fail(f"{path} is there already", fix="name another file", code=EXIT_USAGE)
    try:
        write_file(path, msgspec.json.format(msgspec.json.encode(content)) + b"\n", mode=0o600)
    except OSError as error:
        fail(reason(error))
