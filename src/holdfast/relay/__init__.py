"""Relays HTTP/1.1 and WebSockets as bytes: the common part of both proxies.

The machine's controller and the plane both stand between a browser and an agent, and do the same
there: parse a head strictly, write it anew, and pass on the bytes behind it. It contains no product
terms and no access rules; it must never read the content, nor take the address it connects to from
a request.
"""
