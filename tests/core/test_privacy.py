import json
from dataclasses import replace

import pytest

from distill.core.errors import InputError
from distill.core.privacy import PrivacyStatement, with_totals

_STATEMENT = PrivacyStatement(
    mechanism="gnmax",
    epsilon=2.5,
    delta=1e-5,
    unit="row",
    over=("labelled",),
    accounting="RDP of 100 Gaussian votes",
    notes=("the pool that is labelled is not protected",),
)


def test_a_statement_comes_back_from_a_record_as_it_was_written() -> None:
    stored = json.loads(json.dumps(_STATEMENT.as_json()))
    assert PrivacyStatement.from_json({**stored, "of_a_later_version": 1}) == _STATEMENT


def test_a_sentence_names_the_bound_the_unit_and_the_pools() -> None:
    assert _STATEMENT.sentence == (
        "(2.5, 1e-05)-differential privacy of one row of labelled, by gnmax: "
        "RDP of 100 Gaussian votes."
    )


@pytest.mark.parametrize(("epsilon", "delta"), [(-1.0, 0.0), (float("nan"), 0.0), (1.0, 1.0)])
def test_a_statement_that_promises_nothing_is_refused(epsilon: float, delta: float) -> None:
    with pytest.raises(InputError, match="privacy statement needs"):
        PrivacyStatement("gnmax", epsilon, delta, "row", ("labelled",), "RDP")


def test_two_mechanisms_over_the_same_rows_promise_what_one_does() -> None:
    other = replace(
        _STATEMENT, mechanism="dp_sgd", epsilon=1.5, unit="person", over=("labelled", "b")
    )
    elsewhere = replace(_STATEMENT, over=("c",))
    *parts, total = with_totals([_STATEMENT, other, elsewhere])
    assert parts == [_STATEMENT, other, elsewhere]
    assert (total.epsilon, total.delta) == (4.0, 2e-5)
    assert (total.unit, total.over) == ("row", ("labelled",))
    assert with_totals([_STATEMENT, elsewhere]) == [_STATEMENT, elsewhere]
