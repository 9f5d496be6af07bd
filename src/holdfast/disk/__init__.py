"""What is written to survive a loss of power; standard library only, and it knows no other package.

Every room may use it, the SDK's too. It must never decide what is written, or where.
"""
