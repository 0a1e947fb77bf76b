"""Which groups a reader looks at first, and what they are called where room is short."""

from __future__ import annotations

import re
from collections.abc import Sequence

from distill.core.results import Evaluation, Group, best_first

NAME_CHARACTERS = 40


def ranked_students(evaluation: Evaluation) -> list[Group]:
    """Students by the main measure, the best first; equals in the order of the job, as in the
    verdict."""
    students = [group for group in evaluation.groups if group.role == "student"]
    return best_first(students, evaluation.main_measure)


def teacher_of(evaluation: Evaluation) -> Group | None:
    """The teacher, where it was judged."""
    return next((group for group in evaluation.groups if group.role == "teacher"), None)


def selected(evaluation: Evaluation, limit: int) -> list[Group]:
    """At most `limit` groups in the order of the job: up to half of them label sets, the rest the
    best students."""
    groups = evaluation.groups
    others = sorted(
        (group for group in groups if group.role != "student"),
        key=lambda group: group.role != "teacher",
    )
    students = ranked_students(evaluation)
    room = max(limit // 2, limit - len(students))
    kept = {group.name for group in [*others[:room], *students[: limit - min(room, len(others))]]}
    return [group for group in groups if group.name in kept]


def told_selection(evaluation: Evaluation, shown: Sequence[Group]) -> str:
    """What was left out, as a caption says it."""
    total = len(evaluation.groups)
    return f"{len(shown)} of {total} methods: the best students and what they are held against." * (
        len(shown) < total
    )


def short_name(group: Group, *, between: str = " · ", characters: int = NAME_CHARACTERS) -> str:
    """`combined[terms.1.weight=0.3]` as `combined · weight = 0.3`; neither part ever long."""
    parts = [part for part in (student_name(group), changes_said(group)) if part]
    return between.join(clipped(part, characters) for part in parts)


def changes_said(group: Group) -> str:
    """What a sweep changed, by the last word of each path where that is unambiguous."""
    changes = {path: value for path, value in group.methods[0].changes.items() if path != "seed"}
    words = [path.rpartition(".")[2] for path in changes]
    return ", ".join(
        f"{word if words.count(word) == 1 else path} = {value}"
        for word, (path, value) in zip(words, changes.items(), strict=True)
    )


def clipped(text: str, characters: int) -> str:
    """The text, its middle replaced by … where it is too long."""
    tail = (characters - 1) // 2
    return text if len(text) <= characters else f"{text[: characters - 1 - tail]}…{text[-tail:]}"


def student_name(group: Group) -> str:
    """The job's name of the student, without what a sweep changed."""
    return re.sub(r"\[.*\]", "", group.name) if changes_said(group) else group.name
