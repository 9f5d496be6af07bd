"""The engine: mailbox, tick, alarms, dispatch, lease and rehearsal.

It contains no domain term and imports no subject (instances, towns, billing, consent). The live
loop, the dry run, the replay and the simulator call the same pure tick, which is why a preview
cannot differ from the tick that follows.
"""
