"""Types that every package shares: ids, clock, chance, outcome, backoff, secret, log, metrics.

Pure, and standard library only: it is imported by the SDK within an agent's process as well as by
the plane. It imports no other package of ours.
"""
