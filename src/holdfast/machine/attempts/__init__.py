"""Runs one attempt of a town agent: confined, limited, its output bounded and its end recorded.

It is a process of its own beside the agent, so that neither output nor exit code depends on a plane
that is there. It must never run a program with less confinement than was ordered.
"""
