from __future__ import annotations

import dataclasses

import pytest

from distill.errors import ContractError
from distill.labels import Contract
from distill.schema import unseal
from tests.making import a_contract

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
}


def test_a_new_field_of_the_contract_escapes_these_tests():
    assert OTHER.keys() | {"versions"} == {field.name for field in dataclasses.fields(Contract)}


@pytest.mark.parametrize("field", OTHER)
def test_a_change_of_meaning_is_read_as_the_same_labels(field):
    stored = a_contract()
    now = dataclasses.replace(stored, **{field: OTHER[field]})
    assert now.digest != stored.digest
    with pytest.raises(ContractError) as refused:
        now.require(stored, "teacher", 3)
    said = str(refused.value)
    assert f"{field}: stored " in said
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
    now = a_contract(versions={"torch": "3.0", "numpy": "9"})
    now.require(stored, "teacher", 1)
    assert now.digest == stored.digest


def test_temperatures_written_as_whole_numbers_mean_something_else():
    whole, broken = a_contract(temperatures=(1, 4)), a_contract(temperatures=(1.0, 4.0))
    assert whole.digest == broken.digest
    whole.require(broken, "teacher", 1)


def test_a_stored_contract_reads_back_as_another():
    mine = a_contract(temperatures=(1.0, 4.0), versions={"torch": "2.6"})
    body = unseal(mine.to_bytes(fragment_rows=64, label_set="d"), "contract.json")
    read = Contract.from_body(body)
    assert read == mine
    assert read.digest == mine.digest
    assert dict(read.versions) == {"torch": "2.6"}
    assert (body["fragment_rows"], body["label_set"]) == (64, "d")
