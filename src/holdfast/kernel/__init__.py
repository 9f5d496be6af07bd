"""Words everything shares: typed ids, clock port, outcome, backoff, secret.

Pure, and standard library only, because every other room stands on it: the SDK
inside somebody's agent as much as the plane. It must never import another room.
"""
