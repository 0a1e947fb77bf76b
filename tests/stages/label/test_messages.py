from __future__ import annotations

import json

from distill.labels.commit import WriteIntent
from distill.stages.label.messages import Failure, FragmentResult, FragmentTask, group_tasks
from distill.storage.open import open_storage
from tests.making import a_contract, commit_labels, some_labels

CLAIM = WriteIntent(0, 1, "5a" * 16, 64, 20, generation=2, replaces="f" * 64)


def through_json(plain):
    return json.loads(json.dumps(plain))


def test_a_task_changes_on_its_way_to_an_actor():
    for task in (
        FragmentTask("rows", "part-0.parquet", CLAIM),
        FragmentTask("rows", "part-0.parquet", CLAIM, 3, ask_again=10, may_be_written=True),
    ):
        assert FragmentTask.from_plain(through_json(task.to_plain())) == task


def test_parts_of_one_row_group_are_scattered_or_whole_ones_kept_together():
    tasks = [
        FragmentTask("rows", key, CLAIM, group)
        for key, group in (("a", None), ("a", None), ("a", 3), ("a", 3), ("b", 3))
    ]
    groups = [[(task["key"], task["group"]) for task in group] for group in group_tasks(tasks)]
    assert groups == [[("a", None)], [("a", None)], [("a", 3), ("a", 3)], [("b", 3)]]


def test_an_outcome_changes_on_its_way_back(tmp_path):
    commit = commit_labels(
        open_storage(str(tmp_path)),
        CLAIM,
        some_labels(20, a_contract(), rejected=[1]),
        a_contract(),
    )
    for outcome in (
        FragmentResult("rows", CLAIM.fragment, commit),
        FragmentResult("rows", CLAIM.fragment, commit, was_written=True),
        FragmentResult(
            "rows",
            CLAIM.fragment,
            failure=Failure("part-0.parquet, row 3", "ValueError at x:1", "trace"),
        ),
    ):
        assert FragmentResult.from_plain(through_json(outcome.to_plain())) == outcome
