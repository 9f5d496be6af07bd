"""The registration of this machine: `~/.clawmetry/config.json`, as existing observers write it.

Five fields, mode 0600 (compat/clawmetry-daemon.md), so that our observer and an existing daemon
both start from it. One that is there is used again, also one that another program wrote.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from holdfast.kernel.clock import Clock
from holdfast.kernel.failure import reason
from holdfast.kernel.log import Log
from holdfast.kernel.secret import Secret
from holdfast.machine.content_key import key_of
from holdfast.machine.controller.observing import protocol
from holdfast.machine.controller.process import atomic_file
from holdfast.machine.observer import gate, limits, sealing
from holdfast.machine.observer.gate_file import Gate
from holdfast.machine.observer.questions import Reconnect, Register
from holdfast.machine.observer.sealing import Draw, Sealer
from holdfast.machine.observer.upload import Uploader

FOLDER: Final = protocol.REGISTRATION_FOLDER
FILE: Final = protocol.REGISTRATION_FILE
KEPT: Final = "registration.json"
"""Our own copy, in the observer's folder."""
KEY_PREFIX: Final = "cm_"
PLATFORM: Final = "Linux"


class Config(Struct, frozen=True):
    """What is read of `config.json`; other fields of it are left as they are."""

    api_key: str
    node_id: str
    platform: str = PLATFORM
    connected_at: str = ""
    encryption_key: str = ""

    def __repr__(self) -> str:
        """Return a form without the keys."""
        return f"Config({self.node_id!r})"


class NodeIdentity(Struct, frozen=True):
    """The name of this node, and what its content is sealed with."""

    node: str
    sealer: Sealer


