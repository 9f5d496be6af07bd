"""The proxy: receives every connection, for control requests and for the agent.

It parses the head of each request strictly, passes control requests to the routes, and relays the
rest to the agent's loopback port, HTTP and WebSocket. Nothing is buffered whole: bodies are
streamed in both directions, with back pressure. It must never read the content, nor pass on headers
that claim who the caller is.
"""
