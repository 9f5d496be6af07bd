"""Towns: agents that work through beads; one actor per town, kind `town`.

A town has rigs (repositories), agents (a mayor, polecats that work, a refinery that reviews) and
beads (issues, merge requests, convoys, escalations, messages). Its rules hand beads to agents,
review and land what they made, and recover what dies. What somebody wrote (titles, prompts, mail)
is never here: beads name their content by id. docs/towns.md has the rules and their numbers.
"""
