"""What is promised about private rows: one statement for records, cards, reports and audits.

A statement is a bound, never an estimate: whoever sees what was published can hardly tell whether
one *unit* (a row, or all rows of one person) was among the private rows: for neighbouring data D
and D' that differ in one unit, P[M(D) ∈ S] ≤ e^ε P[M(D') ∈ S] + δ for every set S of outcomes.

Distillation by itself gives no such bound, and has then no statement (`NO_STATEMENT`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from distill.core.errors import InputError

TOGETHER = "all of these together"  # the mechanism of a statement that adds up others
_REPLACED = "Of a row replaced by another, what noisy gradients cost counts twice."

NO_STATEMENT = (
    "No privacy is promised: distillation by itself protects nothing of the rows that taught."
)


@dataclasses.dataclass(frozen=True)
class PrivacyStatement:
    """State an (ε, δ) guarantee, of what, over whom, and how it was computed."""

    # `gnmax`, `lnmax`, `confident_gnmax` (noisy votes) or `dp_sgd` (noisy gradients)
    mechanism: str
    epsilon: float  # the bound ε that holds for whatever the private rows are; data-independent
    delta: float  # the probability mass δ outside of it
    # what one neighbour adds or removes: `row`, or `all rows of one patient` for a key column
    unit: str
    over: tuple[str, ...]  # pools whose rows are protected: of corrections the pool they correct
    accounting: str  # how ε was computed: the accountant, its version, and what it assumes
    notes: tuple[str, ...] = ()  # what is not protected, and what else a reader has to know
    # a smaller ε from the votes themselves. It depends on private rows: not to be published as
    # is, since no smooth sensitivity is applied.
    data_dependent_epsilon: float | None = None

    def __post_init__(self) -> None:
        """Refuse a statement that promises nothing.

        Raises:
            InputError: ε is negative or no number, or δ is not in [0, 1)."""
        if math.isnan(self.epsilon) or self.epsilon < 0:
            message = f"A privacy statement needs an epsilon of 0 or more: {self.epsilon!r}."
            raise InputError(message)
        if not 0 <= self.delta < 1:
            raise InputError(f"A privacy statement needs a delta in [0, 1): {self.delta!r}.")

    @property
    def sentence(self) -> str:
        """Return the statement as people read it."""
        pools = ", ".join(self.over)
        bound = f"({self.epsilon:.3g}, {self.delta:.3g})-differential privacy"
        return f"{bound} of one {self.unit} of {pools}, by {self.mechanism}: {self.accounting}."

    def as_json(self) -> dict[str, Any]:
        """Return the statement as JSON holds it in a record, a card or a report."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> PrivacyStatement:
        """Return the statement that a record holds; keys of a later version are passed over."""
        names = {field.name for field in dataclasses.fields(cls)}
        known = {name: value for name, value in stored.items() if name in names}
        known["over"] = tuple(known["over"])
        known["notes"] = tuple(known.get("notes", ()))
        return cls(**known)


def with_totals(statements: Sequence[PrivacyStatement]) -> list[PrivacyStatement]:
    """Return statements about one model, and behind them what they promise together to each pool
    that several are about: the sums of ε and of δ (basic composition), which hold whatever the
    mechanisms are. Sums that promise nothing (δ of 1 or more) raise InputError."""
    pools = dict.fromkeys(pool for each in statements for pool in each.over)
    totals = []
    for pool in pools:
        about = [each for each in statements if pool in each.over]
        if len(about) > 1:
            total = _together(about, pool)
            totals.append(total)
    return [*statements, *totals]


def _together(about: Sequence[PrivacyStatement], pool: str) -> PrivacyStatement:
    units = {each.unit for each in about}
    # what holds for all rows of a person holds for one of them
    (unit,) = units if len(units) == 1 else ("row",)
    mechanisms = dict.fromkeys(each.mechanism for each in about)
    notes = dict.fromkeys(note for each in about for note in each.notes)
    if unit == "row" and len(mechanisms) > 1:
        notes[_REPLACED] = None
    return PrivacyStatement(
        mechanism=TOGETHER,
        epsilon=sum(each.epsilon for each in about),
        delta=sum(each.delta for each in about),
        unit=unit,
        over=(pool,),
        accounting=f"{len(about)} statements ({', '.join(mechanisms)}) whose ε and δ add up",
        notes=tuple(notes),
    )
