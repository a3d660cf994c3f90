"""Who decides in an environment, and how episodes are driven."""
