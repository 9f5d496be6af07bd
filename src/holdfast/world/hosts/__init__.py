"""Hosts: where the agents of towns run: the port, local processes, instances, and a twin in memory.

An attempt is started at most once, whatever is asked, lost or repeated. A host must never take one
that it cannot see for one that ended.
"""
