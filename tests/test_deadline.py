"""On a slow machine longer tests are left out, by name; nothing else is."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from tests import deadline
from tests.command import REPOSITORY
from tests.waiting import LIMIT_SECONDS

TESTS = """
import pytest

def test_quick():
    pass

@pytest.mark.slow
def test_long():
    pass
"""


@pytest.mark.parametrize(
    ("more_seconds", "ended"), [(-1, "1 passed, 1 skipped"), (900, "2 passed")]
)
def test_a_longer_test_begins_after_the_moment_or_a_quick_one_does_not(
    tmp_path, monkeypatch, more_seconds, ended
):
    monkeypatch.setenv("LONG_TESTS_UNTIL", str(time.time() + more_seconds))
    (tmp_path / "test_both.py").write_text(TESTS, "utf-8")
    options = ["-p", "tests.deadline", "-p", "no:cacheprovider", "-rs", "-q", "-o", "markers=slow"]
    asked = [sys.executable, "-m", "pytest", *options, f"--rootdir={tmp_path}", tmp_path]
    said = subprocess.run(
        asked, cwd=REPOSITORY, capture_output=True, text=True, timeout=LIMIT_SECONDS
    ).stdout
    assert ended in said
    assert (deadline.LEFT_OUT in said) == ("skipped" in ended)
