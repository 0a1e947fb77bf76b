"""Twenty chaos runs, one of each kind of fault; and the yardsticks by which a run is judged."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests import deadline
from tests.chaos.conduct import KINDS, drawn
from tests.chaos.results import append_line, read_lines, table
from tests.chaos.runs import covered
from tests.command import REPOSITORY
from tests.waiting import LIMIT_SECONDS

SEEDS = range(20)


def test_twenty_seeds_in_a_row_meet_every_kind_of_fault():
    assert (
        {drawn(seed)[-1][0] for seed in SEEDS}
        == {drawn(seed)[-1][0] for seed in range(7, 27)}
        == set(KINDS)
    )


def test_every_variant_is_met_in_a_hundred_runs():
    met = {(strike, variant) for seed in range(100) for strike, variant in drawn(seed)[-1:]}
    due = {(strike, variant) for strike, variants in KINDS.items() for variant in variants}
    assert due <= met


def test_rows_that_two_fragments_have_or_none_are_counted():
    assert covered([(0, 0, 10), (0, 10, 5), (2, 0, 3)], (15, 0, 3)) == (0, 0)
    assert covered([(0, 0, 10), (0, 8, 7), (2, 0, 1)], (15, 0, 3)) == (2, 2)


def test_a_seed_that_has_a_line_is_not_run_again(tmp_path):
    kept = tmp_path / "results.jsonl"
    append_line(kept, {"seed": 4, "faults": ["a"], "outcome": "broken", "problems": ["b"]})
    asked = [sys.executable, "-m", "tests.chaos", "--runs", "1", "--seed", "4", "--results", kept]
    ended = subprocess.run(
        asked, cwd=REPOSITORY, capture_output=True, text=True, timeout=LIMIT_SECONDS
    )
    assert ended.returncode == 1, ended.stderr
    assert "1 broken of 1 runs" in ended.stdout
    assert "1 runs, `make chaos RUNS=1 SEED=4`: 1 broken" in table(read_lines(kept))


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(7200)
def test_twenty_runs_end_whole(tmp_path):
    kept = tmp_path / "results.jsonl"
    asked = [
        sys.executable,
        "-m",
        "tests.chaos",
        "--runs",
        str(len(SEEDS)),
        "--seed",
        "0",
        "--results",
        kept,
    ]
    ended = subprocess.run(
        asked, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    print(ended.stdout)
    assert ended.returncode == 0
    lines = [json.loads(line) for line in kept.read_text("utf-8").splitlines()]
    assert {line["outcome"] for line in lines} <= {"whole", "not run"}
    ran = [line["seed"] for line in lines]
    assert ran == list(SEEDS)[: len(ran)]
    if len(ran) < len(SEEDS):
        assert deadline.is_over()
        pytest.skip(f"{len(ran)} of {len(SEEDS)} runs, all whole; the others {deadline.LEFT_OUT}")
