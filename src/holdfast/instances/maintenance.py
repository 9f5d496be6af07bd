"""The calls about configuration, files, doctor and start, each asked of the controller.

A handler checks the caller's rights and that the controller has the feature, calls it, and converts
the answer to the plane's types. A refusal of the controller is passed on with its own code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from msgspec import UNSET

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
from holdfast.wire.controller.calls import ControllerError, Controllers, refusal_of
from holdfast.wire.controller.config import (
    CONFIG_PATCH,
    CONFIG_READ,
    CONFIG_REPLACE,
    CONFIG_RESTORE,
    CONFIG_VERSIONS,
    ETAG,
    FORCE,
    VERSION,
    ReplaceOrder,
)
from holdfast.wire.controller.doctor import (
    AFTER,
    DOCTOR_CANCEL,
    DOCTOR_START,
    DOCTOR_STATUS,
    DoctorOrder,
)
from holdfast.wire.controller.endpoint import A, B, ControllerEndpoint
from holdfast.wire.controller.files import FILES_READ, FILES_TREE, FILES_WRITE, Node, WriteOrder
from holdfast.wire.controller.machine import BOOTSTRAP_RETRY


def maintenance_handlers(reader: Reader, controllers: Controllers) -> Mapping[str, Handler]:
    """Return a handler for each row about looking after an agent."""
    made = MaintenanceCalls(reader, controllers)
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


class MaintenanceCalls:
    """The handlers over their parts."""

    def __init__(self, reader: Reader, controllers: Controllers) -> None:
        """Look instances up in `reader`, and call their controllers."""
        self._reader = reader
        self._controllers = controllers

    # -- configuration

    async def config(self, call: Call) -> Reply:
        """Show the configuration."""
        found = await self._ask(call, CONFIG_READ)
        return Reply(ConfigView(config=found.config, etag=found.etag, plain=found.plain))

    async def versions(self, call: Call) -> Reply:
        """Show the earlier ones."""
        found = await self._ask(call, CONFIG_VERSIONS)
        rows = tuple(
            ConfigVersion(
                etag=row.etag,
                at=row.at,
                origin=row.origin,
                verdict=row.verdict,
                verdict_at=row.verdict_at or None,
                reason=row.reason or "",
            )
            for row in found.versions
        )
        return Reply(ConfigVersions(versions=rows))

    async def replace(self, call: Call) -> Reply:
        """Put another in its place."""
        body: ConfigReplace = call.body
        sent = ReplaceOrder(config=body.config, etag=body.etag or UNSET)
        done = await self._ask(call, CONFIG_REPLACE, query=_force(body.force), body=sent)
        return Reply(ConfigChanged(etag=done.etag, changed=done.changed))

    async def patch(self, call: Call) -> Reply:
        """Merge into it; with an etag only into the one that it names."""
        body: ConfigPatch = call.body
        query = {**({ETAG.name: body.etag} if body.etag else {}), **_force(body.force)}
        done = await self._ask(call, CONFIG_PATCH, query=query, body=body.patch)
        return Reply(ConfigChanged(etag=done.etag, changed=done.changed))

    async def restore(self, call: Call) -> Reply:
        """Put an earlier one back."""
        body: ConfigRestore = call.body
        path = {VERSION.name: body.version}
        done = await self._ask(call, CONFIG_RESTORE, path=path, query=_force(body.force))
        return Reply(ConfigChanged(etag=done.etag, changed=done.changed))

    # -- files

    async def list_files(self, call: Call) -> Reply:
        """List what lies below a folder."""
        given = (param.name for param in FILES_TREE.params if param.name in call.query)
        found = await self._ask(call, FILES_TREE, query={name: call.query[name] for name in given})
        entries = tuple(_flat(found.tree))
        truncated = found.truncated or len(entries) > ENTRIES_MAX
        return Reply(FileList(entries=entries[:ENTRIES_MAX], truncated=truncated))

    async def read_file(self, call: Call) -> Reply:
        """Show a text file."""
        path = call.query["path"]
        found = await self._ask(call, FILES_READ, query={"path": path})
        return Reply(FileText(path=path, content=found.content, etag=found.etag))

    async def write_file(self, call: Call) -> Reply:
        """Write a text file."""
        body: FileWrite = call.body
        sent = WriteOrder(
            path=body.path, content=body.content, etag=body.etag or UNSET, create=body.create
        )
        done = await self._ask(call, FILES_WRITE, body=sent)
        return Reply(FileWritten(path=body.path, etag=done.etag))

    # -- doctor and start

    async def doctor(self, call: Call) -> Reply:
        """Show the last run."""
        return Reply(await self._doctor(call, call.query.get("after", "0")))

    async def start_doctor(self, call: Call) -> Reply:
        """Start a run."""
        await self._ask(call, DOCTOR_START, body=DoctorOrder(fix=call.body.fix))
        return Reply(await self._doctor(call, "0"))

    async def cancel_doctor(self, call: Call) -> Reply:
        """End the run that goes on."""
        await self._ask(call, DOCTOR_CANCEL)
        return Reply(await self._doctor(call, "0"))

    async def _doctor(self, call: Call, after: str) -> DoctorRun:
        found = await self._ask(call, DOCTOR_STATUS, query={AFTER.name: after})
        return DoctorRun(
            status=found.status or "",
            run_id=found.run_id or "",
            fix=found.fix is not False,
            started_at=found.started_at or None,
            finished_at=found.finished_at or None,
            exit_code=None if found.exit_code is UNSET else found.exit_code,
            error=found.error or "",
            output=found.output,
            truncated=found.output_truncated or False,
            next=found.next_offset,
        )

    async def retry(self, call: Call) -> Reply:
        """Go on with the start."""
        done = await self._ask(call, BOOTSTRAP_RETRY)
        return Reply(Retried(phase=done.phase))

    # -- asking

    async def _ask(
        self,
        call: Call,
        endpoint: ControllerEndpoint[B, A],
        *,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        body: B | None = None,
    ) -> A:
        """Ask the controller of an instance that the caller may see; raise Refusal."""
        instance = await self._visible(call)
        try:
            _must_have(endpoint.capability, await self._controllers.capabilities(instance))
            return await self._controllers.call(
                instance, endpoint, path=path, query=query, body=body
            )
        except ControllerError as error:
            raise refusal_of(error) from error

    async def _visible(self, call: Call) -> str:
        instance = call.path["id"]
        await calls.visible(call, self._reader, INSTANCE_VIEW, instance, noun="instance")
        return instance


def _must_have(capability: str, announced: frozenset[str]) -> None:
    if capability not in announced:
        raise ControllerError("too_old", f"It does not announce {capability}.")


def _force(force: bool) -> dict[str, str]:  # noqa: FBT001  the one thing it is about
    return {FORCE.name: "true"} if force else {}


def _flat(nodes: Iterable[Node]) -> Iterator[FileEntry]:
    for node in nodes:
        yield FileEntry(path=node.path, type=node.type, more=node.truncated or False)
        yield from _flat(node.children or ())
