"""The tools of a town's agents by the Model Context Protocol, over stdio (extra `towns`)."""
