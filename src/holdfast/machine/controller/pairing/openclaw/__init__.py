"""Pairing of OpenClaw: its stores, its WebSocket, its command line, its own client."""
