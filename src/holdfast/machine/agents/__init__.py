"""Profiles of what can be run in a machine: how to start it, probe it, stop it.

demo is bundled; openclaw is the real one. A profile is data and pure functions.
"""
