"""Pairing requests of an instance's agent: decisions about them, by people and by rules.

One actor per instance, with the instance's id, holds the policy, and every decision until no list
can contain the decided request any more. Waiting requests are not in the state: they are read from
the machine and cached in memory (`inbox`). A request is decided by a person, or by a rule of the
instance's own policy.
"""
