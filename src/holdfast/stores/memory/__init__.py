"""In-memory stores: the same ports under the same contract suites, for tests and the simulator."""
