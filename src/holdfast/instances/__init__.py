"""One agent and its machine: desired and observed state, and how they meet.

A subject: state, events, apply, reconcile, actions, invariants, views and ports are
pure; effects and handlers touch the world. It must never import another subject.
"""
