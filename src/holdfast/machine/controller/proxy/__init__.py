"""The proxy: every connection comes in here, control requests and the agent's own alike.

It reads the head of each request strictly, hands control requests to the routes, and passes the
rest on to the agent's loopback port, HTTP and WebSocket. Nothing is kept whole: bodies go through
as they come, in either direction, and a side that is slow slows the other. It must never look at
what goes through, nor pass on who the caller is said to be.
"""
