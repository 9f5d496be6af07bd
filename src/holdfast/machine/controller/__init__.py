"""The controller: supervises the agent, answers health, proxies and checks in.

Its restart policy is data, decided in a pure file. It listens before it does
anything else, and keeps checking in while degraded.
"""
