from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from distill.core.errors import ContractError, StorageError
from distill.core.schema import seal, unseal
from distill.labels.contract import Contract, Revealed
from distill.labels.state import read_state
from distill.labels.writer import LabelWriter
from distill.storage.base import CONDITIONAL_LIMIT_BYTES
from distill.storage.open import open_storage
from tests.making import a_contract, list_pool, write_label_set
from tests.tiny import write_pool

MANY = tuple(f"class number {number}" for number in range(128_000))


@pytest.fixture
def folder(tmp_path):
    return open_storage(str(tmp_path / "labels"))


OTHER = {
    "labeler": "custom:Other",
    "revision": "2",
    "preprocessing": "q",
    "kind": "value",
    "classes": ("a", "c", "b"),
    "exclusive": False,
    "width": 4,
    "encoding": "topk",
    "dtype": "float16",
    "k": 2,
    "temperatures": (1.0, 4.0),
    "batch_rows": 32,
    "precision": "bfloat16",
    "answers": "probabilities",
    "calibration": 2.0,
    "disagreement": True,
    "views": 3,
    "view_seed": 7,
    "view_augment": '{"flip":0.5}',
    "reveal": Revealed(clip=4.0),
    "encrypted": True,
    "keys": ("id",),
    "format": "parquet",
}


def test_a_new_field_of_the_contract_escapes_these_tests():
    assert OTHER.keys() | {"versions", "tolerance", "in_features", "key", "digest_key"} == {
        field.name for field in dataclasses.fields(Contract)
    }


@pytest.mark.parametrize("field", OTHER)
def test_a_change_of_meaning_is_read_as_the_same_labels(field):
    stored = a_contract()
    now = dataclasses.replace(stored, **{field: OTHER[field]})
    assert now.digest != stored.digest
    with pytest.raises(ContractError) as refused:
        now.require(stored, "teacher", 3)
    said = str(refused.value)
    assert f"{field}: stored " in said
    assert field != "revision" or "(other weights)" in said
    assert field != "preprocessing" or "(other features, or scaled otherwise)" in said
    assert said.count(": stored ") == 1
    assert "labels.teacher.version = 4" in said
    assert "version 3 stays" in said


def test_a_refusal_names_only_the_first_difference():
    now = dataclasses.replace(a_contract(), **OTHER)
    with pytest.raises(ContractError) as refused:
        now.require(a_contract(), "teacher", 1)
    for field in OTHER:
        assert f"{field}: stored " in str(refused.value)


def test_an_upgrade_of_a_library_orphans_labels():
    stored = a_contract(versions={"torch": "2.6"})
    now = a_contract(versions={"torch": "3.0", "numpy": "9"}, tolerance=0.5)
    now.require(stored, "teacher", 1)
    assert now.digest == stored.digest


def test_temperatures_written_as_whole_numbers_mean_something_else():
    whole, broken = a_contract(temperatures=(1, 4)), a_contract(temperatures=(1.0, 4.0))
    assert whole.digest == broken.digest
    whole.require(broken, "teacher", 1)


def test_a_stored_contract_reads_back_as_another(folder):
    mine = a_contract(temperatures=(1.0, 4.0), keys=("id",), versions={"torch": "2.6"})
    assert mine.put(folder, fragment_rows=64, label_set="d")
    assert [entry.key for entry in folder.list_objects()] == ["contract.json"]
    body = unseal(folder.read("contract.json"), "contract.json")
    read = Contract.from_body(body, folder)
    assert read == mine
    assert read.digest == mine.digest
    assert dict(read.versions) == {"torch": "2.6"}
    assert (body["fragment_rows"], body["label_set"]) == (64, "d")


