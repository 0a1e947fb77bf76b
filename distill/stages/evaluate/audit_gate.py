"""The gate's rules about what an audit found.

A rule about an AUC is held against the interval of every attack that was tried, at the gate's
confidence on either side; one about true positives against the interval that is shown, which is
widened where the gate asks for more confidence than that has. Not audited is inconclusive. A
promise of privacy that canaries refute is failed, whether the job has such a rule or not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from distill.core.audit_results import (
    TITLES,
    Attack,
    AuditResult,
    SubjectResult,
    bound_sentence,
)
from distill.core.intervals import LEVEL, Interval, one_sided, z_of
from distill.core.judgement import (
    FAILED,
    INCONCLUSIVE,
    PASSED,
    GateResult,
    RuleResult,
    worst_first,
)
from distill.spec.audit import AuditRule
from distill.spec.evaluation import Gate

_FALSE_POSITIVES = 0.01


def with_audit(
    held: GateResult | None, gate: Gate | None, audit: AuditResult | None
) -> GateResult | None:
    """Return what came of the gate, rules about the audit too; None where there is no gate, and no
    promise that is refuted."""
    confidence = LEVEL if gate is None else gate.confidence
    results = [] if held is None else list(held.results)
    for rule in () if gate is None else gate.audit:
        results += _results(rule, audit, confidence)
    results += [] if audit is None else _refuted(audit)
    if held is None and gate is None and not results:
        return None
    return GateResult(confidence=confidence, results=tuple(worst_first(results)))


def _results(rule: AuditRule, audit: AuditResult | None, confidence: float) -> Iterator[RuleResult]:
    subjects = [] if audit is None else audit.of(rule.at)
    if audit is None or not subjects:
        yield _unknown(rule, rule.at, rule.at, 0, "it is not audited yet: run `distill audit`")
        return
    for subject in subjects:
        for attack in subject.attacks:
            yield _held(rule, audit, subject, attack, confidence)


def _held(
    rule: AuditRule,
    audit: AuditResult,
    subject: SubjectResult,
    attack: Attack,
    confidence: float,
) -> RuleResult:
    level = one_sided(confidence)
    rows = min(audit.members, audit.others)
    if rule.most_auc is not None:
        found = attack.auc
        low, high = attack.interval(audit.members, audit.others, level)
    else:
        rate = attack.rate(_FALSE_POSITIVES)
        if rate.found is None or rate.low is None or rate.high is None:
            return _unknown(rule, subject.key, subject.name, rows, rate.why)
        found = rate.found
        low, high = _widened((rate.low, rate.high), found, level)
    state = INCONCLUSIVE
    why = "more rows would tell"
    if high <= rule.limit:
        state, why = PASSED, ""
    elif low > rule.limit:
        state, why = FAILED, ""
    half = max((high - low) / 2, 1e-6)
    return replace(
        _unknown(rule, subject.key, subject.name, rows, why),
        rule=f"{_words(rule)}, by {TITLES[attack.kind]}",
        found=found,
        low=low,
        high=high,
        state=state,
        distance=(found - rule.limit) / half,
    )


def _widened(interval: Interval, found: float, level: float) -> Interval:
    """Return an interval of `LEVEL` at no less than another level."""
    ratio = max(1.0, z_of(level) / z_of(LEVEL))
    low, high = interval
    return max(0.0, found - ratio * (found - low)), min(1.0, found + ratio * (high - found))


def _unknown(rule: AuditRule, key: str, name: str, rows: int, why: str) -> RuleResult:
    return RuleResult(
        rule=_words(rule),
        student=key,
        name=name,
        measure=_measure(rule),
        slicing="",
        value="",
        rows=rows,
        found=None,
        low=None,
        high=None,
        limit=rule.limit,
        state=INCONCLUSIVE,
        why=why,
    )


def _measure(rule: AuditRule) -> str:
    return "audit_tpr" if rule.most_auc is None else "audit_auc"


def _words(rule: AuditRule) -> str:
    if rule.most_auc is not None:
        return f"AUC of membership at most {rule.limit:g}"
    return f"members found at {_FALSE_POSITIVES:.0%} false positives at most {rule.limit:g}"


def _refuted(audit: AuditResult) -> Iterator[RuleResult]:
    """Yield the promises of an ε that canaries show to be false."""
    for subject in audit.subjects:
        if subject.bound is None or subject.claimed is None or not subject.refuted:
            continue
        yield RuleResult(
            rule=f"the promised ε = {subject.claimed:.3g} holds",
            student=subject.key,
            name=subject.name,
            measure="audit_epsilon",
            slicing="",
            value="",
            rows=subject.bound.canaries,
            found=None,
            low=None,
            high=None,
            limit=subject.claimed,
            state=FAILED,
            why=bound_sentence(subject).rstrip("."),
            distance=1.0,
        )
