"""Channel tokens and secrets of an instance: what they are called, and setting them.

They are kept sealed in the instance's own state and opened at the moment of a launch. No answer,
log or event holds a value.
"""
