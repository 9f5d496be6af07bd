"""Reports: what an operator is told of by another program, when it happens."""
