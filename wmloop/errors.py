"""What can go wrong for a user: each message says what was wrong and what to do next."""

import difflib
from collections.abc import Sequence


class RenamedWarning(FutureWarning):
    """A setting was given by a name of earlier days, or is gone."""


class WmloopError(Exception):
    """Report a fault a user can act on; the CLI prints it as one line and exits with `exit_code` (cli.exits has all)."""

    exit_code = 1


class UsageError(WmloopError):
    """Report a setting, name or argument that does not fit; the message lists the choices."""

    exit_code = 2


class DivergedError(WmloopError):
    """Report a stage whose numbers stopped being finite, also after every allowed retry."""

    exit_code = 3


class StoreCorruptError(WmloopError):
    """Report a stored file that is damaged, foreign or of an unsupported format, by its name."""

    exit_code = 65


class DraftUnusableError(StoreCorruptError):
    """Report a draft that an interrupted attempt left and its stage cannot go on from; what is committed is sound."""


class StorageError(WmloopError):
    """Report a file system that refuses: full, read-only, out of file handles."""

    exit_code = 74


class RunLockedError(WmloopError):
    """Report a run that another process is writing, with its process id and host."""

    exit_code = 75


class EnvironmentFailedError(WmloopError):
    """Report a real environment (or its worker process) that died, hung or returned nonsense."""

    exit_code = 4


class RankLostError(WmloopError):
    """Report that another process of the same training, which torchrun began, has ended or cannot be reached."""

    exit_code = 69


class Interrupted(WmloopError):  # noqa: N818 - it is no fault: work stopped at a safe point because it was asked to
    """Unwind a stage after its snapshot was written because `should_stop` said so."""

    exit_code = 130


def nearest(word: object, choices: Sequence[str]) -> str:
    """Return ` (did you mean 'x'?)` for the nearest of `choices`, or nothing where none is near; `word` need be no text."""
    lower = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(str(word).lower(), lower, n=1, cutoff=0.5)
    return f" (did you mean {lower[near[0]]!r}?)" if near else ""
