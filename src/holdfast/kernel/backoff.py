"""Exponential backoff with jitter that a replay can repeat.

Jitter is derived from a seed of the caller's instead of random numbers: spread over the fleet, yet
the same for the same attempt each time it is computed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from hashlib import blake2b
else:
    # hashlib would load OpenSSL, 4 MB in the processes that use the SDK; `_blake2` is built in.
    try:
        from _blake2 import blake2b
    except ImportError:
        from hashlib import blake2b

_FRACTION_BITS: Final = 53
_MAX_DOUBLINGS: Final = 62


def fraction(*seed: str | int) -> float:
    """Return a number in [0, 1) derived from the seed, uniform over seeds."""
    joined = "\x1f".join(str(part) for part in seed)
    digest = blake2b(joined.encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> (64 - _FRACTION_BITS)) / (1 << _FRACTION_BITS)


def spread_ms(width_ms: int, *seed: str | int) -> int:
    """Return a whole number of milliseconds in [0, width_ms) derived from the seed."""
    return int(fraction(*seed) * width_ms)


class Backoff(NamedTuple):
    """A growing wait: `first_ms`, times `factor` for each failure, never above `cap_ms`.

    `jitter` is the share of the wait that depends on the seed: 0.2 gives 80 to 100 % of it.
    """

    first_ms: int = 1_000
    factor: float = 2.0
    cap_ms: int = 300_000
    jitter: float = 0.2

    def delay_ms(self, failures: int, *seed: str | int) -> int:
        """Return the wait in milliseconds after `failures` failures in a row (1 is the first)."""
        doublings = min(max(failures, 1) - 1, _MAX_DOUBLINGS)
        full = min(self.first_ms * self.factor**doublings, self.cap_ms)
        return round(full * (1 - self.jitter * fraction("backoff", failures, *seed)))
