"""The OpenClaw profile: installation, start, configuration and secrets."""
