"""What a package of its own adds to wmloop: an environment, a world model, an agent, a pipeline and an engine."""
