"""Learning algorithms, which know of no files, settings or environments."""