def test_many_class_names_are_too_large_for_a_conditional_put(folder):
    mine = a_contract(MANY)
    assert mine.put(folder, fragment_rows=64, label_set="d")
    sizes = {entry.key: entry.size_bytes for entry in folder.list_objects()}
    (names,) = sizes.keys() - {"contract.json"}
    assert sizes["contract.json"] < 2_000 < CONDITIONAL_LIMIT_BYTES < sizes[names]
    assert mine.put(
        folder, fragment_rows=64, label_set="d"
    )  # begun again: the same, and the names are not written twice
    body = unseal(folder.read("contract.json"), "contract.json")
    assert names == f"classes-{body['contract']['classes']['sha256']}.json"
    assert Contract.from_body(body, folder) == mine


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder, key: folder.delete(key), "is gone, so nobody knows the classes"),
        (lambda folder, key: folder.put(key, folder.read(key)[:-9]), "is damaged"),
        (
            lambda folder, key: folder.put(key, seal({"classes": ["a", "b"]})),
            "other class names than its name says",
        ),
    ],
)
def test_lost_or_exchanged_class_names_give_other_classes(folder, damage, said):
    a_contract(MANY).put(folder, fragment_rows=64, label_set="d")
    (key,) = {entry.key for entry in folder.list_objects()} - {"contract.json"}
    damage(folder, key)
    with pytest.raises(StorageError, match=said):
        Contract.from_body(unseal(folder.read("contract.json"), "contract.json"), folder)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (
            (*MANY[:70_001], "cat", *MANY[70_002:]),
            "stored 'class number 70001', now 'cat' as number 70001, the first that differs",
        ),
        (
            (*MANY[:5], MANY[6], MANY[5], *MANY[7:]),
            "now 'class number 6' as number 5, the first that differs (the same names in another order)",
        ),
        (MANY[:-2], "stored 128000, now 127998; stored 2 more, from 'class number 127998' on"),
        ((*MANY, "cat"), "stored 128000, now 128001; now 1 more, from 'cat' on"),
    ],
)
def test_a_refusal_leaves_one_to_find_the_class_that_differs(now, said):
    with pytest.raises(ContractError) as refused:
        a_contract(now).require(a_contract(MANY), "teacher", 1)
    assert f"classes: {said}" in str(
        refused.value
    ) or f"classes: stored 'class number 5', {said}" in str(refused.value)
    assert "labels.teacher.version = 2" in str(refused.value)
    assert len(str(refused.value)) < 600


CHANGES = {
    "weights": ({"revision": "2"}, "revision: stored '1', now '2' (other weights)"),
    "class order": ({"classes": ("a", "c", "b")}, "classes: stored 'b', now 'c' as number 1"),
    "preprocessing": (
        {"preprocessing": "q"},
        "preprocessing: stored 'p', now 'q' (other features, or scaled otherwise)",
    ),
    "precision": ({"precision": "bfloat16"}, "precision: stored 'float32', now 'bfloat16'"),
    "temperature": (
        {"temperatures": (1.0, 2.0)},
        "temperatures: stored [1.0, 4.0], now [1.0, 2.0]",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("when", ["on resume", "at the reader"])
def test_labels_of_another_labeler_are_mixed_with_or_taken_for_these(tmp_path, what, when):
    stored = a_contract(encoding="topk", dtype="uint8", k=2, temperatures=(1.0, 4.0))
    write_pool(tmp_path / "pool", [10])
    inventory = list_pool(tmp_path / "root", tmp_path / "pool")
    outputs = np.zeros((10, 3), np.float32)
    write_label_set(tmp_path / "labels", stored, inventory, fragment_rows=5, outputs=outputs)
    changes, said = CHANGES[what]
    labels = LabelWriter(read_state(open_storage(str(tmp_path / "labels")), "teacher", 1))
    meet = labels.begin if when == "on resume" else labels.snapshot().require
    with pytest.raises(ContractError) as refused:
        meet(dataclasses.replace(stored, **changes), inventory, 5)
    assert said in str(refused.value)
    assert "set labels.teacher.version = 2 to label anew; version 1 stays" in str(refused.value)
    meet(stored, inventory, 5)
