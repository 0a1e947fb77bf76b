from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from distill.errors import StorageError
from distill.job import Outputs
from distill.labelers.network import NetworkLabeler
from tests.making import keep_network

HEADS = {"main": Outputs("logits", ("a", "b", "c")), "size": Outputs("value")}
X = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)


def test_another_head_answers_or_another_network(tmp_path):
    record, network = keep_network(tmp_path, HEADS, 4)
    due = {name: values.detach().numpy() for name, values in network(torch.from_numpy(X)).items()}
    np.testing.assert_array_equal(NetworkLabeler.load(str(tmp_path), record).label(X), due["main"])
    np.testing.assert_array_equal(NetworkLabeler.load(str(tmp_path), record, head="size").label(X), due["size"])


def test_half_precision_is_ignored_or_leaks_into_the_answer(tmp_path):
    record, _ = keep_network(tmp_path, HEADS, 4)
    whole = NetworkLabeler.load(str(tmp_path), record).label(X)
    half = NetworkLabeler.load(str(tmp_path), record, precision="bfloat16").label(X)
    assert half.dtype == np.float32
    assert not np.array_equal(half, whole)
    np.testing.assert_allclose(half, whole, atol=0.05)


def test_other_weights_answer_than_those_that_were_trained(tmp_path):
    record, _ = keep_network(tmp_path, HEADS, 4)
    (weights,) = Path(tmp_path).glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(StorageError, match="is damaged"):
        NetworkLabeler.load(str(tmp_path), record)
