"""Where a new instance runs and how large its machine is: what may be chosen, and what is refused.

What is asked for and cannot be given is refused: a size that nothing enforces would be a promise.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from holdfast.wire.api.call import Refusal


class Offer(Struct, frozen=True, kw_only=True):
    """What a cloud offers: whether machines get the size asked for, and all its regions.

    Without regions it has some that are not known here, and refuses by itself.
    """

    sizes: bool
    regions: tuple[str, ...] = ()


class Placement(Struct, frozen=True, kw_only=True):
    """Where new instances go if nothing else is asked, and what each cloud offers, by its name."""

    cloud: str
    region: str
    offers: Mapping[str, Offer]

    def choose(self, cloud: str, region: str) -> tuple[str, str]:
        """Return the cloud and the region of a new instance; refuse (400) what there is not."""
        chosen = cloud or self.cloud
        offer = self.offers.get(chosen)
        if offer is None:
            text = f"No cloud is called {chosen!r} here."
            fix = f"Choose one of: {', '.join(sorted(self.offers))}."
            raise Refusal(400, "unknown_cloud", text, field="cloud", fix=fix)
        if not region:
            return chosen, self.region if chosen == self.cloud else ""
        if offer.regions and region not in {*offer.regions, self.region}:
            text = f"The cloud {chosen!r} has no region {region!r}."
            fix = f"Choose one of: {', '.join(offer.regions)}; or leave it out."
            raise Refusal(400, "unknown_region", text, field="region", fix=fix)
        return chosen, region

    def check_size(self, cloud: str, *, cpus: int | None, memory_mb: int | None) -> None:
        """Refuse (400) a size on a cloud that does not enforce one."""
        offer = self.offers.get(cloud)
        if (cpus or memory_mb) and (offer is None or not offer.sizes):
            text = f"Machines of the cloud {cloud!r} share its host, and no size is enforced."
            field = "cpus" if cpus else "memory_mb"
            raise Refusal(400, "size_not_enforced", text, field=field, fix="Leave it out.")
