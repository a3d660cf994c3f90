"""Moving pictures for people: a window, the terminal, a video file, and the keys pressed there."""
