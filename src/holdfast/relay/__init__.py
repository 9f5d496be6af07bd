"""HTTP/1.1 and WebSockets passed on as bytes: what a proxy is, on either side of the wire.

The machine's controller and the plane both stand between a browser and an agent, and do the same
there: read a head strictly, write it anew, and pass on the bytes behind it. It knows no product
word and decides nothing about who may pass; it must never read what goes through, nor take where
it connects to from a request.
"""
