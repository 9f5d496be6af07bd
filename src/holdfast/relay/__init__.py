"""Tunnels between two connections: what a proxy is after the upgrade, on either side of the wire.

The machine's controller and the plane both stand between a browser and an agent, and do the same
there: pass on the upgrade, then bytes. It knows no product word and decides nothing about who may
pass; it must never read what goes through.
"""
