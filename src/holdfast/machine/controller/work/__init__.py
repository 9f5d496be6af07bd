"""Work of towns: attempts that this machine's agent is handed.

Records and fences are in the machine's own folder, clones and prompts in the agent's home. Whatever
reads a clone runs confined as the agent's programs are, because the agent could write its settings.
"""
