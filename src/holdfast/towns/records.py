"""What belongs to a town and is not an event: texts that people wrote, and settings of its rigs.

They are rows that can be erased: a bead names its title and text by an id, so deleting a text
changes no history. The port is here; the stores carry it out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, Protocol, TypeAlias

from msgspec import Struct, field

from holdfast.towns.state import Severity

TextKind: TypeAlias = Literal["bead", "convoy", "mail", "nudge", "escalation", "gate", "review"]


class Text(Struct, frozen=True, kw_only=True):
    """A text by its id: of a bead, a message, a gate's output."""

    id: str
    kind: TextKind
    title: str = ""
    body: str = ""
    made_ms: int = 0


class GateSetting(Struct, frozen=True, kw_only=True):
    """A check of a rig: its name and the command line that is run in a clone."""

    name: str
    command: tuple[str, ...]
    timeout_s: int = 600


class RigSettings(Struct, frozen=True, kw_only=True):
    """How a rig is worked on. `commands` are the command templates of roles, by role.

    `repository` is a folder of this host or an https address; `token` is its credential, sealed by
    the key ring for this rig of this town (`plane/rig_tokens.py` opens it). `forge` says whether
    pull requests are GitHub's or branches are merged by git.
    """

    rig: str
    repository: str
    branch: str = "main"
    forge: Literal["git", "github"] = "git"
    token: str = ""
    gates: tuple[GateSetting, ...] = ()
    commands: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])


class Notice(Struct, frozen=True, kw_only=True):
    """Something that the owner of a town was told: a code, the entity's key, and when last."""

    code: str
    about: str = ""
    severity: Severity = "medium"
    at_ms: int = 0


NOTICES_KEPT: Final = 200
"""Notices of a town that are kept, the newest."""


class TownRecords(Protocol):
    """The store of texts and settings of towns."""

    async def put_text(self, town: str, text: Text) -> None:
        """Keep a text; one with the same id stays as it is."""
        ...

    async def text(self, town: str, text: str) -> Text | None:
        """Return a text, None where it is unknown or was erased."""
        ...

    async def texts(self, town: str, ids: tuple[str, ...]) -> Mapping[str, Text]:
        """Return those of some texts that are there, by id."""
        ...

    async def drop_text(self, town: str, text: str) -> None:
        """Erase a text; one that is not there is erased."""
        ...

    async def put_rig(self, town: str, settings: RigSettings) -> None:
        """Keep the settings of a rig in place of those before."""
        ...

    async def rig(self, town: str, rig: str) -> RigSettings | None:
        """Return the settings of a rig."""
        ...

    async def rigs(self, town: str) -> tuple[RigSettings, ...]:
        """Return the settings of all rigs of a town, by name."""
        ...

    async def drop_rig(self, town: str, rig: str) -> None:
        """Erase the settings of a rig; ones that are not there are erased."""
        ...

    async def sealed(self) -> tuple[tuple[str, RigSettings], ...]:
        """Return the settings of all rigs that have a credential, each with its town."""
        ...

    async def reseal(self, town: str, rig: str, old: str, new: str) -> bool:
        """Put a credential in place of one; return False where that is another by now."""
        ...

    async def put_notice(self, town: str, notice: Notice) -> None:
        """Keep a notice in place of the one before with its code about the same entity."""
        ...

    async def notices(self, town: str) -> tuple[Notice, ...]:
        """Return the notices of a town, the newest first."""
        ...

    async def erase(self, town: str) -> int:
        """Erase all texts, settings and notices of a town; return how many rows there were."""
        ...
