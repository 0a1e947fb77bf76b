from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from distill.core.errors import LabelerError, StorageError
from distill.labelers.base import predict
from distill.labelers.layer import LayerLabeler
from distill.labelers.network import NetworkLabeler
from distill.labelers.runtime import Runtime
from distill.models.networks.ngram_bag import NgramBag
from distill.pools.ngrams import ngram_places
from distill.spec.outputs import Outputs
from tests.labelers.asking import answers, as_features
from tests.making import keep_network
from tests.tiny_models import TEXTS

HEADS = {"main": Outputs("logits", ("a", "b", "c")), "size": Outputs("value")}
X = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)


def test_another_head_answers_or_another_network(tmp_path):
    record, network = keep_network(tmp_path, HEADS, 4)
    due = {name: values.detach().numpy() for name, values in network(torch.from_numpy(X)).items()}
    np.testing.assert_array_equal(NetworkLabeler.load(str(tmp_path), record).label(X), due["main"])
    np.testing.assert_array_equal(
        NetworkLabeler.load(str(tmp_path), record, head="size").label(X), due["size"]
    )


def test_a_student_of_text_sees_other_ngrams_than_it_was_taught(tmp_path):
    bag = NgramBag(kind="ngram_bag", buckets=100, hidden=5, most=16)
    record, network = keep_network(tmp_path, HEADS, 1, model=bag)
    texts = as_features(TEXTS)
    due = network(torch.from_numpy(ngram_places(texts, bag)))["main"].detach().numpy()
    labeler = NetworkLabeler.load(str(tmp_path), record)
    np.testing.assert_allclose(answers(labeler, texts, 3), due, atol=1e-6)
    with pytest.raises(LabelerError, match="reads text, and is given numbers"):
        predict(labeler, X, 3)
    layer = LayerLabeler(str(tmp_path), record, "trunk", Runtime(), 5)
    np.testing.assert_allclose(
        predict(layer, texts, 5).outputs,
        network.trunk(torch.from_numpy(ngram_places(texts, bag))).detach(),
    )


def test_a_student_of_numbers_is_given_text(tmp_path):
    record, _ = keep_network(tmp_path, HEADS, 4)
    with pytest.raises(LabelerError, match="reads numbers, and is given text"):
        predict(NetworkLabeler.load(str(tmp_path), record), as_features(TEXTS), 3)


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
