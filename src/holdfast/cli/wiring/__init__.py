"""Adds a recording hook to another agent's configuration, and removes it.

The files belong to their owner. An edit adds or removes one entry and leaves every other byte as it
was: comments, order, indentation and line ends. Each edit is parsed and compared with the intended
value before it is written; if that fails nothing is written, and the person is shown what to add by
hand. Only recording is ever wired: the SDK sends by itself.
"""
