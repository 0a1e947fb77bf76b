from __future__ import annotations

from distill.label.policy import SAME_FAILURES, Decision, FailurePolicy
from distill.label.task import Failure


def decided(*signatures):
    policy = FailurePolicy()
    return [policy.decide(Failure("somewhere", signature, "")) for signature in signatures], policy


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
