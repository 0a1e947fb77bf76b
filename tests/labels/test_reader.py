from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import distill.labels
from distill.core.errors import ContractError, StorageError
from distill.labels import open as open_labels
from distill.labels.encoding import decode, encode
from distill.labels.files import with_keys
from distill.labels.identity import label_set_folder
from distill.labels.state import read_state
from distill.labels.writer import LabelWriter
from distill.storage.open import open_storage
from tests.making import (
    a_contract,
    a_topk_contract,
    a_value_contract,
    claim_of,
    commit_labels,
    list_pool,
)
from tests.tiny import write_pool

SHARDS = (20, 5, 16)
CUT = 8
REJECTED = (0, 7, 22)


def outputs_of(contract):
    return 4 * np.random.default_rng(0).normal(size=(sum(SHARDS), contract.width)).astype(
        np.float32
    )


def written(folder: Path, contract, *, fragments: slice = slice(None)) -> str:
    """A label set as the stage leaves it, keys included; returns its path."""
    write_pool(folder / "pool", SHARDS)
    inventory = list_pool(folder / "root", folder / "pool")
    labels = LabelWriter(
        read_state(
            label_set_folder(open_storage(str(folder / "root")), "teacher", 1, "pool"), "teacher", 1
        )
    )
    labels.begin(contract, inventory, CUT)
    outputs, labelled, first = outputs_of(contract), ~np.isin(np.arange(sum(SHARDS)), REJECTED), 0
    parts = list(inventory.fragments(CUT))
    for part in parts:
        rows = slice(first, first + part.rows)
        table = encode(outputs[rows], labelled[rows], contract)
        keys = pa.table({"id": pa.array([f"row {row}" for row in range(rows.start, rows.stop)])})
        if part in parts[fragments]:
            labels.add(
                commit_labels(
                    labels.folder, claim_of(part), with_keys(table, keys, contract), contract
                )
            )
        first += part.rows
    labels.write_manifest()
    return labels.folder.uri


