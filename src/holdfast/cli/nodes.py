"""`holdfast nodes`: what agents did, as far as their nodes sent it in the clear.

What is sealed is counted: the plane has no key for it, and neither has this command.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final, get_args

import typer

from holdfast.cli.connection import Connection, connect
from holdfast.cli.naming import resolve_node
from holdfast.cli.output import (
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
from holdfast.wire.api.content import (
    CronList,
    LogLevel,
    LogList,
    MemoryList,
    MemoryVersions,
    NodeDetail,
    NodeList,
    NodeView,
    SenderChoice,
    SessionList,
    ToolCall,
    TurnList,
)
from holdfast.wire.consent import ContentClass

app = typer.Typer(no_args_is_help=True, help="What agents did: sessions, logs, memory, cron jobs.")

Name = Annotated[str, typer.Argument(help="The node: its id or name, or its instance's.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=500, help="So many, the newest.")]
Rows = Annotated[
    int,
    typer.Option(
        "--limit", "-n", min=1, max=500, help="So many: the newest sessions, the first events."
    ),
]
After = Annotated[str, typer.Option(help="Where the page before ended, as it says.")]

_TWO: Final = "two programs send for it"
_NODES: Final = (
    Column("node"),
    Column("name"),
    Column("contact"),
    Column("lets out"),
    Column("stored", drop=2),
    Column("refused", drop=1),
    Column("version", drop=3),
)
_SENDERS: Final = (
    Column("sender"),
    Column("version"),
    Column("first heard", drop=1),
    Column("last heard"),
    Column("state"),
)


@app.command("list")
def list_nodes(
    account: Annotated[str, typer.Option(help="Only this account's; operators only.")] = "",
    as_json: bool = JSON_OPTION,
) -> None:
    """List observed nodes with their contact."""
    nodes: NodeList = connect().every("content.nodes", query={"account": account})
    found = nodes.items
    rows = (
        (
            one.id, one.title or one.name, _contact(one), ", ".join(one.classes) or "nothing",
            f"{one.stored_bytes:,} B", f"{one.refused_bytes:,} B", one.version,
        )
        for one in found
    )  # fmt: skip
    show_list(found, _NODES, rows, empty="No node was heard.", as_json=as_json)
    for one in found if not as_json else ():
        if one.second_sender:
            why = "who was chosen to send is silent" if one.sender_silent else _TWO
            say(f"{one.title or one.name}: {why}: holdfast nodes show {one.id}")


def _contact(one: NodeView) -> str:
    return f"{'online' if one.online else 'silent'}, heard {ago(one.heard_at)}"


@app.command("show")
def show_node(name: Name, as_json: bool = JSON_OPTION) -> None:
    """Show a node: its contact, what is stored and refused, and who sends for it."""
    plane = connect()
    found: NodeDetail = plane.call("content.node", path={"id": resolve_node(plane, name)})
    _show(found, as_json=as_json)


def _show(found: NodeDetail, *, as_json: bool) -> None:
    if as_json:
        show_json(found)
        return
    node = found.node
    stored = (f"{one.rows:,} rows of {one.of}" for one in found.stored)
    refused = (f"{one.requests:,} of {one.of} ({one.why})" for one in found.refused)
    show_facts(
        (
            ("node", node.id),
            ("name", node.title or node.name),
            ("instance", node.instance),
            ("contact", _contact(node)),
            ("lets out", ", ".join(node.classes) or "nothing"),
            ("stored", ", ".join(stored)),
            ("refused", ", ".join(refused)),
        )
    )
    rows = (
        (one.id, one.version, ago(one.first_at), ago(one.heard_at), one.state)
        for one in found.senders
    )
    show_table(_SENDERS, rows, empty="Nobody has sent anything for it.")
    if node.second_sender:
        why = "Who was chosen to send for it is silent" if node.sender_silent else _TWO.capitalize()
        say(f"{why}; choose one: holdfast nodes sender {node.id} SENDER")


@app.command()
def sender(
    name: Name,
    chosen: Annotated[str, typer.Argument(metavar="SENDER", help="The sender's id.")],
    as_json: bool = JSON_OPTION,
) -> None:
    """Choose which of two programs sends for a node; what the other sends is refused."""
    plane = connect()
    path = {"id": resolve_node(plane, name)}
    _show(
        plane.call("content.choose-sender", path=path, body=SenderChoice(sender=chosen)),
        as_json=as_json,
    )


@app.command()
def logs(
    name: Name,
    text: Annotated[str, typer.Option(help="Only lines with this text, in any case.")] = "",
    level: Annotated[
        str, typer.Option(help=f"As bad as this or worse: {', '.join(get_args(LogLevel))}.")
    ] = "",
    limit: Limit = 100,
    after: After = "",
    as_json: bool = JSON_OPTION,
) -> None:
    """Show a node's log lines, the newest last; search them."""
    if level and level not in get_args(LogLevel):
        fail(f"--level {level!r}: want {', '.join(get_args(LogLevel))}", code=EXIT_USAGE)
    plane = connect()
    path = {"id": resolve_node(plane, name)}
    asked = {"text": text, "level": level, "limit": str(limit), "after": after}
    query = {key: value for key, value in asked.items() if value}
    found: LogList = plane.call("content.logs", path=path, query=query)
    if as_json:
        show_json(found)
        return
    for line in reversed(found.items):
        show(f"{line.at}  {line.level or '-':5}  {line.message or line.text}")
    if not found.items:
        say("No line matches." if text or level else "There are no log lines in the clear.")
    if found.next:
        say(f"looked back to {found.looked_to}; go on with --after {found.next}")
    _say_sealed(plane, path, "logs")


