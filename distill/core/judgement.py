"""What an evaluation says beside each method's measures: slices, methods held against each other,
estimates by few labels of people, and the gate. Plain values, as `core.results`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from distill.core.plain import Plain

PASSED = "passed"
FAILED = "failed"
INCONCLUSIVE = "inconclusive"  # too few rows to be sure of either; never a pass

LEAST_ROWS = 30  # a slice of fewer rows says so, and decides nothing
_WORST = {FAILED: 0, INCONCLUSIVE: 1, PASSED: 2}


@dataclass(frozen=True, kw_only=True)
class Example:
    """One row of a slice: its address, what a reader of features sees of it, and what was said."""

    shard: str
    row: int
    truth: str
    said: str  # by the first student
    text: str = ""
    png: str = ""  # in base64


@dataclass(frozen=True, kw_only=True)
class SliceResult(Plain):
    """Rows of one value of one slicing."""

    slicing: str  # `class`, `confidence`, `length`, `columns.NAME` or `labels.NAME`
    value: str
    rows: int
    few: bool  # whether it has too few rows to say much
    # by method's key and measure: the value, and the ends of its interval
    measures: Mapping[str, Mapping[str, Sequence[float]]]
    examples: Sequence[Example] = ()  # rows on which students are furthest off; the worst first


@dataclass(frozen=True, kw_only=True)
class PairsResult:
    """Every method beside every other, by their keys; tables line by line."""

    keys: Sequence[str]
    # share of rows where both say the same; 1 − it is churn
    agreement: Sequence[Sequence[float]] = ()
    kl: Sequence[Sequence[float]] = ()  # mean KL(line ‖ column), in nats
    wins: Sequence[Sequence[int]] = ()  # rows where the line is right and the column is wrong
    squared: Sequence[Sequence[float]] = ()  # of values: mean squared difference
    # of values and independent outputs: variance over rows of the difference of both methods'
    # main measure, from which the interval of that difference follows
    variance: Sequence[Sequence[float]] = ()


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One method held against another on the same rows."""

    first: str
    second: str  # Keys
    measure: str
    difference: float  # the first's less the second's
    low: float
    high: float  # by the paired bootstrap
    gained: int | None = None  # rows where the first alone is right; of exclusive classes
    # rows where the second alone is right: negative flips, where the first is to follow it
    lost: int | None = None
    p_value: float | None = None  # McNemar's


@dataclass(frozen=True, kw_only=True)
class PoweredResult:
    """How good a method is by few labels of people and many of the teacher."""

    method: str  # its key
    measure: str
    pool: str  # whose rows the teacher alone labelled
    value: float
    low: float
    high: float
    people_value: float
    people_low: float
    people_high: float  # by people's labels alone
    people_rows: int
    teacher_rows: int
    strata: int


@dataclass(frozen=True, kw_only=True)
class RuleResult:
    """One rule, over all rows or over one slice, held against one student."""

    rule: str  # in words
    student: str  # the method's key
    name: str  # the method's name
    measure: str
    slicing: str  # empty over all rows
    value: str  # of the slicing
    rows: int
    found: float | None  # the measure, or its difference to what it is held against
    low: float | None
    high: float | None  # bounds, each at the gate's confidence
    limit: float
    state: str
    why: str = ""  # what was not enough, where it is inconclusive
    distance: float = 0.0  # how far beyond the limit, by the bounds' half width: the worst first


@dataclass(frozen=True, kw_only=True)
class GateResult(Plain):
    """All rules."""

    confidence: float
    results: Sequence[RuleResult] = field(default_factory=tuple)  # the worst first

    @property
    def state(self) -> str:
        """The worst of all rules."""
        return worst_state(self.results)

    @property
    def students(self) -> list[str]:
        """The keys of the students that were held against it."""
        return list(dict.fromkeys(each.student for each in self.results))

    def of(self, keys: Sequence[str]) -> list[RuleResult]:
        """Return the results of some methods, the worst first."""
        return [each for each in self.results if each.student in keys]


def worst_state(results: Sequence[RuleResult]) -> str:
    """Return the worst state of some results; passed without any."""
    states = [each.state for each in results]
    return min(states, key=_WORST.__getitem__, default=PASSED)


def worst_first(results: Sequence[RuleResult]) -> list[RuleResult]:
    """Sort results: failed, inconclusive, passed, and each by how far they are beyond the limit."""
    return sorted(results, key=lambda each: (_WORST[each.state], -each.distance))


def gate_sentences(gate: GateResult, most: int = 10) -> list[str]:
    """Return what did not pass, the worst first; nothing where all passed."""
    beyond = [each for each in gate.results if each.state != PASSED]
    sentences = [rule_sentence(each, gate.confidence) for each in beyond[:most]]
    if len(beyond) > most:
        sentences.append(f"gate: and {len(beyond) - most:,} more that did not pass.")
    return sentences


def rule_sentence(result: RuleResult, confidence: float) -> str:
    """Say one result in a line."""
    where = f", {result.slicing} {result.value!r}" if result.slicing else ""
    begin = f"gate {result.state}: {result.name}{where}: {result.rule}"
    if result.found is None or result.low is None or result.high is None:
        return f"{begin}; {result.why}."
    found = f"{result.found:.4g}, {result.low:.4g} to {result.high:.4g} at {confidence:.0%} a side"
    why = f"; {result.why}" if result.why else ""
    return f"{begin}; it is {found}, over {result.rows:,} rows{why}."
