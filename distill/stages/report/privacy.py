"""What the report says of privacy: which student promises what. `privacy.html.jinja` places it."""

from __future__ import annotations

from dataclasses import dataclass

from distill.core.privacy import NO_STATEMENT, PrivacyStatement
from distill.core.results import Evaluation


@dataclass(frozen=True)
class PromiseLine:
    """One statement in the table."""

    student: str
    epsilon: str
    delta: str
    protects: str
    statement: PrivacyStatement


@dataclass(frozen=True)
class Promises:
    """The report's view of what students promise."""

    evaluation: Evaluation

    @property
    def lines(self) -> list[PromiseLine]:
        """A line for each statement of each student."""
        return [
            _line(student, statement)
            for student, statements in self.evaluation.privacy.items()
            for statement in map(PrivacyStatement.from_json, statements)
        ]

    @property
    def others(self) -> str:
        """Which students promise nothing."""
        of = self.evaluation.privacy
        named = [name for name, statements in of.items() if not statements]
        return f"Of {', '.join(named)}: {NO_STATEMENT}" if named else ""


def _line(student: str, statement: PrivacyStatement) -> PromiseLine:
    pools = ", ".join(statement.over)
    epsilon = f"{statement.epsilon:.3g}"
    return PromiseLine(
        student, epsilon, f"{statement.delta:.3g}", f"one {statement.unit} of {pools}", statement
    )
