"""Which groups a reader looks at first, and what they are called where room is short."""

from __future__ import annotations

import re
from collections.abc import Sequence

from distill.core.results import Evaluation, Group, best_first

NAME_CHARACTERS = 40


def ranked_students(evaluation: Evaluation) -> list[Group]:
    """Sort students by the main measure, the best first; equals in the order of the job."""
    return best_first(evaluation.students, evaluation.main_measure)


def teacher_of(evaluation: Evaluation) -> Group | None:
    """Return the teacher, where it was judged."""
    teachers = [group for group in evaluation.groups if group.role == "teacher"]
    return teachers[0] if teachers else None


def select_groups(evaluation: Evaluation, limit: int) -> list[Group]:
    """Return at most `limit` groups in the order of the job: up to half of them label sets, the
    rest the best students."""
    label_sets = [group for group in evaluation.groups if group.role != "student"]
    # the teacher first, so that it is never crowded out
    label_sets.sort(key=lambda group: group.role != "teacher")
    students = ranked_students(evaluation)
    # more than half where few students leave room
    most_label_sets = max(limit // 2, limit - len(students))
    label_sets = label_sets[:most_label_sets]
    students = students[: limit - len(label_sets)]
    keys = {group.key for group in [*label_sets, *students]}
    return [group for group in evaluation.groups if group.key in keys]


def selection_note(evaluation: Evaluation, shown: Sequence[Group]) -> str:
    """Return what was left out, as a caption says it."""
    total = len(evaluation.groups)
    if len(shown) == total:
        return ""
    return f"{len(shown)} of {total} methods: the best students and what they are held against."


def any_seeds(groups: Sequence[Group]) -> bool:
    """Whether any of the groups has several seeds."""
    return any(len(group.methods) > 1 for group in groups)


def short_name(group: Group, *, between: str = " · ", characters: int = NAME_CHARACTERS) -> str:
    """Return `combined[terms.1.weight=0.3]` as `combined · weight = 0.3`; no part ever long."""
    parts = [student_name(group), changes_text(group)]
    return between.join(clipped(part, characters) for part in parts if part)


def changes_text(group: Group) -> str:
    """Return what a sweep changed, by the last word of each path where that is unambiguous."""
    last_words = [path.rpartition(".")[2] for path in group.changes]
    texts = []
    for path, value in group.changes.items():
        parts = path.rpartition(".")
        word = parts[2]
        name = word if last_words.count(word) == 1 else path
        texts.append(f"{name} = {value}")
    return ", ".join(texts)


def clipped(text: str, characters: int) -> str:
    """Return the text, its middle replaced by … where it is too long."""
    if len(text) <= characters:
        return text
    tail = (characters - 1) // 2
    head = characters - 1 - tail
    return f"{text[:head]}…{text[-tail:]}"


def student_name(group: Group) -> str:
    """Return the job's name of the student, without what a sweep changed."""
    if not group.changes:
        return group.name
    # `combined[terms.1.weight=0.3]`
    return re.sub(r"\[.*\]", "", group.name)
