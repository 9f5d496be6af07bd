"""Outside systems: ports, real adapters and in-memory twins.

One contract suite runs on the twin and on the real adapter of each port. It must never decide
anything: policy belongs to the subjects.
"""
