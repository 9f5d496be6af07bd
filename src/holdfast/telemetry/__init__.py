"""Check-ins, last contact and datasets.

A stream: what machines report goes to its own files and writer, and only a
transition (contact lost, regained, version changed, restarted) becomes an event.
It must never put an age or a sample into an actor's log.
"""
