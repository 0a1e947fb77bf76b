"""Values of different widths for one head: refused by what the job says, before any labels are paid
for."""

from __future__ import annotations

import pytest

from distill.core.errors import ContractError
from distill.run import prepare_inputs
from tests.tiny import tiny_job, write_pool

JOB = """
    root = "root"
    [pools.rows]
    path = "rows"
    features = { kind = "vector", columns = ["pixels"] }
    [pools.sized]
    path = "sized"
    target = "size"
    [fit.sizes]
    model = { kind = "linear" }
    on = "sized"
    [labels.two]
    labeler = { kind = "custom", file = "mine.py", name = "Two" }
    over = ["rows", "sized"]
    [labels.three]
    labeler = { kind = "custom", file = "mine.py", name = "Three" }
    over = ["rows", "sized"]
    [labels.other]
    labeler = { kind = "custom", file = "mine.py", name = "Two" }
    over = ["rows", "sized"]
    [labels.sizes]
    labeler = { kind = "fitted", fit = "sizes" }
    over = ["rows", "sized"]
    [students.small]
    model = { kind = "linear" }
    on = ["rows"]
    [[students.small.terms]]
    learns = "labels.two"
    loss = { kind = "mse" }
"""
AGAIN = """
    [[students.small.terms]]
    learns = "LEARNS"
    loss = { kind = "mse" }
"""
MINE = """
class Two:
    revision, kind, width = "1", "value", 2
    def label(self, features): ...
class Three:
    revision, kind, width = "1", "value", 3
    def label(self, features): ...
"""
HINT = "[students.small.heads.main]\n    width = 4\n"


@pytest.fixture
def job(tmp_path):
    write_pool(tmp_path / "rows", [64])
    write_pool(tmp_path / "sized", [16])
    (tmp_path / "mine.py").write_text(MINE, "utf-8")
    return lambda more: tiny_job(tmp_path, JOB + more)


def stopped_by(learns):
    return f'[students.small.early_stop]\n    learns = "{learns}"\n' + (
        '    over = "sized"\n' if learns.startswith("labels") else ""
    )


@pytest.mark.parametrize(
    ("learns", "width"), [("labels.three", 3), ("labels.sizes", 1), ("pools.sized", 1)]
)
def test_two_widths_for_one_head_are_found_once_both_labels_are_paid_for(job, learns, width):
    with pytest.raises(
        ContractError,
        match=rf"job\.toml: students\.small: head 'main': .* different widths, {{'labels\.two': 2, '{learns}': {width}}}",
    ):
        prepare_inputs(job(AGAIN.replace("LEARNS", learns)))


@pytest.mark.parametrize(
    ("learns", "width"), [("labels.three", 3), ("labels.sizes", 1), ("pools.sized", 1)]
)
def test_a_measure_of_another_width_is_found_once_the_labels_are_paid_for(job, learns, width):
    with pytest.raises(
        ContractError,
        match=rf"job\.toml: students\.small\.early_stop: {learns} has {width} numbers a row, but .* 2\.",
    ):
        prepare_inputs(job(stopped_by(learns)))


@pytest.mark.parametrize(
    "more",
    [AGAIN.replace("LEARNS", "labels.other"), AGAIN.replace("LEARNS", "labels.three") + HINT],
)
def test_one_width_or_a_hint_is_refused(job, more):
    prepare_inputs(job(more))


def test_a_measure_of_the_same_width_is_refused(job):
    prepare_inputs(job(stopped_by("labels.other")))
