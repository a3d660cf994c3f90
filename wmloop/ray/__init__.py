"""The engine on Ray: whole episodes are driven by actors, one for each CPU of a cluster, with copies of the agent."""
