"""Pairing as OpenClaw keeps it: its stores, its WebSocket, its command line, its own client."""
