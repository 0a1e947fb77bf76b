from __future__ import annotations

import numpy as np
import pytest

from distill.labelers.base import Predictions
from distill.labels.encoding import encode
from distill.plan.load import load_job
from distill.stages.label.canary import largest_difference
from tests.making import a_contract, a_topk_contract, a_value_contract, label_by_worker
from tests.resolved import check_canaries
from tests.stages.label.conftest import TWICE, Tried


def asked(job, fragments=9):
    return check_canaries(job, "teacher", "rows", fragments)


@pytest.fixture
def labelled(pool) -> Tried:
    made = Tried(pool, TWICE)
    label_by_worker(made.job, "teacher")
    return made


def test_the_same_labeler_is_taken_for_another(labelled):
    assert asked(labelled.job) == []


def test_a_labeler_that_changed_behind_its_revision_goes_unnoticed(labelled):
    source = labelled.job.path.parent / "mine.py"
    source.write_text(TWICE.replace("2 * features", "2.1 * features"), "utf-8")
    problems = asked(load_job(labelled.job.path))
    assert len(problems) == 3
    assert "fragment 000000-000000: the live labeler is " in problems[0]
    assert "label anew as version 2" in problems[0]


def test_only_so_many_fragments_are_asked_and_the_ends_among_them(labelled):
    source = labelled.job.path.parent / "mine.py"
    source.write_text(TWICE.replace("2 *", "3 *"), "utf-8")
    problems = asked(load_job(labelled.job.path), fragments=2)
    assert [problem.split(":")[0] for problem in problems] == [
        "fragment 000000-000000",
        "fragment 000001-000000",
    ]


def test_a_labeler_that_raises_hides_that_it_was_not_asked(labelled):
    source = labelled.job.path.parent / "mine.py"
    source.write_text(TWICE.replace("return 2 * features[:, :3]", "raise KeyError(3)"), "utf-8")
    assert "the labeler raised on its first batch" in asked(load_job(labelled.job.path))[0]
    source.write_text(TWICE + "\n    def __init__(self):\n        open('/no/weights')\n", "utf-8")
    (problem,) = asked(load_job(labelled.job.path))
    assert "cannot be asked" in problem
    assert "--canaries 0" in problem


CONTRACTS = [
    a_contract(tuple("abcdefgh")),
    a_contract(tuple("abcdefgh"), dtype="float16"),
    a_topk_contract(8, 3, (1.0, 4.0), values="uint8"),
    a_topk_contract(8, 3, (2.0,), values="float16"),
    a_value_contract(8, "float16"),
]


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda each: f"{each.encoding} {each.dtype}")
@pytest.mark.parametrize("scale", [0.1, 5.0, 40.0])
def test_what_the_encoding_rounds_away_is_a_difference_and_a_wrong_row_is_none(contract, scale):
    outputs = scale * np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
    labelled = np.arange(200) % 7 > 0
    stored = encode(outputs, labelled, contract)
    assert largest_difference(Predictions(outputs), stored, contract) <= contract.tolerance / 4
    jitter = 1 + contract.tolerance / 16 * np.random.default_rng(1).uniform(
        -1, 1, outputs.shape
    ).astype(np.float32)
    assert largest_difference(Predictions(outputs * jitter), stored, contract) <= contract.tolerance
    if scale > 1:
        assert largest_difference(Predictions(np.roll(outputs, 1, axis=0)), stored, contract) > 0.1
