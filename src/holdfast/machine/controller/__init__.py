"""The controller: supervises the agent, answers health, proxies and checks in.

Its restart policy is data, applied by pure functions. It listens before anything else, and keeps
checking in while degraded.
"""
