"""wmloop: a World Models agent whose controller learns inside its own dream."""

__version__ = "0.1.0"