class Registration:
    """The registration: read where it is there, asked for where it is not. One thread at a time.

    `config` is who this node is, `identity` what its content goes by. Where the agent can write
    `config.json`, a copy beside the queue says who we are, so that nothing that the agent does to
    that file ends heartbeats; only content waits for it, because its key is there.
    """

    def __init__(
        self,
        home: Path,
        *,
        kept: Path | None = None,
        draw: Draw,
        clock: Clock,
        log: Log,
    ) -> None:
        """Look in the home folder of the agent's user, and in the folder `kept` for our copy."""
        self._path = home / FOLDER / FILE
        self._home = home
        self._kept = None if kept is None else kept / KEPT
        self._draw = draw
        self._clock = clock
        self._log = log
        self._told = ""
        self.config: Config | None = None
        self.identity: NodeIdentity | None = None
        self.problem = ""
        self.refused = "the plane was not asked"

    @property
    def is_complete(self) -> bool:
        """Return whether both are known."""
        return self.config is not None and self.identity is not None

    def read(self) -> bool:
        """Read the files; return whether there is a registration. A damaged one is left alone."""
        shared = self._read_shared()
        if self._kept is None:
            return shared is not None and self._use(shared, shared)
        kept = self._read_kept(self._kept)
        if kept is None and self.config is not None:
            kept = self.config
            self._keep(kept)
        if kept is None:
            return False
        if shared is None and not self.problem and self._write(msgspec.structs.asdict(kept)):
            shared = kept
        if shared is not None and shared.encryption_key != kept.encryption_key:
            kept = msgspec.structs.replace(kept, encryption_key=shared.encryption_key)
            self._keep(kept)
        return self._use(kept, shared)

    def _use(self, config: Config, shared: Config | None) -> bool:
        """Be who `config` says, and seal with the key of `config.json`; return True."""
        self.config = config
        if shared is not None:
            sealer = Sealer(key_of(shared.encryption_key), draw=self._draw)
            self.identity = NodeIdentity(config.node_id, sealer)
        return True

    def _read_shared(self) -> Config | None:
        """Return what `config.json` says, with its key; None with `problem` for a damaged one."""
        self.problem = ""
        try:
            raw = atomic_file.read_file(self._path, limits.CONFIG_BYTES_MAX, below=self._home)
            config = msgspec.json.decode(raw, type=Config)
        except FileNotFoundError:
            return None
        except OSError as error:
            self.problem = reason(error)
            return None
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            self.problem = "not a registration: want a JSON object with api_key and node_id"
            return None
        if not config.api_key.startswith(KEY_PREFIX) or not config.node_id:
            self.problem = f"api_key: want one that begins with {KEY_PREFIX}, and a node_id"
            return None
        return config if config.encryption_key else self._with_key(raw, config)

    def _read_kept(self, path: Path) -> Config | None:
        """Return our own copy, None where there is none that can be used: we register again."""
        try:
            return msgspec.json.decode(path.read_bytes(), type=Config)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            self._log.warning("registration.copy_damaged", reason=reason(error))
            return None

    def _keep(self, config: Config) -> None:
        """Write our own copy; without it the next start registers again."""
        assert self._kept is not None
        try:
            atomic_file.write(self._kept, msgspec.json.encode(config))
        except OSError as error:
            self._log.error("registration.not_kept", path=str(self._kept), reason=reason(error))

    def _with_key(self, raw: bytes, config: Config) -> Config | None:
        """Give a registration that has none its key to seal with: content never leaves in clear."""
        try:
            fields: dict[str, Any] = json.loads(raw)
        except (ValueError, RecursionError):  # deeper, or a longer number, than Python reads
            self.problem = "not a registration: want a JSON object of texts"
            return None
        fields["encryption_key"] = sealing.make_key(self._draw)
        if not self._write(fields):
            return None
        return msgspec.structs.replace(config, encryption_key=fields["encryption_key"])

    def _write(self, fields: dict[str, Any]) -> bool:
        try:
            atomic_file.make_folder(self._path.parent)
            text = json.dumps(fields, indent=2) + "\n"
            atomic_file.write(self._path, text, below=self._home)
        except OSError as error:
            self.problem = reason(error)
            return False
        return True

    def key(self) -> Secret:
        """Return the node's key, empty before it is registered."""
        return Secret("" if self.config is None else self.config.api_key)

    def ensure(
        self, uploader: Uploader, gate_of_node: Gate, machine: Callable[[], Register]
    ) -> bool:
        """Register if need be, and pin the plane's key if none is; return whether both are done.

        A registration that is there is never replaced, also where the plane refuses it: whoever
        wants another removes the file, and our copy where there is one.
        """
        if not self.is_complete:
            self.read()
        if self.config is None and not (self.problem and self._kept is None):
            self._register(uploader, machine())
        if self.problem != self._told:
            self._told = self.problem
            if self.problem:
                self._log.warning(
                    "registration.damaged", path=str(self._path), reason=self.problem,
                    text="Content waits until it is right again, or removed.",
                )  # fmt: skip
        if self.config is None:
            return False
        if gate_of_node.pinned:
            return True
        return self._pin(uploader, gate_of_node, machine())

    def _register(self, uploader: Uploader, question: Register) -> None:
        reply = uploader.ask(question)
        fields = gate.read_fields(reply.status, reply.body) or {}
        api_key = gate.field(fields, "api_key", str, "")
        node_id = gate.field(fields, "node_id", str, "") or question.hostname
        if not api_key.startswith(KEY_PREFIX):
            told = reply.detail or f"HTTP {reply.status}, without a key"
            self.refused = told
            self._log.warning("registration.failed", reason=told)
            return
        at = datetime.fromtimestamp(self._clock.now_ms() / 1_000, tz=UTC)
        made = Config(
            api_key=api_key,
            node_id=node_id,
            connected_at=at.isoformat(timespec="seconds"),
            encryption_key=sealing.make_key(self._draw),
        )
        if self._kept is None:
            if not self._write(msgspec.structs.asdict(made)) or not self.read():
                return
        else:
            self._keep(made)
            self.config = made
            self.read()
        self._leave_url(gate.field(fields, "dashboard_url", str, ""))
        self._log.info("registration.done", node=node_id, source=question.source)

    def _leave_url(self, url: str) -> None:
        """Write where the owner looks at this node, for dashboards that ask the controller for it.

        Without the key to open what is sealed: whoever may ask the controller may be the plane.
        """
        path = self._path.parent / protocol.DASHBOARD_FILE
        try:
            if url:
                atomic_file.write(path, f"{url}\n", below=self._home)
        except OSError as error:
            self._log.warning("registration.no_url", path=str(path), reason=reason(error))

    def _pin(self, uploader: Uploader, gate_of_node: Gate, machine: Register) -> bool:
        """Learn the plane's key and its id of this node, over the connection that has our key."""
        assert self.config is not None
        reply = uploader.ask(
            Reconnect(
                api_key=self.config.api_key,
                hostname=machine.hostname,
                machine_id=machine.machine_id,
                existing_node_id=self.config.node_id,
            )
        )
        fields = gate.read_fields(reply.status, reply.body) or {}
        key = gate.field(fields, "plane_key", str, "")
        node = gate.field(fields, "node", str, "")
        if not key or not node:
            self._log.warning(
                "registration.no_key", reason=reply.detail or f"HTTP {reply.status}",
                text="The plane named no key, so nothing can be allowed.",
            )  # fmt: skip
            return False
        problem = gate_of_node.pin(node, key)
        if problem:
            self._log.error("gate.not_pinned", reason=problem)
        return not problem
