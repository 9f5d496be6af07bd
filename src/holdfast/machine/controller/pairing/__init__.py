"""Who waits to be let in to the agent, and letting them in.

What an agent keeps of pairing lies in files, in a database, behind its socket or behind its
command line, depending on the release; `source_*` read each of them, and which is read is decided
by the agent's version. The cache is a value (`state`, changed by `apply`, read by `views`), when to
look again is a value too (`policy`). It must never show a request that was approved or dismissed,
and never say that nobody waits when it does not know.
"""
