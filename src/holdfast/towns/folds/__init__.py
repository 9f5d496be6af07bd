"""The fold of a town, a file per group of events: the town, its work, its attempts, its reviews."""
