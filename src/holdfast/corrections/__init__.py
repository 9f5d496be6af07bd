"""Corrections, lessons and events of brains: ingested, deduplicated, counted, and shown.

A stream with its own file and writer, so that a large upload does not delay the journal. A sender
is answered after its rows are durable. Texts are never logged, and an id made by a sender is valid
within its own account only.
"""
