"""Brain: lets an agent record corrections locally and have them on the dashboard.

Standard library only, and it does not import wire: a contract test compares the two.
It must never raise into, or slow, the agent that uses it.
"""
