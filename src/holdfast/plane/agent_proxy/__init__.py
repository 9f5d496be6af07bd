"""The agent proxy: each agent's own page, under a host name of its own.

A page served by an agent is as trustworthy as the agent, so it must never share a host with the
dashboard: cookies ignore ports, and scripts act with the session of the person signed in. The
dashboard redirects with a one-time code, which is exchanged for a cookie valid for this agent's
host only. Requests then go from the plane to the controller to the agent; neither the plane's
credentials nor their names reach the agent.
"""
