"""What a student's card says of the audit of the rows that taught it."""

from __future__ import annotations

from distill.core.audit_results import bound_sentence, subject_sentence
from distill.stages.export.judged import Judged


def audit_sections(judged: Judged) -> list[str]:
    """Return the card's section; none where nobody audited the student."""
    audit = judged.evaluation.audit if judged.evaluation else None
    if audit is None:
        return []
    keys = {result.key for result in judged.results}
    lines = []
    for subject in audit.subjects:
        if subject.key not in keys:
            continue
        lines.append(f"- {subject_sentence(audit, subject)}")
        bound = bound_sentence(subject)
        if bound:
            lines.append(f"- {bound}")
    if not lines:
        return []
    lead = (
        f"Attacked on {audit.members:,} rows of `{audit.members_pool}` that taught and"
        f" {audit.others:,} of `{audit.others_pool}` that did not. An attack that finds nothing"
        " proves nothing."
    )
    return ["## What can be told of the labelled rows", lead, "\n".join(lines)]
