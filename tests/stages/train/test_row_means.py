"""Means of rows are those of torch's own bags, and so are their gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from distill.stages.train.row_means import row_means


def texts(rows, longest, table, seed=0):
    """Places (B, L) padded by 0; texts without any among them."""
    draw = np.random.default_rng(seed)
    lengths = draw.integers(0, longest + 1, size=rows)
    lengths[0] = longest
    lengths[1:2] = 0
    places = draw.integers(1, table, size=(rows, longest))
    places[np.arange(longest) >= lengths[:, None]] = 0
    return torch.from_numpy(places.astype(np.int32))


@pytest.mark.parametrize(
    ("rows", "longest", "table"), [(9, 7, 5), (1, 1, 2), (64, 30, 400), (8, 12, 70_000)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_mean_or_its_gradient_is_another_than_torchs(rows, longest, table, dtype):
    places = texts(rows, longest, table)
    weights = torch.randn(table, 6, dtype=dtype, requires_grad=True)
    due = functional.embedding_bag(places, weights, mode="mean", padding_idx=0)
    share = torch.randn_like(due)
    (due_gradient,) = torch.autograd.grad(due, weights, share)
    counts = (places != 0).sum(1, dtype=torch.int32)
    found = row_means(weights, places[places != 0], counts)
    torch.testing.assert_close(found, due)
    (gradient,) = torch.autograd.grad(found, weights, share)
    torch.testing.assert_close(gradient, due_gradient)


def test_a_batch_without_words_has_no_mean():
    weights = torch.randn(3, 6, requires_grad=True)
    none = torch.zeros(0, dtype=torch.int32)
    found = row_means(weights, none, torch.zeros(4, dtype=torch.int32))
    assert torch.equal(found, torch.zeros(4, 6))
    (gradient,) = torch.autograd.grad(found.sum(), weights)
    assert torch.equal(gradient, torch.zeros(3, 6))
