"""The plane's public side of agents: each agent's own page, under a host name of its own.

A page that an agent serves is as trustworthy as the agent, so it must never share a host with the
dashboard: cookies ignore ports, and scripts act for whoever is signed in. A person is signed over
from the dashboard by a one-time code, and gets a cookie that is good for this agent's host alone.
Everything then goes plane, controller, agent; neither the plane's proofs nor what they are called
ever reach the agent.
"""
