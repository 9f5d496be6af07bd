"""The agent's own doctor as a job: one at a time, with output, a time limit and a record."""
