"""Faces of other SDKs on ours, so that programs written for them run unchanged.

One module for each. A face translates calls and answers; it holds no state and makes no decision
of its own, and what it does not support it refuses by name. Standard library only.
"""
