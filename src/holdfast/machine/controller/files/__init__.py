"""The agent's state folder, looked at and written from outside, and nothing beyond it.

The agent works in that folder meanwhile and may not mean well: every step of a path is opened
without following a symbolic link, below the folder opened before it, so that there is nothing to
check first and use afterwards.
"""
