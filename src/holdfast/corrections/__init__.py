"""Corrections, lessons and events of brains: taken in, told apart, counted, and shown.

A stream: it has its own file and writer, so that a large upload never waits before the journal,
and answers a sender when what it sent is on the disk. It must never log what a text says, and
never believe an id that a sender made beyond its own account.
"""
