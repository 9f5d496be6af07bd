"""The engine: mailbox, tick, alarms, dispatch, lease and rehearsal.

It knows no domain word. The live loop, the dry run, the replay and the simulator
call the same pure tick, which is why a preview cannot differ from what follows.
It must never import a subject (instances, towns, billing, consent).
"""
