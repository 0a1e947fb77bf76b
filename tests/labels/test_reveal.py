"""What of a labeler's answers is stored where a job reveals less than all."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from distill.core.errors import ContractError
from distill.labelers.base import Predictions
from distill.labels.contract import Revealed
from distill.labels.encoding import best_class, decode, encode
from distill.labels.reveal import revealed
from distill.stages.label.canary import largest_difference
from tests.making import a_contract, a_topk_contract, a_value_contract

LOGITS = np.array([[5.0, 3.6, -40.0], [-2.0, 1.0, 1.2], [0.0, 0.0, 0.0]], np.float32)


def revealing(contract=None, **reveal):
    return dataclasses.replace(contract or a_contract(), reveal=Revealed(**reveal))


def stored(contract, outputs=LOGITS, temperature=None):
    table = encode(outputs, np.ones(len(outputs), bool), contract)
    return table, decode(table, contract, temperature)


def softmax(logits):
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def test_more_than_the_best_class_is_stored():
    table, soft = stored(revealing(top_1=True))
    assert soft.outputs.tolist() == [[0, -16, -16], [-16, -16, 0], [0, -16, -16]]
    assert best_class(table, revealing(top_1=True)).tolist() == [0, 2, 0]
    several = revealing(a_contract(exclusive=False), top_1=True)
    assert stored(several)[1].outputs.tolist()[0] == [16, 16, -16]


def test_a_logit_lies_further_below_the_largest_than_it_may():
    _, soft = stored(revealing(clip=4.0))
    np.testing.assert_allclose(soft.outputs[0], [0, -1.4, -4], atol=1e-6)
    values = dataclasses.replace(a_value_contract(3), reveal=Revealed(clip=4.0))
    assert stored(values)[1].outputs[0].tolist() == [4, np.float32(3.6), -4]


def test_what_is_stored_tells_more_than_multiples():
    outputs = np.random.default_rng(0).normal(0, 5, (100, 3)).astype(np.float32)
    _, soft = stored(revealing(round=0.5, clip=6.0), outputs)
    np.testing.assert_array_equal(soft.outputs * 2, np.round(soft.outputs * 2))
    assert soft.outputs.min() >= -6
    assert (soft.outputs.max(axis=1) == 0).all()
    assert not np.signbit(soft.outputs[soft.outputs == 0]).any()
    # rounding by half a step changes a probability by no more than e^0.5 either way
    ratio = (
        softmax(soft.outputs)[:, 0]
        / softmax(np.maximum(outputs - outputs.max(1, keepdims=True), -6))[:, 0]
    )
    assert ((ratio > np.exp(-0.5)) & (ratio < np.exp(0.5))).all()


def test_a_shift_of_all_logits_of_a_row_is_stored():
    contract = revealing(round=0.25)
    shifted = LOGITS + np.array([[3.1], [-7.7], [0.01]], np.float32)
    assert stored(contract)[0].equals(stored(contract, shifted)[0])


def test_the_normaliser_of_topk_is_that_of_what_was_not_revealed():
    outputs = np.random.default_rng(0).normal(0, 9, (50, 300)).astype(np.float32)
    contract = revealing(a_topk_contract(300, 300, values="float16"), clip=5.0)
    _, soft = stored(contract, outputs, 1.0)
    np.testing.assert_allclose(np.exp(soft.log_probs).sum(axis=1), 1, atol=1e-3)
    assert (soft.log_probs[:, 0] - soft.log_probs[:, -1]).max() <= 5 + 1e-2


@pytest.mark.parametrize(
    "reveal", [{"top_1": True}, {"clip": 3.0}, {"round": 0.5}, {"clip": 3.0, "round": 0.25}]
)
@pytest.mark.parametrize("contract", [a_contract(), a_topk_contract(3, 2)])
def test_a_live_labeler_is_taken_for_another_since_less_is_stored(contract, reveal):
    contract = revealing(contract, **reveal)
    outputs = np.random.default_rng(1).normal(0, 4, (400, 3)).astype(np.float32)
    table, _ = stored(contract, outputs, 1.0)
    noise = np.random.default_rng(2).normal(0, 1e-4, outputs.shape).astype(np.float32)
    assert largest_difference(Predictions(outputs + noise), table, contract) <= contract.tolerance
    other = Predictions(outputs[:, ::-1].copy())
    assert largest_difference(other, table, contract) > contract.tolerance


def test_a_set_that_reveals_less_passes_for_one_that_reveals_all(tmp_path):
    plain = a_contract()
    assert "reveal" not in plain.meaning  # digests of before stay
    assert "encrypted" not in plain.meaning
    with pytest.raises(ContractError, match="reveal"):
        plain.require(revealing(top_1=True), "teacher", 1)
    assert revealing(round=0.5).digest != revealing(round=0.25).digest


def test_no_row_is_an_error():
    assert revealed(np.empty((0, 3), np.float32), revealing(top_1=True)).shape == (0, 3)
