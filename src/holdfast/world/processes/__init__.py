"""Local processes, for clouds and hosts: identity, start barrier, confinement order, output files.

A process is signalled only after it was identified, and starts only after its record is on disk.
"""
