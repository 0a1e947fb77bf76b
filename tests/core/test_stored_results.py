from __future__ import annotations

import json
import math
from dataclasses import replace

from distill.core.judgement import Comparison, SliceResult
from distill.core.results import FORM, Evaluation
from distill.core.schema import seal, unseal
from distill.core.stored_results import with_infinite
from tests.core.evaluations import TEACHER, evaluation, method

MINE = "students.small.main"


def diverged():
    """A student that answered NaN on a row, an interval that no rows tell, and a slice of one row."""
    student = replace(
        method("small", mse=math.nan, mae=0.5),
        key=MINE,
        intervals={"mse": [-math.inf, math.inf], "mae": [0.4, 0.6]},
    )
    slices = SliceResult(
        slicing="class",
        value="a",
        rows=1,
        few=True,
        measures={MINE: {"mse": [0.1, -math.inf, math.inf]}},
    )
    beside = Comparison(
        first=MINE,
        second="labels.large",
        measure="mse",
        difference=math.nan,
        low=-math.inf,
        high=math.inf,
    )
    made = evaluation(replace(TEACHER, key="labels.large"), student, kind="value")
    return replace(made, form=FORM, slices=(slices,), comparisons=(beside,))


def test_an_evaluation_with_nan_is_no_json_or_does_not_say_why():
    plain = unseal(seal(diverged().to_plain()), "x")

    def no_constant(name):
        raise AssertionError(name)

    json.loads(json.dumps(plain), parse_constant=no_constant)
    assert plain["methods"][1]["measures"] == {"mse": None, "mae": 0.5}
    assert "NaN or infinite on a row" in plain["unknown"]["methods.1.measures.mse"]
    assert "no resample" in plain["unknown"]["methods.1.intervals.mse.0"]
    assert "too few rows" in plain["unknown"]["slices.0.measures.students.small.main.mse.1"]
    assert set(plain["unknown"]) >= {"comparisons.0.difference", "comparisons.0.low"}


def test_what_is_not_known_is_read_as_a_number():
    read = Evaluation.from_plain(unseal(seal(diverged().to_plain()), "x"))
    small = read.methods[1]
    assert small.measures == {"mae": 0.5}
    assert small.intervals == {"mae": [0.4, 0.6]}
    assert read.groups[1].mean("mse") is None
    assert read.slices[0].measures[MINE]["mse"] == [0.1]
    assert math.isnan(read.comparisons[0].difference)
    assert (read.comparisons[0].low, read.comparisons[0].high) == (-math.inf, math.inf)
    assert read.comparisons[0].p_value is None


def test_an_evaluation_of_finite_numbers_is_stored_otherwise_than_before():
    plain = evaluation(TEACHER, method("small", accuracy=0.5)).to_plain()
    assert "unknown" not in plain
    assert with_infinite(plain) is plain
