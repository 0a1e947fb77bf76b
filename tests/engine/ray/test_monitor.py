"""What the monitor makes of reports, without a cluster."""

from __future__ import annotations

from dataclasses import replace

from distill.engine.ray.monitor import (
    _SILENT_SECONDS,
    LOST_GROUPS,
    Monitor,
    TrainingProgress,
    _ShownProgress,
)
from distill.engine.ray.resources import Needs
from tests.engine.working import Bar

NEEDS = Needs(2, 1.0, 0.0)


def lost(monitor, done):
    """A group that comes so far and is lost."""
    monitor.begin(0, 2)
    monitor.report("all", done, "")
    return monitor.lose("killed")


def test_many_lost_groups_end_a_training_that_comes_on_or_none_end_one_that_does_not():
    monitor = Monitor()
    assert not any(lost(monitor, done) for done in range(1, 3 * LOST_GROUPS))
    assert not any(lost(monitor, 5) for _ in range(LOST_GROUPS - 1))
    failure = lost(monitor, 5)
    assert f"lost workers {LOST_GROUPS + 1} times without coming further" in failure
    assert "killed" in failure
    assert "Run the same command again" in failure
    assert monitor.begin(1, 2) == monitor.outcome()[0] == failure, (
        "a group that is started nevertheless ends at once"
    )


def test_a_mistake_in_the_work_is_tried_again_or_hidden_by_the_loss_that_follows():
    monitor = Monitor()
    monitor.begin(0, 2)
    monitor.fail("KeyError")
    assert monitor.lose("rank 0 left") == "KeyError"


def test_what_is_given_up_is_told_once_more_by_a_group_that_is_started_again():
    monitor = Monitor()
    for part in ("one", "two", "one"):
        monitor.give_up(part, "no number")
    assert monitor.outcome() == ("", {"one": "no number", "two": "no number"})


def test_rows_done_again_are_counted_twice():
    bar = Bar()
    shown = _ShownProgress(bar, NEEDS)
    for done in (100.0, 300.0, 200.0, 400.0):
        shown.show(TrainingProgress(done, "epoch", 1, 2))
    assert bar.amount == 400


def test_parts_of_the_work_are_not_added_up_or_a_part_done_again_is_counted_twice_or_keeps_a_hopeless_training_alive():
    monitor = Monitor()
    for part, done in (("one", 100.0), ("two", 50.0)):
        monitor.report(part, done, part)
    assert monitor.current() == TrainingProgress(150.0, "two")
    monitor.lose("killed")
    monitor.report("one", 80.0, "again")
    assert monitor.current().done == 130
    monitor.report("two", 70.0, "")
    assert monitor.fruitless == 1, "all together came no further"
    monitor.report("one", 90.0, "")
    assert (monitor.current().done, monitor.fruitless) == (160, 0)


def test_a_bar_says_nothing_of_lost_workers_or_of_those_that_go_on(caplog):
    bar = Bar()
    shown = _ShownProgress(bar, NEEDS)
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
    monitor, bar = Monitor(), Bar()
    shown = _ShownProgress(bar, NEEDS)
    with caplog.at_level("INFO", "distill"):
        monitor.begin(0, 2)
        monitor.report("a", 10.0, "")
        shown.show(replace(monitor.current()))
        monitor.report("a", 20.0, "")
        monitor.fail("KeyError")
        monitor.lose("rank 0 left")
        for _ in range(2):
            shown.show(replace(monitor.current()))
        monitor.begin(0, 2)
        shown.show(replace(monitor.current()))
    assert (bar.amount, bar.waited, caplog.records) == (20, [], [])
