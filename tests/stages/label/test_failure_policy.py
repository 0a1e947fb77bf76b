from __future__ import annotations

from distill.labels.commit import Commit
from distill.stages.label.failure_policy import SAME_FAILURES, Decision, FailurePolicy
from distill.stages.label.messages import Failure, FragmentResult


def decided(*signatures):
    policy = FailurePolicy()
    failures = [Failure("somewhere", signature, "") for signature in signatures]
    return [
        policy.decide(FragmentResult("rows", "f", failure=failure)) for failure in failures
    ], policy


def test_a_labeler_that_is_simply_wrong_burns_the_night():
    said, policy = decided(*["same"] * SAME_FAILURES)
    assert said == [Decision.GO_ON] * (SAME_FAILURES - 1) + [Decision.STOP]
    assert len(policy.failures) == SAME_FAILURES


def test_different_mistakes_stop_the_job():
    said, _ = decided(*(f"mistake {number}" for number in range(10)))
    assert set(said) == {Decision.GO_ON}


def test_a_mistake_is_forgotten_when_others_come_between():
    said, _ = decided("same", "a", "same", "b", "same")
    assert said == [Decision.GO_ON] * 4 + [Decision.STOP]


def test_rows_beyond_the_budget_are_paid_for_to_the_end():
    policy = FailurePolicy(most_rejected=5)
    commits = [commit_of(rejected) for rejected in (3, 2, 1)]
    said = [policy.decide(FragmentResult("rows", "f", commit)) for commit in commits]
    assert said == [Decision.GO_ON, Decision.GO_ON, Decision.STOP]
    assert policy.stopped_by_rejects
    assert not policy.failures


def commit_of(rejected):
    facts = {
        "generation": 0,
        "attempt": "a",
        "label_set": "s",
        "format": "arrow",
        "shard": 0,
        "number": 0,
        "shard_id": "i",
        "start": 0,
    }
    digests = {
        "sha256": "",
        "xxh3": "",
        "columns_sha256": "",
        "made_on": "cpu",
        "histogram": {},
        "device": "cpu",
        "bytes": 1,
    }
    return Commit(rows=10, rejected=rejected, **facts, **digests)
