"""Agent profiles: how to start, probe and stop each supported agent program.

`demo` is bundled; `openclaw` is the production agent. A profile is data and pure functions.
"""
