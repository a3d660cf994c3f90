"""What all tests share."""

from hypothesis import settings

# A machine that is busy with other work is no reason to fail: nothing in the tests is timed.
settings.register_profile("wmloop", deadline=None)
settings.load_profile("wmloop")
