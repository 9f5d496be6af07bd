"""Who may talk to an instance's agent: requests, decisions and the rules that take them.

A subject of its own beside the instance: one actor each, known by the instance's id, that holds
the policy and every decision until no list can bring the decided request back. What waits is not
in it: that is asked of the machine and kept in memory (`inbox`). It never decides without a person
unless a rule of the instance's own policy says so.
"""
