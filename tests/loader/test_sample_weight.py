from __future__ import annotations

import math

import numpy as np
import pytest

from distill.labels.encoding import decode, encode
from distill.loader.sample_weight import row_weights
from distill.spec.students import Agreement, Confidence
from tests.making import a_contract, a_topk_contract

LOGITS = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32) * 3
APART = np.linspace(0, 0.6, 7).astype(np.float32)
ALL = np.ones(7, bool)


def softmax(row, temperature):
    odds = [math.exp(value / temperature) for value in row]
    return [each / sum(odds) for each in odds]


@pytest.mark.parametrize("temperature", [None, 2.0])
@pytest.mark.parametrize("power", [1.0, 2.0])
def test_a_sure_row_counts_by_another_number_than_its_largest_probability(temperature, power):
    dense = a_contract()
    soft = decode(encode(LOGITS, ALL, dense), dense)
    due = [max(softmax(row, temperature or 1)) ** power for row in LOGITS.tolist()]
    confidence = Confidence(kind="confidence", power=power)
    np.testing.assert_allclose(row_weights(soft, confidence, dense, temperature), due, rtol=1e-5)
    topk = a_topk_contract(3, 2, (temperature or 1.0,), values="float16")
    kept = decode(encode(LOGITS, ALL, topk), topk, temperature or 1.0)
    np.testing.assert_allclose(
        row_weights(kept, confidence, topk, temperature or 1.0), due, rtol=2e-3
    )


def test_an_independent_output_is_sure_where_it_says_no():
    contract = a_contract(exclusive=False)
    soft = decode(encode(LOGITS, ALL, contract), contract)
    p = 1 / (1 + np.exp(-LOGITS.astype(float)))
    due = np.maximum(p, 1 - p).mean(axis=1)
    np.testing.assert_allclose(
        row_weights(soft, Confidence(kind="confidence"), contract, None), due, rtol=1e-5
    )


def test_agreement_is_not_what_the_ensemble_stored():
    contract = a_contract(disagreement=True)
    soft = decode(encode(LOGITS, ALL, contract, APART), contract)
    made = row_weights(soft, Agreement(kind="agreement", scale=0.2), contract, None)
    np.testing.assert_allclose(made, [math.exp(-each / 0.2) for each in APART.tolist()], rtol=1e-5)