def _say_sealed(plane: Connection, path: dict[str, str], of: ContentClass) -> None:
    """Say how much of a class is sealed, where any is."""
    found: NodeDetail = plane.call("content.node", path=path)
    for one in found.sealed:
        if one.of == of:
            size = f"{one.bytes:,} B, the last {ago(one.last_at)}"
            say(f"sealed uploads of {of}: {one.rows:,} ({size}); a browser with the key opens them")


@app.command()
def memory(
    name: Name,
    file: Annotated[str, typer.Argument(help="Only this file: its newest version.")] = "",
    as_json: bool = JSON_OPTION,
) -> None:
    """List a node's memory files; of one, show the newest version and when it changed."""
    plane = connect()
    path = {"id": resolve_node(plane, name)}
    if file:
        _show_file(plane, path, file, as_json=as_json)
        return
    found: MemoryList = plane.every("content.memory", path=path)
    columns = (Column("file"), Column("versions"), Column("bytes"), Column("last change"))
    rows = (
        (one.path, str(one.versions), f"{one.bytes:,}", ago(one.last_at))
        for one in found.items
        if one.path
    )
    empty = "There are no memory files in the clear."
    show_list(found, columns, rows, empty=empty, as_json=as_json)
    if not as_json:
        _say_sealed(plane, path, "memory")


def _show_file(plane: Connection, path: dict[str, str], file: str, *, as_json: bool) -> None:
    query = {"path": file, "limit": "50"}
    found: MemoryVersions = plane.call("content.versions", path=path, query=query)
    if as_json:
        show_json(found)
        return
    if not found.items:
        fail(f"no memory file {file!r} in the clear", fix="leave it out to list them")
    show(found.items[0].content)
    for one in found.items:
        say(f"version of {one.at}: {len(one.content):,} characters")


@app.command()
def cron(name: Name, as_json: bool = JSON_OPTION) -> None:
    """Show a node's cron jobs with their next and last run and its result."""
    plane = connect()
    path = {"id": resolve_node(plane, name)}
    found: CronList = plane.every("content.cron", path=path)
    columns = (
        Column("job"), Column("schedule", drop=1), Column("next run"), Column("last run"),
        Column("result"), Column("took", drop=2),
    )  # fmt: skip
    rows = (
        (
            f"{one.name or one.id}{' (off)' if one.enabled is False else ''}",
            one.schedule,
            one.next_at or "",
            ago(one.last_at) if one.last_at else "never",
            " ".join(part for part in (one.result, one.error) if part),
            _took(one.took_ms),
        )
        for one in found.items
    )
    show_list(found, columns, rows, empty="There are no cron jobs in the clear.", as_json=as_json)
    if not as_json:
        _say_sealed(plane, path, "metadata")


@app.command()
def sessions(
    name: Name,
    session: Annotated[str, typer.Argument(help="Only this one, event by event.")] = "",
    limit: Rows = 100,
    after: After = "",
    as_json: bool = JSON_OPTION,
) -> None:
    """List a node's sessions, the newest first; of one, what was said and done."""
    plane = connect()
    path = {"id": resolve_node(plane, name)}
    query = {"limit": str(limit)} | ({"after": after} if after else {})
    if session:
        _show_turns(plane, path, {**query, "session": session}, as_json=as_json)
        return
    found: SessionList = plane.call("content.sessions", path=path, query=query)
    columns = (
        Column("session"), Column("title", least=16), Column("started by", drop=2),
        Column("model", drop=1), Column("events"), Column("last"),
    )  # fmt: skip
    rows = (
        (one.name, one.title, one.parent, one.model, f"{one.events:,}", ago(one.last_at))
        for one in found.items
    )
    show_list(found, columns, rows, empty="There are no sessions.", as_json=as_json)
    if as_json:
        return
    if found.next:
        say(f"go on with --after {found.next}")
    _say_sealed(plane, path, "metadata")


def _show_turns(
    plane: Connection, path: dict[str, str], query: dict[str, str], *, as_json: bool
) -> None:
    found: TurnList = plane.call("content.turns", path=path, query=query)
    if as_json:
        show_json(found)
        return
    for turn in found.items:
        said = "(sealed)" if turn.sealed else turn.text
        show(f"{turn.at}  {turn.role}{_calls(turn.calls)}  {said}")
    if not found.items:
        say("Nothing of this session is stored.")
    if found.next:
        say(f"go on with --after {found.next}")


def _calls(calls: Iterable[ToolCall]) -> str:
    """Return tool calls with how long each took: ` [exec 1.2 s]`."""
    named = (
        " ".join(part for part in (one.name, _took(one.took_ms), "failed" * one.failed) if part)
        for one in calls
    )
    said = ", ".join(named)
    return f" [{said}]" if said else ""


def _took(took_ms: int | None) -> str:
    return "" if took_ms is None else f"{took_ms / 1_000:.1f} s"
