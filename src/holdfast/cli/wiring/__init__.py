"""Putting a recording hook into another agent's configuration, and taking it out again.

The files belong to their owner. An edit adds or removes one entry and leaves every other byte
where it was: comments, order, indentation and line ends. Each edit is read back and compared with
what it should mean before it is written; where that fails nothing is written, and the person is
shown what to add by hand. Only recording is ever wired: the SDK sends by itself.
"""
