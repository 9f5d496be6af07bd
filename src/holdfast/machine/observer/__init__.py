"""The observer: heartbeats always, content only after the owner's signed yes.

It reads what the agent writes and never blocks, locks or changes it. Every upload passes the gate,
which opens only by a grant that the pinned key of the plane signed. One module, `upload`, opens
connections; nothing else here may.
"""
