"""Interfaces of other SDKs, so that programs written for them run unchanged.

One module for each. An interface translates calls and answers; it holds no state and makes no
decision of its own, and refuses by name what it does not support. Standard library only.
"""
