"""What an audit found, as plain values: how well rows that taught can be told from rows that did
not, and how large ε must be at the least."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distill.core.intervals import LEVEL, Interval, z_of
from distill.core.plain import Plain

LOSS = "loss"
LIRA_ONLINE = "lira_online"
LIRA_OFFLINE = "lira_offline"
RATES = (0.001, 0.01)  # the shares of false positives at which true positives are told


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Members that an attack finds at one share of false positives."""

    false_positives: float
    found: float | None  # share of the members; None where the rows are too few to say
    low: float | None = None
    high: float | None = None
    why: str = ""

    @property
    def in_words(self) -> str:
        """The share with its interval, as people read it."""
        if self.found is None or self.low is None or self.high is None:
            return "too few rows"
        return f"{self.found:.1%} ({self.low:.1%} to {self.high:.1%})"


@dataclass(frozen=True, kw_only=True)
class Attack(Plain):
    """One attack on one subject."""

    kind: str  # `loss`, `lira_online` or `lira_offline`
    auc: float
    error: float  # standard error of the AUC (DeLong et al. 1988).
    rates: Sequence[Rate]
    # points of the ROC curve: the share of false positives, that of true ones
    curve: Sequence[Sequence[float]]

    def interval(self, members: int, others: int, level: float = LEVEL) -> Interval:
        """Return the interval of the AUC, of so many rows of both kinds."""
        return auc_interval(self.auc, self.error, min(members, others), level)

    def rate(self, false_positives: float) -> Rate:
        """Return what it finds at one share of false positives."""
        return next(each for each in self.rates if each.false_positives == false_positives)


@dataclass(frozen=True, kw_only=True)
class CanaryBound:
    """What one run with canaries says of ε."""

    canaries: int
    guesses: int
    correct: int
    epsilon: float  # ε is larger than this, with `confidence`; 0 says nothing
    delta: float
    confidence: float


@dataclass(frozen=True, kw_only=True)
class SubjectResult(Plain):
    """What was found of one thing."""

    at: str  # its key in the job file
    name: str  # for people: of a student the variant, and the head where it has several
    key: str  # what no other has, as an evaluation knows it
    loss_of_members: float  # the mean
    loss_of_others: float
    attacks: Sequence[Attack]
    bound: CanaryBound | None = None
    # what it promises of private rows (`core.privacy`); nothing, for what is distilled plainly
    statement: Mapping[str, Any] | None = None
    without_shadows: str = ""  # why LiRA was not tried

    @property
    def strongest(self) -> Attack:
        """The attack of the largest AUC."""
        return max(self.attacks, key=lambda each: each.auc)

    @property
    def claimed(self) -> float | None:
        """The ε that it promises; None of what promises nothing."""
        return None if self.statement is None else float(self.statement["epsilon"])

    @property
    def refuted(self) -> bool:
        """Whether it promises a smaller ε than the bound allows."""
        return (
            self.bound is not None
            and self.claimed is not None
            and self.claimed < self.bound.epsilon
        )


@dataclass(frozen=True, kw_only=True)
class AuditResult(Plain):
    """All that was audited, on the same rows."""

    members_pool: str
    others_pool: str
    members: int  # rows that taught
    others: int  # rows that did not
    left_out: int  # tried rows without a usable target or features
    doubles: int  # tried rows that taught nothing, but have the features of one that did
    shadows: int
    subjects: Sequence[SubjectResult]

    def of(self, at: str) -> list[SubjectResult]:
        """Return what was found of the thing of a key, a result each variant and head."""
        return [each for each in self.subjects if each.at == at]


def auc_interval(auc: float, error: float, rows: int, level: float) -> Interval:
    """Return the interval of an AUC: of its logit, so that it stays within 0 and 1. Where all pairs
    are in order there is no spread to go by, and its far end is the share that as many rows as the
    fewer of both kinds may hide."""
    if auc <= 0 or auc >= 1 or error <= 0:
        hidden = -math.log((1 - level) / 2) / max(rows, 1)
        return max(0.0, auc - hidden), min(1.0, auc + hidden)
    half = z_of(level) * error / (auc * (1 - auc))
    middle = math.log(auc / (1 - auc))
    return _logistic(middle - half), _logistic(middle + half)


def _logistic(value: float) -> float:
    return 0.5 * (1 + math.tanh(value / 2))


TITLES = {LOSS: "loss threshold", LIRA_ONLINE: "LiRA (online)", LIRA_OFFLINE: "LiRA (offline)"}


def subject_sentence(audit: AuditResult, subject: SubjectResult) -> str:
    """Say in a sentence what was found of one subject."""
    attack = subject.strongest
    low, high = attack.interval(audit.members, audit.others)
    begin = (
        f"{subject.name}: rows that taught are told from others with AUC {attack.auc:.3f}"
        f" ({low:.3f} to {high:.3f}), by {TITLES[attack.kind]}"
    )
    if low > 0.5:
        return f"{begin}: it leaks who taught it."
    return f"{begin}: no leak is shown, which is no proof that there is none."


def bound_sentence(subject: SubjectResult) -> str:
    """Say in a sentence what canaries found of one subject; "" where none were tried."""
    bound = subject.bound
    if bound is None:
        return ""
    text = (
        f"{subject.name}: of {bound.canaries:,} canaries {bound.correct:,} of {bound.guesses:,}"
        f" guesses were right, so ε > {bound.epsilon:.2f} at δ = {bound.delta:g} with"
        f" {bound.confidence:.0%} confidence"
    )
    if subject.claimed is None:
        return f"{text}; it promises no ε."
    if subject.refuted:
        return f"{text}; it promises ε = {subject.claimed:.3g}, which is refuted."
    return f"{text}; it promises ε = {subject.claimed:.3g}, which this does not refute."
