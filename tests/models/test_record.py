from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from distill.core.errors import StorageError
from distill.models.network import build_network
from distill.models.networks.cnn import Cnn
from distill.models.networks.linear import Linear
from distill.models.networks.mlp import Mlp
from distill.models.record import (
    HeadPlan,
    NetworkPlan,
    read_record,
    read_weights,
    weights_bytes,
    write_record,
)
from distill.spec.outputs import Outputs
from distill.storage.local import LocalStorage
from distill.storage.open import open_storage
from tests.making import keep_network
from tests.noisy_line import read_through_noise

HEADS = {
    "main": Outputs("logits", ("a", "b", "ä"), True),
    "size": Outputs("value"),
    "many": Outputs("logits", ("x",), False),
}


@pytest.mark.parametrize(
    "model",
    [
        Linear(kind="linear"),
        Mlp(kind="mlp", hidden=(8, 4), dropout=0.25),
        Cnn(kind="cnn", shape=(1, 4, 4), channels=(2,)),
    ],
)
def test_a_plan_builds_another_network_after_its_way_through_json(model):
    plan = NetworkPlan(
        16, model, {"main": HeadPlan(3), "own": HeadPlan(2, Mlp(kind="mlp", hidden=(5,)))}
    )
    read = NetworkPlan.from_plain(json.loads(json.dumps(plan.to_plain())))
    assert read == plan
    mine, theirs = build_network(plan, 1).state_dict(), build_network(read, 1).state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine | theirs)


def test_a_record_reads_back_otherwise(tmp_path):
    record, _ = keep_network(tmp_path / "model", HEADS, 4)
    read = read_record(open_storage(str(tmp_path / "model")))
    assert read == record
    assert dict(read.heads) == HEADS
    assert NetworkPlan.from_plain(read.plan).heads.keys() == HEADS.keys()


def test_an_unfinished_model_is_taken_for_a_finished_one(tmp_path):
    keep_network(tmp_path / "model", HEADS, 4)
    folder = open_storage(str(tmp_path / "model"))
    folder.delete("done.json")
    assert len(folder.list_objects()) == 1  # the weights are there, which do not make it exist
    assert read_record(folder) is None


def test_weights_are_loaded_that_the_record_does_not_pin(tmp_path):
    record, _ = keep_network(tmp_path / "model", HEADS, 4)
    folder = open_storage(str(tmp_path / "model"))
    (weights,) = Path(folder.uri).glob("*.safetensors")
    content = weights.read_bytes()
    assert read_weights(folder, record) == content
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(StorageError, match="is damaged"):
        read_weights(folder, record)
    weights.unlink()
    with pytest.raises(StorageError, match="is gone"):
        read_weights(folder, record)


def test_weights_that_a_line_damaged_are_called_damaged_where_they_lie(tmp_path, monkeypatch):
    record, _ = keep_network(tmp_path / "model", HEADS, 4)
    folder = open_storage(str(tmp_path / "model"))
    right = read_weights(folder, record)
    monkeypatch.setattr(LocalStorage, "read", read_through_noise(LocalStorage.read))
    assert read_weights(folder, record) == right


def test_a_damaged_record_is_believed(tmp_path):
    keep_network(tmp_path / "model", HEADS, 4)
    folder = open_storage(str(tmp_path / "model"))
    content = folder.read("done.json")
    folder.put("done.json", content.replace(b'"in_features": 4', b'"in_features": 5'))
    with pytest.raises(StorageError, match="is damaged"):
        read_record(folder)


def test_a_second_writer_replaces_a_finished_model(tmp_path):
    first, _ = keep_network(tmp_path / "model", HEADS, 4, seed=1)
    folder = open_storage(str(tmp_path / "model"))
    kept = write_record(folder, replace(first, sha256="0" * 64), b"other weights")
    assert kept == first
    assert read_weights(folder, kept) != b"other weights"


def test_a_transposed_array_comes_back_as_it_was() -> None:
    turned = np.arange(6.0).reshape(2, 3).T
    (again,) = safetensors.numpy.load(weights_bytes({"turned": turned})).values()
    np.testing.assert_array_equal(again, turned)
