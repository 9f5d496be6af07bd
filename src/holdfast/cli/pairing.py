"""`holdfast pairing`: list pairing requests, decide them, and set rules for automatic decisions."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from holdfast.cli.connection import Connection, connect
from holdfast.cli.naming import resolve
from holdfast.cli.output import (
    EXIT_MISSING,
    EXIT_PENDING,
    EXIT_USAGE,
    JSON_OPTION,
    ago,
    fail,
    say,
    show,
    show_json,
    show_list,
    show_table,
)
from holdfast.cli.tables import Column
from holdfast.kernel.clock import DAY_MS, SystemClock
from holdfast.wire.api.operations import Pending
from holdfast.wire.api.pairing import (
    ANYBODY,
    PairingApprove,
    PairingDismiss,
    PairingList,
    PairingOutcome,
    PairingPolicy,
    PairingPolicySet,
    PairingRequest,
    PairingRule,
)
from holdfast.wire.times import time_text

app = typer.Typer(no_args_is_help=True, help="List pairing requests, decide them, and set rules.")

Name = Annotated[str, typer.Argument(help="The instance: its id or its name.")]
Request = Annotated[str, typer.Argument(help="The request's id, or its channel before CODE.")]
Code = Annotated[str, typer.Argument(help="The code, where a channel was named before.")]
Fingerprint = Annotated[
    str, typer.Option(help="From a list with --json: only if it is unchanged. Else looked up.")
]

_COLUMNS: Final = (
    Column("request"),
    Column("instance", drop=6),
    Column("kind", drop=5),
    Column("sender"),
    Column("name", drop=4),
    Column("asks for", drop=1, least=16),
    Column("asked", drop=3),
    Column("ends", drop=2),
    Column("state", drop=7),
)
_RULES: Final = (
    Column("rule"),
    Column("lets in"),
    Column("sender"),
    Column("scopes", drop=3),
    Column("ends", drop=1),
    Column("by", drop=2),
)
_ENTRIES: Final = (
    Column("when"),
    Column("what"),
    Column("request"),
    Column("sender", drop=2),
    Column("by", drop=3),
    Column("message", drop=1, least=20),
)


@app.command("list")
def list_(
    name: Annotated[str, typer.Argument(help="Only this instance, read from its machine.")] = "",
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Have the machine look afresh first.")
    ] = False,
    as_json: bool = JSON_OPTION,
) -> None:
    """List pending requests: of one instance, or of all as last reported to the plane."""
    plane = connect()
    if name:
        _list_one(plane, name, refresh=refresh, as_json=as_json)
        return
    if refresh:
        fail("--refresh needs an instance", fix="name the one to be asked", code=EXIT_USAGE)
    inbox = plane.call("pairing.inbox", query={"limit": "500"})
    if as_json:
        show_json(inbox)
        return
    _show_requests(inbox.items, empty="Nobody waits.")
    if inbox.next:
        say(f"{inbox.total} wait; these are the newest {len(inbox.items)}.")
    for trouble in inbox.troubles:
        say(f"{trouble.instance_name}: the list is not complete: {trouble.error}", style="yellow")


def _list_one(plane: Connection, name: str, *, refresh: bool, as_json: bool) -> None:
    path = {"id": resolve(plane, name)}
    query = {"refresh": "true"} if refresh else {}
    found: PairingList = plane.call("pairing.list", path=path, query=query)
    if as_json:
        show_json(found)
        return
    _show_requests(found.items, empty=found.note or "Nobody waits.")
    if not found.complete:
        reason = found.error or found.note
        say(f"the list is not complete: {reason}", style="yellow")


def _show_requests(items: tuple[PairingRequest, ...], *, empty: str) -> None:
    rows = (
        (
            one.request_id,
            one.instance_name,
            one.channel or f"device {one.role}".strip(),
            one.sender,
            one.sender_name,
            ", ".join(one.scopes),
            ago(one.created_at),
            ago(one.expires_at) if one.expires_at else "never",
            f"deciding: {one.deciding}" if one.deciding else one.error,
        )
        for one in items
    )
    show_table(_COLUMNS, rows, empty=empty)


@app.command()
def approve(
    name: Name,
    request: Request,
    code: Code = "",
    remember: Annotated[
        bool, typer.Option("--remember", help="Let the same sender in from now on.")
    ] = False,
    fingerprint: Fingerprint = "",
    as_json: bool = JSON_OPTION,
) -> None:
    """Approve a request."""
    plane = connect()
    path = {"id": resolve(plane, name)}
    seen = fingerprint or _seen(plane, path, request, code)
    body = (
        PairingApprove(channel=request, code=code, remember=remember, fingerprint=seen)
        if code
        else PairingApprove(request_id=request, remember=remember, fingerprint=seen)
    )
    answer = plane.call("pairing.approve", path=path, body=body)
    _report(answer, as_json=as_json)


@app.command()
def dismiss(
    name: Name,
    request: Request,
    code: Code = "",
    fingerprint: Fingerprint = "",
    as_json: bool = JSON_OPTION,
) -> None:
    """Dismiss a request; it is not shown again."""
    plane = connect()
    path = {"id": resolve(plane, name)}
    seen = fingerprint or _seen(plane, path, request, code)
    body = (
        PairingDismiss(channel=request, code=code, fingerprint=seen)
        if code
        else PairingDismiss(request_id=request, fingerprint=seen)
    )
    answer = plane.call("pairing.dismiss", path=path, body=body)
    _report(answer, as_json=as_json)


def _seen(plane: Connection, path: dict[str, str], request: str, code: str) -> str:
    """Print the request to be decided, and return the fingerprint of what was printed."""
    found: PairingList = plane.call("pairing.list", path=path)
    for one in found.items:
        if request == one.request_id or (code and (request, code) == (one.channel, one.code)):
            asks = f", may {', '.join(one.scopes)}" if one.scopes else ""
            who = one.sender_name or one.sender
            say(f"{one.channel or f'device {one.role}'.strip()}: {who}{asks}")
            return one.fingerprint
    return ""


def _report(answer: PairingOutcome | Pending, *, as_json: bool) -> None:
    """Print the outcome of a decision."""
    if as_json:
        show_json(answer)
    if isinstance(answer, Pending):
        if not as_json:
            say(f"Decided, not carried out yet: holdfast operation show {answer.operation}")
        raise typer.Exit(EXIT_PENDING)
    if not as_json:
        show(f"{answer.request_id}: {answer.message}")
        if answer.remembered:
            show(f"remembered by rule {answer.remembered}")


@app.command()
def history(
    name: Name,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many entries.")] = 40,
    as_json: bool = JSON_OPTION,
) -> None:
    """Show what was decided, by whom, newest first."""
    plane = connect()
    path = {"id": resolve(plane, name)}
    answer = plane.call("pairing.history", path=path, query={"limit": str(limit)})
    rows = (
        (ago(one.at), one.what, one.request_id, one.sender, one.by, one.message)
        for one in answer.entries
    )
    show_list(answer, _ENTRIES, rows, empty="Nothing was decided yet.", as_json=as_json)


@app.command()
def policy(
    name: Name,
    mode: Annotated[
        str, typer.Option(help="manual: people decide. rules: rules first, then people.")
    ] = "",
    allow: Annotated[
        list[str] | None,
        typer.Option(help="CHANNEL:SENDER, or device:ROLE:SCOPE,SCOPE; * is any. Repeatable."),
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, max=3650, help="New rules end after so long.")
    ] = None,
    remove: Annotated[list[str] | None, typer.Option(help="The id of a rule. Repeatable.")] = None,
    as_json: bool = JSON_OPTION,
) -> None:
    """Show how requests are decided, or change it."""
    if mode not in {"", "manual", "rules"}:
        fail(f"--mode {mode!r}: want manual or rules", code=EXIT_USAGE)
    plane = connect()
    path = {"id": resolve(plane, name)}
    found: PairingPolicy = plane.call("pairing.policy", path=path)
    if mode or allow or remove:
        ends = time_text(SystemClock().now_ms() + days * DAY_MS) if days else None
        added = tuple(parse_rule(text, expires_at=ends) for text in allow or ())
        body = _changed(found, mode=mode, added=added, gone=remove or [])
        answer = plane.call("pairing.set-policy", path=path, body=body)
        if isinstance(answer, Pending):
            say(f"Accepted, not taken yet: holdfast operation show {answer.operation}")
            raise typer.Exit(EXIT_PENDING)
        found = answer
    if as_json:
        show_json(found)
        return
    _show_policy(found)


def _changed(
    found: PairingPolicy, *, mode: str, added: tuple[PairingRule, ...], gone: list[str]
) -> PairingPolicySet:
    """Return the policy to set; a new rule never enables other rules implicitly."""
    kept = _without(found, gone)
    if added and mode == "manual":
        fail("--allow adds a rule, which --mode manual would not use", code=EXIT_USAGE)
    if added and not mode and found.mode == "manual" and kept:
        fail(
            f"the policy is manual and holds {len(kept)} rules that this would switch on",
            fix="say --mode rules to use them all, or --remove them",
        )
    is_manual = mode == "manual" or (not mode and found.mode == "manual" and not added)
    return PairingPolicySet(
        mode="manual" if is_manual else "rules", rules=(*kept, *added), version=found.version
    )


def _without(found: PairingPolicy, gone: list[str]) -> tuple[PairingRule, ...]:
    known = {rule.id for rule in found.rules}
    for rule_id in gone:
        if rule_id not in known:
            fix = f"there are {', '.join(sorted(known)) or 'none'}"
            fail(f"there is no rule {rule_id!r}", fix=fix, code=EXIT_MISSING)
    return tuple(rule for rule in found.rules if rule.id not in gone)


def parse_rule(text: str, *, expires_at: str | None) -> PairingRule:
    """Return the rule in `CHANNEL:SENDER` or `device:ROLE:SCOPES`."""
    kind, _, rest = text.partition(":")
    if not kind or not rest:
        fail(
            f"--allow {text!r}: want CHANNEL:SENDER, or device:ROLE:SCOPE,SCOPE",
            fix="--allow telegram:777001, --allow device:operator:operator.read",
            code=EXIT_USAGE,
        )
    if kind != "device":
        return PairingRule(kind="channel", channel=kind, sender=rest, expires_at=expires_at)
    role, _, scopes = rest.partition(":")
    return PairingRule(
        kind="device",
        sender=ANYBODY,
        role=role,
        scopes=tuple(scope for scope in scopes.split(",") if scope),
        expires_at=expires_at,
    )


def _show_policy(found: PairingPolicy) -> None:
    used = "rules, then people" if found.mode == "rules" else "people"
    show(f"Decided by {used}.")
    if found.mode == "manual" and found.rules:
        say("These rules are kept and not used: --mode rules uses them.", style="yellow")
    rows = (
        (
            rule.id,
            rule.channel or f"device {rule.role}",
            rule.sender,
            ", ".join(rule.scopes),
            ago(rule.expires_at) if rule.expires_at else "never",
            rule.by,
        )
        for rule in found.rules
    )
    show_table(_RULES, rows, empty="No rules.")
