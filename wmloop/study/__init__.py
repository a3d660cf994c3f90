"""A study: rows, each a way to train, by seeds, all within the same limits, and the table that comes of it."""
