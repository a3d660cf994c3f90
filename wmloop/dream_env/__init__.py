"""Environments of Gymnasium's: the dream, alone and in numbers, and reality as its world model sees it."""
