"""Pairing requests of the agent, and decisions about them.

Depending on its release an agent keeps them in files, in a database, behind its socket or its
command line; `openclaw/` has a source for each, chosen by the agent's version. The cache is a value
(`state`, changed by `apply`, read by `views`), and so is the schedule of reads (`schedule`). It
must never show a request that was approved or dismissed, and never report an empty list when the
state is unknown.
"""
