"""What only OpenClaw needs: how it is installed, started, configured and given its secrets."""
