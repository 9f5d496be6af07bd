"""Makes what answers about costs, and the price list in force.

That is the list of the package, and the operator's own file over it.

The file is looked at again while the plane runs. One that is not valid changes nothing: the list
before it stays, and the costs, the log and the doctor say what is wrong.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import holdfast.content
from holdfast.content.cost_calls import CostCalls
from holdfast.content.costing import Costing, PriceNow
from holdfast.content.directory import Directory
from holdfast.content.ports import Consents, ContentStore
from holdfast.content.prices import PriceError, Prices, over, parse_prices
from holdfast.kernel.failure import reason
from holdfast.letters.names import NameOf
from holdfast.plane.wiring.core import Core
from holdfast.plane.wiring.holder import PRICES_FILE
from holdfast.plane.wiring.part import Part, every
from holdfast.wire.api.plane import DoctorCheck
from holdfast.wire.limits import REASON_MAX

PRICES_S: Final = 5.0
"""Between two looks at the operator's file, in seconds."""

_SHIPPED: Final = Path(holdfast.content.__file__).with_name("prices.toml")
_BYTES_MAX: Final = 1_048_576


def shipped_prices() -> Prices:
    """Return the list of the package."""
    return parse_prices(_SHIPPED.read_text())


class PriceFile:
    """The list in force, `now`, and the file that changes it; `changed` is called when it did."""

    def __init__(self, home: Path) -> None:
        """Read both lists."""
        self.changed: Callable[[], object] = lambda: None
        self._path = home / PRICES_FILE
        self._shipped = shipped_prices()
        self._seen: tuple[int, int, int] | None = None
        self.now = PriceNow(self._shipped, "")
        self._read()

    async def read_again(self) -> None:
        """Read the file, if it is another."""
        before = self.now.prices
        await asyncio.to_thread(self._read)
        if self.now.prices is not before:
            self.changed()

    def _read(self) -> None:
        try:
            found = self._path.stat()
        except (FileNotFoundError, NotADirectoryError):
            self._seen, self.now = None, PriceNow(self._shipped, "")
            return
        except OSError as error:
            self._fail(f"cannot be read: {reason(error)}")
            return
        seen = (found.st_mtime_ns, found.st_size, found.st_ino)
        if seen == self._seen:
            return
        try:
            own = parse_prices(self._text(found))
        except (PriceError, OSError, UnicodeDecodeError) as error:
            self._fail(str(error) if isinstance(error, PriceError) else reason(error))
        else:
            self.now = PriceNow(over(own, self._shipped), "")
        self._seen = seen

    def _text(self, found: os.stat_result) -> str:
        if not stat.S_ISREG(found.st_mode):
            raise PriceError("it is not a plain file; put the prices into one")
        if found.st_size > _BYTES_MAX:
            raise PriceError(f"it has {found.st_size} bytes; want {_BYTES_MAX} at most")
        return self._path.read_text()

    def _fail(self, text: str) -> None:
        self.now = PriceNow(self.now.prices, f"{PRICES_FILE}: {text}"[:REASON_MAX])

    async def check(self) -> DoctorCheck:
        """Return whether the operator's file is in force."""
        prices, trouble = self.now
        if trouble:
            return DoctorCheck(
                name="prices",
                result="failed",
                message=f"{trouble}. The prices before it are in force.",
                fix=f"mend {self._path}; it is read again within {PRICES_S:.0f} s",
            )
        return DoctorCheck(name="prices", result="ok", message=f"prices of {prices.version}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What answers about costs, made and not yet started."""

    prices: PriceFile
    costing: Costing
    part: Part


def make_costs(
    core: Core,
    store: ContentStore,
    directory: Directory,
    consents: Consents,
    *,
    keep_ms: int,
    name_of: NameOf,
) -> Costs:
    """Make what answers about costs of nodes, whose numbers are kept for `keep_ms`."""
    file = PriceFile(core.home)
    costing = Costing(store, consents, lambda: file.now)
    calls = CostCalls(costing, directory, keep_ms=keep_ms, name_of=name_of)
    part = Part(
        name="costs",
        handlers=calls.by_endpoint(),
        jobs=(every("costs.prices", file.read_again, PRICES_S, core.log, first_s=PRICES_S),),
        checks=(file.check,),
    )
    return Costs(prices=file, costing=costing, part=part)