def read_as_documented(path: Path, temperature: float) -> list[tuple]:
    """Top-k labels read by FORMAT.md alone: (shard key, row, id, classes, log-probabilities), the
    last two None where rejected."""

    def unsealed(file):
        sealed = json.loads(file.read_bytes())
        plain = json.dumps(
            sealed["body"], sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )
        assert hashlib.sha256(plain.encode()).hexdigest() == sealed["digest"]
        return sealed["body"]

    def column(table, name, dtype):
        filled = [
            value if value is not None else bytes(table.schema.field(name).type.byte_width)
            for value in table[name].to_pylist()
        ]
        return np.frombuffer(b"".join(filled), dtype).reshape(len(table), -1)

    contract = unsealed(path / "contract.json")["contract"]
    classes = contract["classes"]
    if isinstance(classes, dict):
        classes = unsealed(path / f"classes-{classes['sha256']}.json")["classes"]
    segments = sorted((path.parents[3] / "inventories" / path.name).iterdir())
    keys = [
        key for file in segments for key in pa.ipc.open_file(file).read_all()["key"].to_pylist()
    ]
    commits = {}
    for file in sorted((path / "commits").iterdir(), key=lambda file: int(file.name.split(".")[1])):
        body = unsealed(file)
        commits[body["shard"], body["number"]] = body
    rows = []
    for commit in sorted(commits.values(), key=lambda body: (body["shard"], body["start"])):
        data = (
            path
            / "data"
            / f"{commit['shard']:06d}-{commit['number']:06d}"
            / f"{commit['attempt']}.{commit['format']}"
        )
        content = data.read_bytes()
        assert hashlib.sha256(content).hexdigest() == commit["sha256"]
        opened = (
            pq.read_table(data)
            if contract["format"] == "parquet"
            else pa.ipc.open_file(content).read_all()
        )
        planes = [
            column(opened, name, "u1") for name in opened.column_names if name.startswith("index_")
        ]
        index = sum(plane.astype(int) * 256**place for place, plane in enumerate(planes))
        if contract["dtype"] == "uint8":
            codes = np.cumsum(column(opened, "gap", "u1"), axis=1, dtype=int)
            logits = -np.where(codes < 32, codes, (32 + codes % 32) * 2.0 ** (codes // 32 - 1)) / 16
        else:
            logits = column(opened, "logit", "<f2").astype(float)
        normalizer = column(opened, "log_normalizer", "<f4")[
            :, contract["temperatures"].index(temperature)
        ]
        log_probs = logits / temperature - normalizer[:, None]
        for row, valid in enumerate(opened["log_normalizer"].is_valid().to_pylist()):
            said = (
                ([classes[number] for number in index[row]], log_probs[row])
                if valid
                else (None, None)
            )
            rows.append(
                (keys[commit["shard"]], commit["start"] + row, opened["id"][row].as_py(), *said)
            )
    return rows


@pytest.mark.parametrize(
    ("form", "values", "width"),
    [("arrow", "uint8", 300), ("arrow", "float16", 5), ("parquet", "uint8", 70_000)],
)
def test_a_reader_without_distill_reads_other_labels(tmp_path, form, values, width):
    contract = a_contract(
        tuple(f"class {number}" for number in range(width)),
        encoding="topk",
        dtype=values,
        k=4,
        temperatures=(1.0, 4.0),
        format=form,
        keys=("id",),
    )
    path = written(tmp_path, contract)
    theirs = read_as_documented(Path(path), 4.0)
    mine = pa.concat_tables(open_labels(path).decoded(4.0))
    assert [(*each[:3],) for each in theirs] == list(
        zip(*(mine[name].to_pylist() for name in ("shard", "row", "id")), strict=True)
    )
    z = outputs_of(contract).astype(np.float64) / 4
    exact = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    for number, (*_, classes, log_probs) in enumerate(theirs):
        index, said = mine["index"][number].as_py(), mine["log_prob"][number].as_py()
        if number in REJECTED:
            assert (classes, index, said) == (None, None, None)
            continue
        assert classes == [contract.classes[place] for place in index]
        np.testing.assert_allclose(log_probs, said, atol=1e-5)
        np.testing.assert_allclose(log_probs, exact[number, index], atol=0.05)


@pytest.mark.parametrize(
    "contract",
    [
        a_contract(keys=("id",)),
        a_contract((), kind="value", encoding="value", width=3, keys=("id",)),
    ],
)
def test_logits_and_values_are_decoded_otherwise_than_they_were_said(tmp_path, contract):
    labels = open_labels(written(tmp_path, contract))
    name = "logits" if contract.kind == "logits" else "value"
    table = pa.concat_tables(labels.decoded())
    assert table.schema.field(name).type == pa.list_(pa.float32(), 3)
    outputs = outputs_of(contract).tolist()
    assert table[name].to_pylist() == [
        None if row in REJECTED else outputs[row] for row in range(sum(SHARDS))
    ]


def test_what_a_set_says_of_itself_is_wrong(tmp_path):
    contract = a_topk_contract(300, 4)
    path = written(
        tmp_path,
        a_contract(
            contract.classes, encoding="topk", dtype="uint8", k=4, temperatures=(2.0,), keys=("id",)
        ),
    )
    labels = open_labels(Path(path))
    assert (labels.rows, labels.rejected, labels.pool_rows, labels.complete, labels.uri) == (
        41,
        3,
        41,
        True,
        path,
    )
    tables = list(labels)
    assert len(labels) == len(tables) == 6
    assert [len(table) for table in tables] == [6, 7, 7, 5, 8, 8]
    assert tables[0].column_names == [
        "shard",
        "row",
        "id",
        "index_0",
        "index_1",
        "gap",
        "log_normalizer",
    ]
    whole = pa.concat_tables(tables)
    assert whole["row"].to_pylist() == [row for rows in SHARDS for row in range(rows)]
    assert whole["id"].to_pylist() == [f"row {row}" for row in range(41)]
    read, raw = (
        decode(whole, labels.contract, 2.0),
        pa.concat_tables(labels.decoded()),
    )  # the only temperature need not be said
    assert raw["index"].to_pylist()[1] == read.index[1].tolist()
    with pytest.raises(ContractError, match=r"at temperatures \[2\.0\], not 1"):
        next(labels.decoded(1))


def test_a_set_with_a_hole_is_read_as_whole(tmp_path):
    path = written(tmp_path, a_contract(keys=("id",)), fragments=slice(1, None))
    with pytest.raises(
        ContractError, match=r"is not complete: 35 of 41 rows are labelled.*partial=True"
    ):
        open_labels(path)
    some = open_labels(path, partial=True)
    assert (some.complete, some.rows, some.pool_rows, len(list(some))) == (False, 35, 41, 5)


def test_damaged_data_is_decoded(tmp_path):
    path = written(tmp_path, a_contract(keys=("id",)))
    file = next(file for file in sorted((Path(path) / "data").rglob("*.arrow")))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(StorageError, match="is damaged"):
        list(open_labels(path).decoded())


def test_a_folder_that_is_no_label_set_gives_an_empty_one(tmp_path):
    path = Path(written(tmp_path, a_contract(keys=("id",))))
    for wrong in (path.parent, path.parent / "elsewhere", tmp_path, "x", path / "data"):
        with pytest.raises(ContractError, match=r"is no label set.*labels/NAME/vN/POOL"):
            open_labels(wrong)


@pytest.mark.s3
def test_a_set_in_a_bucket_is_not_found_by_its_uri(s3_root, tmp_path):
    contract = a_value_contract(2)
    write_pool(tmp_path / "pool", [5])
    from distill.pools.scan import take_inventory

    root = open_storage(s3_root)
    inventory = take_inventory(root, "pool", open_storage(str(tmp_path / "pool")))
    labels = LabelWriter(read_state(label_set_folder(root, "teacher", 3, "pool"), "teacher", 3))
    labels.begin(contract, inventory, CUT)
    (part,) = inventory.fragments(CUT)
    claim = claim_of(part)
    commit_labels(
        labels.folder,
        claim,
        encode(np.ones((5, 2), np.float32), np.ones(5, bool), contract),
        contract,
    )
    (table,) = distill.labels.open(f"{s3_root}/labels/teacher/v3/pool").decoded()
    assert table["value"].to_pylist() == [[1.0, 1.0]] * 5


def test_reading_labels_loads_torch_or_ray(tmp_path):
    path = written(tmp_path, a_contract(keys=("id",)))
    code = f"import sys, distill.labels; print(len(list(distill.labels.open({path!r})))); print({{'torch', 'ray'}} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split("\n")[:2] == ["6", "set()"]
