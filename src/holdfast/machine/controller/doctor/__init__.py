"""The agent's own doctor as a job: one at a time, with its output, an end, and a record of it."""
