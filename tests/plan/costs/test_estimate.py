"""A pool of a billion rows is planned by its inventory and some commits: no file of it is opened."""

from __future__ import annotations

import time

from distill.labels.commit import Provenance, WriteIntent
from distill.labels.identity import label_set_digest, label_set_folder
from distill.plan.costs.sampling import draw_fragments
from distill.run import plan_costs
from distill.run.costs import PILOT_FRAGMENTS
from distill.storage.open import open_storage
from distill.storage.request_counts import requests
from tests.making import a_contract, some_labels, write_fragment
from tests.plan.costs.inventories import store_inventory
from tests.run.declared import declared_job

SHARDS, SHARD_ROWS = 1_000, 1_000_000


def commit_some(job, inventory) -> None:
    """The commits of a pilot, each of few labels in the name of its fragment's rows."""
    folder = label_set_folder(open_storage(job.root_uri), "teacher", 1, "rows")
    contract = a_contract(("a", "b"))
    label_set = label_set_digest(contract, inventory, job.fragment_rows)
    contract.put(folder, fragment_rows=job.fragment_rows, label_set=label_set)
    origin = Provenance(label_set, "cpu", {"numpy": "2"})
    (drawn,) = draw_fragments([("rows", inventory)], job.fragment_rows, PILOT_FRAGMENTS, job.seed)
    cut = inventory.fragment_table(job.fragment_rows)
    labels = some_labels(64, contract)
    for code in drawn.codes.tolist():
        shard, number = code >> 24, code & ((1 << 24) - 1)
        position = shard * (SHARD_ROWS // job.fragment_rows) + number
        start, rows = int(cut.start[position]), int(cut.rows[position])
        intent = WriteIntent(shard, number, f"{shard:032x}", start, rows)
        work = {"seconds": 100.0 + number, "reads": 3.0, "writes": 2.0, "memory_bytes": 1e9}
        write_fragment(
            folder,
            intent,
            labels,
            contract,
            rejects=[],
            provenance=origin,
            work=lambda work=work: work,
        )


def test_a_billion_rows_are_listed_opened_or_gone_through(tmp_path, monkeypatch):
    job = declared_job(tmp_path, fragment_rows=50_000)
    root = open_storage(job.root_uri)
    inventory = store_inventory(root, "rows", [SHARD_ROWS] * SHARDS, 50_000)
    commit_some(job, inventory)
    before = requests()
    began = time.process_time()
    plan = plan_costs(job, pilot=False, engine="local")
    seconds = time.process_time() - began
    asked = requests() - before
    (cost,) = plan.steps
    assert cost.rows == 10**9
    assert cost.rows_left == 10**9 - PILOT_FRAGMENTS * 50_000
    # 20,000 fragments of some 110 seconds
    assert cost.worker_hours.holds((20_000 - PILOT_FRAGMENTS) * 110 / 3600)
    assert cost.requests.holds((20_000 - PILOT_FRAGMENTS) * 5)
    assert cost.memory_bytes == 1e9
    # the pool's folder is not there at all: whoever looked into it would have raised
    assert not (tmp_path / "rows").exists()
    assert asked.get < 100
    assert asked.list < 20
    assert seconds < 20  # one second on an idle machine


def test_commits_of_an_older_distill_are_taken_for_free(tmp_path):
    job = declared_job(tmp_path, fragment_rows=64)
    root = open_storage(job.root_uri)
    inventory = store_inventory(root, "rows", [640], 64)
    folder = label_set_folder(root, "teacher", 1, "rows")
    contract = a_contract(("a", "b"))
    label_set = label_set_digest(contract, inventory, 64)
    contract.put(folder, fragment_rows=64, label_set=label_set)
    origin = Provenance(label_set, "cpu", {"numpy": "2"})
    intent = WriteIntent(0, 0, f"{0:032x}", 0, 64)
    labels = some_labels(64, contract)
    write_fragment(folder, intent, labels, contract, rejects=[], provenance=origin)
    (cost,) = plan_costs(job, pilot=False, engine="local").steps
    assert cost.worker_hours is None
    assert "an older distill" in cost.note
    assert cost.rows_left == 576
