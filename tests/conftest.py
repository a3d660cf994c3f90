"""What all tests share."""

from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import settings

# A machine that is busy with other work is no reason to fail: nothing in the tests is timed.
settings.register_profile("wmloop", deadline=None)
settings.load_profile("wmloop")

_FIGURES = pytest.StashKey[list[tuple[str, str]]]()


@pytest.fixture
def torch_as_it_was() -> Iterator[None]:
    """Put back what `device.set_up` changes in the whole process."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    precision = torch.get_float32_matmul_precision()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)
    torch.set_float32_matmul_precision(precision)
    torch.set_flush_denormal(False)


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Return a function that notes what a test of a fault found, (fault, what was found), for docs/reliability.md."""
    return lambda fault, found: request.config.stash.setdefault(_FIGURES, []).append((fault, found))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was noted, if the long forms of the tests were asked for."""
    figures = terminalreporter.config.stash.get(_FIGURES, [])
    if figures and "faults" in terminalreporter.config.option.markexpr.replace("not faults", ""):
        terminalreporter.section("what the tests of faults found")
        for fault, found in figures:
            terminalreporter.write_line(f"{fault}: {found}")
