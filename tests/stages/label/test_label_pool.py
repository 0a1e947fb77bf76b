from __future__ import annotations

from pathlib import Path

import pytest

from distill.core.errors import ContractError
from distill.engine.local import LocalEngine
from distill.plan.load import load_job
from distill.plan.plan import Plan
from distill.run import label_pool, verify_labels
from distill.stages.label.label_pool import label_pool as label_pool_of_step
from distill.storage.request_counts import requests
from tests.engine.here import without_ray
from tests.making import commit_labels, label_by_worker, some_labels
from tests.resolved import label_set
from tests.stages.label.conftest import TWICE, Tried


@pytest.fixture
def labelled(pool) -> Tried:
    """Every fragment is committed; nothing is rolled up yet."""
    made = Tried(pool, TWICE)
    made.job = load_job(made.job.path)
    Path(made.job.path).write_text(
        Path(made.job.path).read_text("utf-8") + "    max_rejected_fraction = 0.1\n", "utf-8"
    )
    label_by_worker(made.job, "teacher")
    return made


@pytest.fixture(autouse=True)
def _no_ray():
    with without_ray():
        yield


def label(made: Tried):
    (summary,) = label_pool(load_job(made.job.path), "teacher")
    return summary


def figures(summary) -> tuple[object, ...]:
    """Everything that a summary says."""
    where = (summary.name, summary.pool)
    counts = (summary.rows, summary.rejected, summary.fragments, summary.labelled_now)
    return (*where, *counts, summary.bytes, summary.label_hash)


def test_a_finished_set_needs_ray_or_more_requests_than_ten(labelled):
    first = label(labelled)
    before = requests()
    again = label(labelled)
    spent = requests() - before
    assert figures(again) == figures(first)
    assert (again.rows, again.rejected, again.fragments, again.labelled_now) == (130, 3, 3, 0)
    asked = spent.list + spent.get + spent.put + spent.delete
    assert asked <= 10, spent
    assert spent.put == 0


@pytest.mark.parametrize("mend", [False, True])
def test_data_is_listed_to_refuse_another_contract(labelled, mend):
    label(labelled)
    source = Path(labelled.job.path).parent / "mine.py"
    source.write_text(TWICE.replace('revision = "1"', 'revision = "2"'), "utf-8")
    step = Plan(load_job(labelled.job.path)).labels("teacher", mending=mend)
    before = requests()
    with pytest.raises(ContractError, match="revision"):
        label_pool_of_step(step, LocalEngine(), mend=mend)
    assert requests() == before, "neither data/ nor commits/ is looked at"


def test_a_damaged_manifest_stays_damaged(labelled, caplog):
    label(labelled)
    (segment,) = Path(labelled.folder, "manifest").iterdir()
    segment.write_bytes(segment.read_bytes()[:-9])
    whole = label(labelled)
    assert "is damaged" in caplog.text
    caplog.clear()
    assert figures(label(labelled)) == figures(whole)
    assert caplog.text == ""


@pytest.mark.parametrize("what", ["data", "commits", "rejects"])
@pytest.mark.parametrize("rolled", [True, False])
def test_damage_of_the_same_size_is_never_mended(labelled, what, rolled):
    if rolled:
        label(labelled)
    whole = label_set(labelled.job, "teacher", "rows").label_hash
    file = sorted(each for each in Path(labelled.folder, what).rglob("*") if each.is_file())[0]
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)
    (verified,) = verify_labels(load_job(labelled.job.path), "teacher")
    assert "distill label --mend" in "".join(verified.problems)
    (mended,) = label_pool(load_job(labelled.job.path), "teacher", mend=True, engine="local")
    assert (mended.labelled_now, mended.label_hash, mended.rejected) == (1, whole, 3)
    (verified,) = verify_labels(load_job(labelled.job.path), "teacher")
    assert verified.problems == ()
    assert sorted(
        line.generation
        for line in label_set(load_job(labelled.job.path), "teacher", "rows").entries
    ) == [
        0,
        0,
        1,
    ]
    assert file.read_bytes() == content  # mending never overwrites
    (again,) = label_pool(load_job(labelled.job.path), "teacher", mend=True, engine="local")
    assert again.labelled_now == 0


def test_labels_of_two_devices_are_strict(labelled):
    from dataclasses import replace

    from distill.labels.repair import find_lost, pending_fragments
    from distill.labels.state import read_state
    from distill.storage.open import open_storage
    from tests.making import ORIGIN

    label(labelled)
    state = read_state(open_storage(labelled.folder), "teacher", 1)
    labels = state.labels
    Path(labelled.folder, labels.entries[0].data).unlink()
    inventory = labelled_inventory(labelled)
    ((_, claim, _),) = pending_fragments(state, inventory, 64, find_lost(state)[1])
    contract = labels.contract
    origin = replace(ORIGIN, label_set=labelled.assignment.pools["rows"].label_set, device="cuda")
    commit_labels(labels.folder, claim, some_labels(claim.rows, contract), contract, origin=origin)
    label(labelled)
    file = Path(labelled.job.path)
    file.write_text(file.read_text("utf-8") + '    deterministic = "strict"\n', "utf-8")
    with pytest.raises(ContractError, match=r"labelled on .*cuda.*version = 2"):
        label(labelled)


def labelled_inventory(made: Tried):
    from tests.resolved import open_pool

    return open_pool(made.job, "rows").inventory
