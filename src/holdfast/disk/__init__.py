"""Files shared by both sides: those that survive a loss of power, and the environment in /proc.

Standard library only, and it knows no other package. Every package may use it, the SDK's too. It
must never decide what is written, or where.
"""
