"""Which agent of a run is served, and how it is loaded."""
