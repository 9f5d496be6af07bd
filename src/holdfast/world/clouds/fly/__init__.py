"""Fly Machines: an app for each sandbox, with its own network, volume and machine."""
