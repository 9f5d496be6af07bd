"""Reading and writing the agent's state folder from outside, and nothing beyond it.

The agent changes that folder meanwhile and is not trusted: every step of a path is opened without
following symbolic links, relative to the folder opened before it, so that no check is separate from
its use.
"""
