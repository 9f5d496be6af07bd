"""Region lists, their order, and trying them for a volume.

A region that had no room is tried later, not struck off a shared list: one full host must not
shrink the fleet's choice for good. The order depends on a seed, so that instances spread and a
replay repeats. The functions are pure; only the walk calls the cloud.
"""

from __future__ import annotations

from typing import Final

from holdfast.kernel.backoff import fraction
from holdfast.kernel.ids import derive
from holdfast.kernel.outcome import Ok, Outcome, Permanent, Retryable
from holdfast.world.clouds.port import CAPACITY, INVALID, Cloud, Volume, VolumeSpec

META_REGIONS: Final = frozenset({"eu", "us"})
"""Names that stand for several regions; the provider chooses among them."""

_DROP_FROM: Final = 3
"""With this many distinct regions or more, a failed one is left out of this attempt."""


def parse_regions(text: str) -> tuple[str, ...]:
    """Return the regions of a comma list: trimmed, without empties, duplicates kept (a bias)."""
    return tuple(part for part in (piece.strip() for piece in text.split(",")) if part)


def order_regions(regions: tuple[str, ...], *seed: str | int) -> tuple[str, ...]:
    """Return the order to try: shuffled by the seed when any entry is a specific region.

    A list of meta regions only keeps its order, because it is a preference.
    """
    if all(region in META_REGIONS for region in regions):
        return regions
    keyed = [(fraction(*seed, place, name), place) for place, name in enumerate(regions)]
    return tuple(regions[place] for _, place in sorted(keyed))


def deprioritise(regions: tuple[str, ...], failed: str | None) -> tuple[str, ...]:
    """Return the list with the region that had no room left out, or last if few remain.

    Of three or more distinct regions all its entries are removed; of two it moves to the end; an
    only region stays, because a full region may have room again.
    """
    if failed is None or failed not in regions:
        return regions
    distinct = len(set(regions))
    if distinct == 1:
        return regions
    rest = tuple(region for region in regions if region != failed)
    if distinct >= _DROP_FROM:
        return rest
    return rest + tuple(region for region in regions if region == failed)


def volume_name(sandbox_id: str) -> str:
    """Return the volume's name: a full hash, so that no two sandboxes ever share one.

    30 characters of [a-z0-9_] are allowed; cutting an id to fit would let names collide, and a
    sweep by name would then delete another owner's data.
    """
    return f"hf_{derive('volume', sandbox_id)}"


async def create_volume_walking(
    cloud: Cloud,
    spec: VolumeSpec,
    regions: tuple[str, ...],
    *,
    idempotency_key: str,
    timeout_ms: int,
) -> Outcome[Volume]:
    """Create a volume in the first region that has room.

    Only a lack of capacity leads on to the next region; any other failure is returned at once. The
    last lack of capacity is returned if none has room.
    """
    answer: Outcome[Volume] = Permanent(INVALID, "regions: the list is empty; name at least one")
    for region in regions:
        placed = VolumeSpec(
            name=spec.name,
            region=region,
            size_gb=spec.size_gb,
            source_volume_id=spec.source_volume_id,
            size_hint=spec.size_hint,
        )
        answer = await cloud.create_volume(
            placed, idempotency_key=f"{idempotency_key}:{region}", timeout_ms=timeout_ms
        )
        if isinstance(answer, Ok) or not _lacks_capacity(answer):
            return answer
    return answer


def _lacks_capacity(answer: Outcome[Volume]) -> bool:
    return isinstance(answer, Retryable) and answer.code == CAPACITY
