"""The gate's rules about an audit: by the interval of every attack, and never passed by a guess."""

from __future__ import annotations

from dataclasses import replace

import pytest

from distill.core.audit_results import Attack, AuditResult, CanaryBound, Rate, SubjectResult
from distill.core.judgement import FAILED, INCONCLUSIVE, PASSED, gate_sentences
from distill.core.privacy import PrivacyStatement
from distill.spec.audit import AuditRule
from distill.spec.evaluation import Gate
from distill.stages.evaluate.audit_gate import with_audit

AT = "students.small"


def an_attack(auc=0.55, error=0.02, rate=0.03):
    one = Rate(false_positives=0.01, found=None, why="few")
    if rate is not None:
        one = Rate(false_positives=0.01, found=rate, low=rate / 2, high=2 * rate)
    rates = (Rate(false_positives=0.001, found=None, why="few"), one)
    return Attack(kind="loss", auc=auc, error=error, rates=rates, curve=((0.01, 0.1), (1.0, 1.0)))


def an_audit(*attacks, bound=None, statement=None):
    subject = SubjectResult(
        at=AT,
        name=AT,
        key=f"{AT}.main",
        loss_of_members=0.1,
        loss_of_others=0.2,
        attacks=attacks or (an_attack(),),
        bound=bound,
        statement=statement,
    )
    return AuditResult(
        members_pool="labelled",
        others_pool="test",
        members=400,
        others=500,
        left_out=0,
        doubles=0,
        shadows=0,
        subjects=(subject,),
    )


def state(audit, **rule):
    gate = Gate(audit=(AuditRule(at=AT, **rule),))
    return with_audit(None, gate, audit).state


@pytest.mark.parametrize(
    ("auc", "due"), [(0.5, PASSED), (0.6, INCONCLUSIVE), (0.62, INCONCLUSIVE), (0.7, FAILED)]
)
def test_an_area_is_held_against_the_limit_by_its_interval(auc, due):
    """0.02 of error: about 0.033 to either side at 95% confidence."""
    assert state(an_audit(an_attack(auc=auc)), most_auc=0.6) == due


def test_one_attack_that_finds_members_is_enough():
    audit = an_audit(an_attack(auc=0.5), an_attack(auc=0.8))
    assert state(audit, most_auc=0.6) == FAILED


@pytest.mark.parametrize(("rate", "due"), [(0.01, PASSED), (0.03, INCONCLUSIVE), (0.2, FAILED)])
def test_members_found_at_few_false_positives_are_held_against_the_limit(rate, due):
    assert state(an_audit(an_attack(rate=rate)), most_tpr=0.05) == due


def test_too_few_rows_are_no_pass():
    assert state(an_audit(an_attack(rate=None)), most_tpr=0.05) == INCONCLUSIVE


def test_what_is_not_audited_yet_is_no_pass():
    gate = Gate(audit=(AuditRule(at=AT, most_auc=0.6),))
    held = with_audit(None, gate, None)
    assert held.state == INCONCLUSIVE
    assert "run `distill audit`" in gate_sentences(held)[0]


def a_statement(epsilon):
    return PrivacyStatement(
        mechanism="dp_sgd",
        epsilon=epsilon,
        delta=1e-5,
        unit="row",
        over=("labelled",),
        accounting="none",
    ).as_json()


BOUND = CanaryBound(canaries=500, guesses=100, correct=90, epsilon=1.4, delta=1e-5, confidence=0.95)


def test_a_promise_below_the_bound_fails_whether_there_is_a_gate_or_not():
    audit = an_audit(bound=BOUND, statement=a_statement(1.0))
    for gate in (None, Gate(audit=(AuditRule(at=AT, most_auc=0.9),))):
        held = with_audit(None, gate, audit)
        assert held.state == FAILED
        assert "ε > 1.40" in gate_sentences(held)[0]
        assert "ε = 1, which is refuted" in gate_sentences(held)[0]
        assert held.results[0].student == f"{AT}.main"


def test_a_promise_above_the_bound_stands():
    assert with_audit(None, None, an_audit(bound=BOUND, statement=a_statement(2.0))) is None


def test_a_bound_without_a_promise_fails_nothing():
    assert with_audit(None, None, an_audit(bound=BOUND)) is None


def test_an_audit_is_the_same_after_it_was_stored():
    audit = an_audit(bound=BOUND, statement=a_statement(2.0))
    plain = audit.to_plain()
    again = AuditResult.from_plain(plain)
    assert again == audit
    assert again.to_plain() == plain
    assert again.subjects[0].claimed == 2.0
    assert not replace(again.subjects[0], statement=None).refuted


def test_a_gate_demands_something():
    with pytest.raises(ValueError, match="neither rules nor audit"):
        Gate()
    with pytest.raises(ValueError, match="one limit"):
        AuditRule(at=AT)
