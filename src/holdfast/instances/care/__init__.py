"""Looking after an agent from outside: questions and orders that its controller answers.

Nothing of it enters an actor's log: it is the machine's own, and the plane passes it on.
"""
