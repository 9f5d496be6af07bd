"""The calls about configuration, files, doctor and start, each asked of the controller.

A handler checks who may see what and whether the controller can do it, asks, and says the answer
in the plane's words. What the controller refuses is refused with its own code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import structs

from holdfast.actors import calls
from holdfast.actors.ports import Reader
from holdfast.instances.views import INSTANCE_VIEW
from holdfast.wire.api.call import Call, Handler, Reply
from holdfast.wire.api.maintenance import (
    ENTRIES_MAX,
    ConfigChanged,
    ConfigPatch,
    ConfigReplace,
    ConfigRestore,
    ConfigVersion,
    ConfigVersions,
    ConfigView,
    DoctorRun,
    FileEntry,
    FileList,
    FileText,
    FileWrite,
    FileWritten,
    Retried,
)
from holdfast.wire.controller.calls import (
    ChangeAnswer,
    ConfigAnswer,
    ControllerError,
    Controllers,
    DoctorAnswer,
    EtagAnswer,
    Node,
    OkAnswer,
    RetryAnswer,
    T,
    TextAnswer,
    TreeAnswer,
    VersionsAnswer,
    refusal_of,
)

_PREFIX: Final = "/_kilo/"


def care_handlers(reader: Reader, controllers: Controllers) -> Mapping[str, Handler]:
    """Return a handler for each row about looking after an agent."""
    made = CareCalls(reader, controllers)
    return {
        "config.get": made.config,
        "config.versions": made.versions,
        "config.replace": made.replace,
        "config.patch": made.patch,
        "config.restore": made.restore,
        "files.list": made.list_files,
        "files.read": made.read_file,
        "files.write": made.write_file,
        "doctor.run": made.doctor,
        "doctor.start": made.start_doctor,
        "doctor.cancel": made.cancel_doctor,
        "bootstrap.retry": made.retry,
    }


class CareCalls:
    """The handlers over their parts."""

    def __init__(self, reader: Reader, controllers: Controllers) -> None:
        """Know instances by `reader`, and ask their controllers."""
        self._reader = reader
        self._controllers = controllers

    # -- configuration

    async def config(self, call: Call) -> Reply:
        """Show the configuration."""
        found = await self._ask(call, "config.read", "GET", "config/read", ConfigAnswer)
        return Reply(ConfigView(config=found.config, etag=found.etag, plain=found.plain))

    async def versions(self, call: Call) -> Reply:
        """Show the earlier ones."""
        found = await self._ask(call, "config.versions", "GET", "config/versions", VersionsAnswer)
        rows = tuple(ConfigVersion(**structs.asdict(row)) for row in found.versions)
        return Reply(ConfigVersions(versions=rows))

    async def replace(self, call: Call) -> Reply:
        """Put another in its place."""
        body: ConfigReplace = call.body
        sent: dict[str, Any] = {"config": body.config}
        if body.etag:
            sent["etag"] = body.etag
        return await self._change(call, "config.replace", "config/replace", sent, force=body.force)

    async def patch(self, call: Call) -> Reply:
        """Merge into it; with an etag only into the one that it names."""
        body: ConfigPatch = call.body
        query = {"etag": body.etag} if body.etag else {}
        return await self._change(
            call, "config.patch", "config/patch", body.patch, force=body.force, query=query
        )

    async def restore(self, call: Call) -> Reply:
        """Put an earlier one back."""
        body: ConfigRestore = call.body
        path = f"config/restore/{body.version}"
        return await self._change(call, "config.restore", path, None, force=body.force)

    async def _change(
        self,
        call: Call,
        capability: str,
        path: str,
        sent: Any,
        *,
        force: bool,
        query: Mapping[str, str] | None = None,
    ) -> Reply:
        asked = {**(query or {}), **({"force": "true"} if force else {})}
        done = await self._ask(call, capability, "POST", path, ChangeAnswer, query=asked, body=sent)
        return Reply(ConfigChanged(etag=done.etag, changed=done.changed))

    # -- files

    async def list_files(self, call: Call) -> Reply:
        """List what lies below a folder."""
        query = {name: call.query[name] for name in ("path", "depth") if name in call.query}
        found = await self._ask(call, "files.tree", "GET", "files/tree", TreeAnswer, query=query)
        entries = tuple(_flat(found.tree))
        truncated = found.truncated or len(entries) > ENTRIES_MAX
        return Reply(FileList(entries=entries[:ENTRIES_MAX], truncated=truncated))

    async def read_file(self, call: Call) -> Reply:
        """Show a text file."""
        path = call.query["path"]
        found = await self._ask(
            call, "files.read", "GET", "files/read", TextAnswer, query={"path": path}
        )
        return Reply(FileText(path=path, content=found.content, etag=found.etag))

    async def write_file(self, call: Call) -> Reply:
        """Write a text file."""
        body: FileWrite = call.body
        sent: dict[str, Any] = {"path": body.path, "content": body.content}
        if body.etag:
            sent["etag"] = body.etag
        if body.create:
            sent["create"] = True
        done = await self._ask(call, "files.write", "POST", "files/write", EtagAnswer, body=sent)
        return Reply(FileWritten(path=body.path, etag=done.etag))

    # -- doctor and start

    async def doctor(self, call: Call) -> Reply:
        """Show the last run."""
        return Reply(await self._doctor(call, call.query.get("after", "0")))

    async def start_doctor(self, call: Call) -> Reply:
        """Start a run."""
        sent = {"fix": call.body.fix}
        await self._ask(call, "doctor.run", "POST", "doctor/start", OkAnswer, body=sent)
        return Reply(await self._doctor(call, "0"))

    async def cancel_doctor(self, call: Call) -> Reply:
        """End the run that goes on."""
        await self._ask(call, "doctor.run", "POST", "doctor/cancel", OkAnswer)
        return Reply(await self._doctor(call, "0"))

    async def _doctor(self, call: Call, after: str) -> DoctorRun:
        found = await self._ask(
            call, "doctor.run", "GET", "doctor/status", DoctorAnswer, query={"after": after}
        )
        return DoctorRun(
            status=found.status or "",
            run_id=found.run_id,
            fix=found.fix,
            started_at=found.started_at,
            finished_at=found.finished_at,
            exit_code=found.exit_code,
            error=found.error or "",
            output=found.output,
            truncated=found.output_truncated,
            next=found.next_offset,
        )

    async def retry(self, call: Call) -> Reply:
        """Go on with the start."""
        done = await self._ask(call, "bootstrap.retry", "POST", "bootstrap/retry", RetryAnswer)
        return Reply(Retried(phase=done.phase))

    # -- asking

    async def _ask(
        self,
        call: Call,
        capability: str,
        method: str,
        path: str,
        answer: type[T],
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> T:
        """Ask the controller of an instance that the caller may see; raise Refusal."""
        instance = self._visible(call)
        try:
            _must_have(capability, await self._controllers.capabilities(instance))
            return await self._controllers.call(
                instance, method, _PREFIX + path, answer, query=query, body=body
            )
        except ControllerError as error:
            raise refusal_of(error) from error

    def _visible(self, call: Call) -> str:
        instance = call.path["id"]
        calls.visible(call, self._reader, INSTANCE_VIEW, instance, noun="instance")
        return instance


def _must_have(capability: str, announced: frozenset[str]) -> None:
    if capability not in announced:
        raise ControllerError("too_old", f"It does not announce {capability}.")


def _flat(nodes: tuple[Node, ...]) -> Iterator[FileEntry]:
    for node in nodes:
        yield FileEntry(path=node.path, type=node.type, more=node.truncated)
        yield from _flat(node.children)
