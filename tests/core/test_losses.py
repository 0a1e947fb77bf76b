from __future__ import annotations

from distill.core.losses import Losses
from tests.core.runs import commit, event, lost_node


def line(*seen):
    losses = Losses()
    for each in seen:
        losses(each)
    return losses.line


def test_a_run_that_lost_nothing_says_so_in_a_line_too_many():
    assert line(commit(1), event("labelled", 2)) == ""


def test_what_was_lost_is_not_told_by_its_kind_or_what_was_done_is_not():
    died = event("node_lost", 3, "host-c", why="died", market="")
    again = event("worker_restarted", 4, "host-d:9")
    assert line(lost_node(1), lost_node(2), died, again, again) == (
        "Lost on the way: 3 nodes (1 died; 2 preempted, spot), 2 labelling workers."
        " Fragments that were in work there were given out again."
    )


def test_a_training_that_was_given_up_is_said_to_have_gone_on():
    lost = event("workers_lost", 1, workers=2)
    assert line(lost) == "Lost on the way: 1 group of training workers."
    assert line(lost, event("training_resumed", 2, workers=1), lost) == (
        "Lost on the way: 2 groups of training workers."
        " Training went on once from its newest checkpoint."
    )


def test_a_silent_head_is_no_loss():
    assert line(event("head_silent", 1)) == "Lost on the way: the head node for a time."
