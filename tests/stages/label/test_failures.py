from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import distill
from distill.core.source import PythonFile, own_lines
from distill.stages.label.failures import locate_failure

TEXT = """
class Picky:
    def label(self, features):
        if (features[:, 0] > 5).any():
            raise ValueError("too large")
        if len(features) > 1 and (features[:, 0] < -5).any():
            raise RuntimeError("only in company")
        return features
"""


def caught(labeler, batch):
    try:
        labeler.label(batch)
    except Exception as error:  # noqa: BLE001  any that it raises
        return error
    raise AssertionError("it was to raise")


def picky(path="picky.py"):
    return PythonFile(path, TEXT).load("Picky")()


def test_another_row_than_the_one_that_raises_is_blamed():
    batch = np.array([[0.0], [1.0], [9.0], [8.0]], np.float32)
    found = locate_failure(caught(picky(), batch), picky(), batch, first_row=100)
    assert found.row == 102
    assert found.signature == "ValueError at picky.py:5"
    assert "too large" in found.trace


def test_a_mistake_of_the_whole_batch_is_blamed_on_nobody():
    batch = np.array([[0.0], [-9.0]], np.float32)
    found = locate_failure(caught(picky(), batch), picky(), batch, first_row=40)
    assert found.row == 40
    assert found.signature == "RuntimeError at picky.py:7"


@pytest.mark.parametrize("exit_by", ["SystemExit(0)", "GeneratorExit", "CancelledError"])
def test_a_labeler_that_raises_what_is_no_exception_ends_the_run(exit_by):
    text = "from asyncio import CancelledError" + TEXT.replace('ValueError("too large")', exit_by)
    leaving = PythonFile("leaving.py", text).load("Picky")()
    batch = np.array([[0.0], [9.0]], np.float32)
    found = locate_failure(ValueError("of the batch"), leaving, batch, first_row=0)
    assert found.row == 1
    assert found.signature.startswith(exit_by[:10])


def test_the_same_mistake_in_two_batches_counts_as_two():
    signatures = set()
    for value in (6.0, 7.0):
        batch = np.array([[value]], np.float32)
        signatures.add(locate_failure(caught(picky(), batch), picky(), batch, 0).signature)
    assert len(signatures) == 1


def test_the_traceback_shows_ours_or_hides_the_users():
    package = Path(distill.__file__).parent
    error = caught(picky(str(package / "label" / "own.py")), np.array([[9.0]], np.float32))
    assert "own.py" not in own_lines(error)
    beside = str(package) + "_jobs/picky.py"  # begins like our own folder
    error = caught(picky(beside), np.array([[9.0]], np.float32))
    assert f'File "{beside}", line 5, in label\n    raise ValueError("too large")' in own_lines(
        error
    )
    assert own_lines(error).endswith("ValueError: too large")
