"""What the ear makes of what it hears, without a cluster."""

from __future__ import annotations

from dataclasses import replace

from distill.engine.ray.monitor import (
    _SILENT_SECONDS,
    LOST_WORKERS,
    Monitor,
    TrainingProgress,
    _Shown,
)
from tests.engine.working import Bar


def lost(ear, done):
    """A group that comes so far and is lost."""
    ear.begin(0, 2)
    ear.hear("all", done, "")
    return ear.lose("killed")


def test_many_lost_groups_end_a_training_that_comes_on_or_none_end_one_that_does_not():
    ear = Monitor()
    assert not any(lost(ear, done) for done in range(1, 3 * LOST_WORKERS))
    assert not any(lost(ear, 5) for _ in range(LOST_WORKERS - 1))
    said = lost(ear, 5)
    assert f"lost workers {LOST_WORKERS + 1} times without coming further" in said
    assert "killed" in said
    assert "Run the same command again" in said
    assert ear.begin(1, 2) == ear.first_failure() == said, (
        "a group that is started nevertheless ends at once"
    )


def test_a_mistake_in_the_work_is_tried_again_or_hidden_by_the_loss_that_follows():
    ear = Monitor()
    ear.begin(0, 2)
    ear.fail("KeyError")
    assert ear.lose("rank 0 left") == "KeyError"


def test_what_is_given_up_is_told_once_more_by_a_group_that_is_started_again():
    ear = Monitor()
    for part in ("one", "two", "one"):
        ear.give_up(part, "no number")
    assert ear.all_given_up() == ["one: no number", "two: no number"]


def test_rows_done_again_are_counted_twice():
    bar = Bar()
    shown = _Shown(bar)
    for done in (100.0, 300.0, 200.0, 400.0):
        shown.show(TrainingProgress(done, "epoch", 1, 2))
    assert bar.amount == 400


def test_parts_of_the_work_are_not_added_up_or_a_part_done_again_is_counted_twice_or_keeps_a_hopeless_training_alive():
    ear = Monitor()
    for part, done in (("one", 100.0), ("two", 50.0)):
        ear.hear(part, done, part)
    assert ear.take() == TrainingProgress(150.0, "two")
    ear.lose("killed")
    ear.hear("one", 80.0, "again")
    assert ear.take().done == 130
    ear.hear("two", 70.0, "")
    assert ear.fruitless == 1, "all together came no further"
    ear.hear("one", 90.0, "")
    assert (ear.take().done, ear.fruitless) == (160, 0)


def test_a_bar_says_nothing_of_lost_workers_or_of_those_that_go_on(caplog):
    bar = Bar()
    shown = _Shown(bar)
    with caplog.at_level("INFO", "distill"):
        shown.show(TrainingProgress())
        shown.show(TrainingProgress(10.0, "", 1, 2))
        shown.show(TrainingProgress(10.0, "", 1, 0))
        shown.show(TrainingProgress(5.0, "", 2, 1))
        shown.moved -= _SILENT_SECONDS
        shown.show(TrainingProgress(5.0, "", 2, 1))
    assert bar.waited == ["training workers to start"] * 2 + ["the next word of 1 training worker"]
    assert [record.message for record in caplog.records] == [
        "training lost workers; it waits for others",
        "training goes on with 1 training worker, from its newest checkpoint",
    ]


def test_a_training_that_has_failed_is_said_to_wait_for_workers(caplog):
    ear, bar = Monitor(), Bar()
    shown = _Shown(bar)
    with caplog.at_level("INFO", "distill"):
        ear.begin(0, 2)
        ear.hear("a", 10.0, "")
        shown.show(replace(ear.take()))
        ear.hear("a", 20.0, "")
        ear.fail("KeyError")
        ear.lose("rank 0 left")
        for _ in range(2):
            shown.show(replace(ear.take()))
        ear.begin(0, 2)
        shown.show(replace(ear.take()))
    assert (bar.amount, bar.waited, caplog.records) == (20, [], [])
