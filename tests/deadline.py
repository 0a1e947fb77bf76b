"""The moment from which no longer test begins: `LONG_TESTS_UNTIL`, seconds since 1970.

CI is cut off at 90 minutes, and the same tests took 32 minutes on one of its machines and would have
taken two hours on another. `.ci/run` sets the moment; what is left out by then is told by name.
"""

from __future__ import annotations

import os
import time

import pytest

LEFT_OUT = "left out: the time that .ci/run has for the longer tests is over"


def is_over() -> bool:
    """Whether it has come."""
    until = os.environ.get("LONG_TESTS_UNTIL")
    return until is not None and time.time() > float(until)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave out a slow test that would begin after it."""
    if item.get_closest_marker("slow") and is_over():
        pytest.skip(LEFT_OUT)
